"""A second judge of identity, beside the linear one: a small convolutional network.

It shares architecture, seed and training with nothing in the model. The mean over time at its end and training on
windows shifted in time make it insensitive to when a step falls.
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

WIDTHS = (16, 32, 64)  # channels
BATCH_SIZE = 32
CHUNK_SIZE = 128  # windows judged at once
Params = dict[str, Any]  # the network's parameters, a tree of arrays


class Network(nn.Module):
    """Maps (B, F, T) to (logits, features): three halvings, mean over time, one hidden layer."""

    users: int

    @nn.compact
    def __call__(self, x):
        h = x[..., None]
        for width in WIDTHS:
            h = nn.Conv(width, (5, 5), strides=(2, 2))(h)
            h = nn.relu(nn.GroupNorm(num_groups=8)(h))
        h = h.mean(2).reshape(len(x), -1)  # over time; Doppler rows stay apart
        h = nn.relu(nn.Dense(64)(h))
        return nn.Dense(self.users)(h), h


class CnnClassifier(NamedTuple):
    """A trained network, and the mean and deviation of its features on the training windows."""

    users: int
    params: Params
    feature_moments: tuple[np.ndarray, np.ndarray]

    def probabilities(self, windows: Windows) -> identity.Probabilities:
        return np.asarray(jax.nn.softmax(predict(self.users, self.params, windows)[0]))

    def features(self, windows: Windows) -> Float[np.ndarray, "windows dim"]:
        """Returns the last hidden layer, standardised on the training windows and clipped to ±3."""
        mean, deviation = self.feature_moments
        return np.clip((predict(self.users, self.params, windows)[1] - mean) / deviation, -3.0, 3.0)


def fit_cnn(
    windows: Windows, users: identity.Users, seed: int = 0, steps: int = 600, augment: bool = True
) -> CnnClassifier:
    """Trains a judge on these windows: AdamW, one cycle of the learning rate, users drawn equally often. With `augment`
    it sees them augmented, else as they are, so that another augmentation can be tried. InputError for a single user.
    """
    identity.check_users(users)
    x, count = memorization.pool_windows(windows), int(users.max()) + 1
    key = jax.random.key(seed)
    state = init_training(count, steps, key, x[:1])
    rng = np.random.default_rng(seed)
    weight = 1 / np.bincount(users)[users]
    for step in range(steps):
        rows = rng.choice(len(x), BATCH_SIZE, p=weight / weight.sum())
        state = train_step(count, steps, augment, state, x[rows], users[rows], jax.random.fold_in(key, step))
    hidden = predict(count, state[0], windows)[1]
    return CnnClassifier(count, state[0], (hidden.mean(0), hidden.std(0) + 1e-3))


def choose_training_steps(windows: int) -> int:
    """Returns the training steps for so many windows: each is seen 32 times, within 600 to 3000 steps."""
    return int(np.clip(windows, 600, 3000))


def make_optimizer(steps: int) -> optax.GradientTransformation:
    return optax.adamw(optax.cosine_onecycle_schedule(steps, 3e-3), weight_decay=1e-2)


@functools.partial(jax.jit, static_argnums=(0, 1))
def init_training(count, steps, key, x):
    params = Network(count).init(key, x)
    return params, make_optimizer(steps).init(params)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def train_step(count, steps, augment, state, x, users, key):
    """Returns the state after one update, on windows augmented or as they are."""
    params, opt = state

    def loss(p):
        logits, _ = Network(count).apply(p, augment_windows(key, x) if augment else x)
        target = optax.smooth_labels(jax.nn.one_hot(users, count), 0.1)
        return optax.softmax_cross_entropy(logits, target).mean()

    updates, opt = make_optimizer(steps).update(jax.grad(loss)(params), opt, params)
    return optax.apply_updates(params, updates), opt


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


def predict(count: int, params: Params, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits and features of all windows, in chunks of one size, so that one program serves any number."""
    x = memorization.pool_windows(windows)
    padded = np.concatenate([x, np.zeros((-len(x) % CHUNK_SIZE, *x.shape[1:]), x.dtype)])
    parts = [forward(count, params, padded[i : i + CHUNK_SIZE]) for i in range(0, len(padded), CHUNK_SIZE)]
    logits, hidden = (np.concatenate([np.asarray(p[k]) for p in parts])[: len(x)] for k in (0, 1))
    return logits, hidden


@functools.partial(jax.jit, static_argnums=0)
def forward(count, params, x):
    return Network(count).apply(params, x)
