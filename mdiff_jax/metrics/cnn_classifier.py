"""A second judge of identity, beside the linear one: a small convolutional network.

It shares architecture, seed and training with nothing in the model. The mean over time at its end and training on
windows shifted in time make it insensitive to when a step falls. A compact one, trained in a few seconds by a single
compiled program, serves where hundreds are compared.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jaxtyping import Float

from mdiff_jax.metrics import identity, memorization
from mdiff_jax.runtime.array_types import Windows
from mdiff_jax.runtime.progress import Bar

WIDTHS = (16, 32, 64)  # channels
COMPACT_WIDTHS = (32, 64)
COMPACT_STEPS = 300
COMPACT_ROOM = 1024  # windows; more are trained on in room for twice as many, four times …
BATCH_SIZE = 32
CHUNK_SIZE = 128  # windows judged at once
Params = dict[str, Any]  # the network's parameters, a tree of arrays


class Network(nn.Module):
    """Maps (B, F, T) to (logits, features): three halvings, mean over time, one hidden layer."""

    users: int
    learning_rate: float = 3e-3

    @nn.compact
    def __call__(self, x):
        h = x[..., None]
        for width in WIDTHS:
            h = nn.Conv(width, (5, 5), strides=(2, 2))(h)
            h = nn.relu(nn.GroupNorm(num_groups=8)(h))
        return classify(h, self.users)


class CompactNetwork(nn.Module):
    """Maps the same in a quarter of the operations: 8x8 patches 4 apart, one halving, mean over time, one hidden layer.

    Its convolutions are products of matrices: in a compiled loop on a CPU, XLA's take 20 times as long.
    """

    users: int
    learning_rate: float = 6e-3

    @nn.compact
    def __call__(self, x):
        h = x[..., None]
        for width, size, stride in zip(COMPACT_WIDTHS, (8, 3), (4, 2), strict=True):
            h = nn.Dense(width)(cut_patches(h, size, stride))
            h = nn.relu(nn.GroupNorm(num_groups=8)(h))
        return classify(h, self.users)


def classify(h, users):
    """Returns (logits, features) of (B, rows, frames, channels)."""
    h = h.mean(2).reshape(len(h), -1)  # over time; Doppler rows stay apart
    h = nn.relu(nn.Dense(64)(h))
    return nn.Dense(users)(h), h


def cut_patches(h, size, stride):
    """Returns the patches (B, rows / stride, frames / stride, size² channels) of (B, rows, frames, channels)."""
    rows, frames = (-(-n // stride) for n in h.shape[1:3])
    missing = [max((n - 1) * stride + size - m, 0) for n, m in zip((rows, frames), h.shape[1:3], strict=True)]
    h = jnp.pad(h, ((0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)))
    places = [(i, j) for i in range(size) for j in range(size)]
    return jnp.concatenate(
        [h[:, i : i + rows * stride : stride, j : j + frames * stride : stride] for i, j in places], -1
    )


class CnnClassifier(NamedTuple):
    """A trained network, and the mean and deviation of its features on the training windows."""

    network: Network | CompactNetwork
    params: Params
    feature_moments: tuple[np.ndarray, np.ndarray]

    def probabilities(self, windows: Windows) -> identity.Probabilities:
        return np.asarray(jax.nn.softmax(predict(self.network, self.params, windows)[0]))

    def features(self, windows: Windows) -> Float[np.ndarray, "windows dim"]:
        """Returns the last hidden layer, standardised on the training windows and clipped to ±3."""
        mean, deviation = self.feature_moments
        return np.clip((predict(self.network, self.params, windows)[1] - mean) / deviation, -3.0, 3.0)


def fit_cnn(
    windows: Windows, users: identity.Users, seed: int = 0, steps: int = 600, augment: bool = True
) -> CnnClassifier:
    """Trains a judge on these windows: AdamW, one cycle of the learning rate, users drawn equally often. With `augment`
    it sees them augmented, else as they are, so that another augmentation can be tried. InputError for a single user.
    """
    identity.check_users(users)
    x, network = memorization.pool_windows(windows), Network(int(users.max()) + 1)
    targets = identity.one_hot(users)
    key = jax.random.key(seed)
    rng = np.random.default_rng(seed)
    weight = balance_users(targets, np.ones(len(x)))
    with Bar(desc="teaching a convolutional judge", total=steps, unit="step", leave=False, delay=1) as bar:
        state = init_training(network, steps, key, x[:1])
        for step in range(steps):
            rows = rng.choice(len(x), BATCH_SIZE, p=weight / weight.sum())
            state = train_step(network, steps, augment, state, x[rows], targets[rows], jax.random.fold_in(key, step))
            bar.update()
        return describe_judge(network, state[0], windows)


def fit_compact(
    windows: Windows, targets: identity.Targets, weights: identity.Weights, seed: int = 0, augment: bool = False
) -> CnnClassifier:
    """Trains a compact judge in a few seconds on windows with soft targets (rows of shares of users that add up to 1).

    Users are drawn equally often, a user's windows as often as they weigh. One compiled program trains with all seeds
    and on any windows that have room in it. InputError for a single user.
    """
    identity.check_users(np.flatnonzero(weights @ targets))
    x, network = memorization.pool_windows(windows), CompactNetwork(targets.shape[1])
    room = max(COMPACT_ROOM, 2 ** int(np.ceil(np.log2(len(x)))))
    padded = [
        np.concatenate([v, np.zeros((room - len(v), *v.shape[1:]), np.float32)]).astype(np.float32)
        for v in (x, targets, balance_users(targets, weights))
    ]
    params = train_compact(network, COMPACT_STEPS, augment, *padded, jax.random.key(seed))
    return describe_judge(network, params, windows)


def balance_users(targets: identity.Targets, weights: identity.Weights) -> identity.Weights:
    """Returns weights that deal out 1 for each user among the windows that have a share of them."""
    total = weights @ targets
    return weights * (targets / np.where(total > 0, total, 1)).sum(1)


def describe_judge(network: Network | CompactNetwork, params: Params, windows: Windows) -> CnnClassifier:
    """Returns the judge of a trained network, and of the windows that it was trained on."""
    hidden = predict(network, params, windows)[1]
    return CnnClassifier(network, params, (hidden.mean(0), hidden.std(0) + 1e-3))


def choose_training_steps(windows: int) -> int:
    """Returns the training steps for so many windows: each is seen 32 times, within 600 to 3000 steps."""
    return int(np.clip(windows, 600, 3000))


def make_optimizer(network: Network | CompactNetwork, steps: int) -> optax.GradientTransformation:
    return optax.adamw(optax.cosine_onecycle_schedule(steps, network.learning_rate), weight_decay=1e-2)


@functools.partial(jax.jit, static_argnums=(0, 1))
def init_training(network, steps, key, x):
    params = network.init(key, x)
    return params, make_optimizer(network, steps).init(params)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def train_step(network, steps, augment, state, x, targets, key):
    """Returns the state after one update, on windows augmented or as they are."""
    params, opt = state

    def loss(p):
        logits, _ = network.apply(p, augment_windows(key, x) if augment else x)
        return optax.softmax_cross_entropy(logits, optax.smooth_labels(targets, 0.1)).mean()

    updates, opt = make_optimizer(network, steps).update(jax.grad(loss)(params), opt, params)
    return optax.apply_updates(params, updates), opt


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def train_compact(network, steps, augment, x, targets, weights, key):
    """Returns the parameters after all steps, each on windows drawn as often as they weigh."""
    reached = jnp.cumsum(weights)

    def step(state, number):
        draw, change = jax.random.split(jax.random.fold_in(key, number))
        rows = jnp.searchsorted(reached, reached[-1] * jax.random.uniform(draw, (BATCH_SIZE,)))
        return train_step(network, steps, augment, state, x[rows], targets[rows], change), None

    return jax.lax.scan(step, init_training(network, steps, key, x[:1]), jnp.arange(steps))[0][0]


def augment_windows(key, x):
    """Shifts windows (B, F, T) in time, changes their gain, adds noise, and hides a band of Doppler rows."""
    shifts, gains, noise, bands = jax.random.split(key, 4)
    n, rows, frames = x.shape
    x = jax.vmap(lambda w, s: jnp.roll(w, s, 1))(x, jax.random.randint(shifts, (n,), 0, frames))
    x = (x + 1) * jax.random.uniform(gains, (n, 1, 1), minval=0.85, maxval=1.15) - 1
    x = x + 0.1 * jax.random.normal(noise, x.shape)
    start = jax.random.randint(bands, (n, 1, 1), 0, rows)
    row = jnp.arange(rows)[None, :, None]
    return jnp.where((row >= start) & (row < start + rows // 8), -1.0, x)


def predict(network: Network | CompactNetwork, params: Params, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits and features of all windows, in chunks of one size, so that one program serves any number."""
    x = memorization.pool_windows(windows)
    padded = np.concatenate([x, np.zeros((-len(x) % CHUNK_SIZE, *x.shape[1:]), x.dtype)])
    parts = [forward(network, params, padded[i : i + CHUNK_SIZE]) for i in range(0, len(padded), CHUNK_SIZE)]
    logits, hidden = (np.concatenate([np.asarray(p[k]) for p in parts])[: len(x)] for k in (0, 1))
    return logits, hidden


@functools.partial(jax.jit, static_argnums=0)
def forward(network, params, x):
    return network.apply(params, x)
