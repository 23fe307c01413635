"""A second judge of identity, of another kind than the linear one: a small convolutional network.

Its own architecture, seed and training; nothing of the model's encoder. The mean over time at its end and training on
windows shifted in time make it blind to when a step falls.
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

WIDTHS = (16, 32, 64)
BATCH = 32
CHUNK = 128  # windows judged at once


class Network(nn.Module):
    """(B, F, T) → (logits, features): three halvings, mean over time, one hidden layer."""

    users: int

    @nn.compact
    def __call__(self, x):
        h = x[..., None]
        for width in WIDTHS:
            h = nn.Conv(width, (5, 5), strides=(2, 2))(h)
            h = nn.relu(nn.GroupNorm(num_groups=8)(h))
        h = h.mean(2).reshape(len(x), -1)  # over time; Doppler rows keep their places
        h = nn.relu(nn.Dense(64)(h))
        return nn.Dense(self.users)(h), h


class CnnClassifier(NamedTuple):
    """A trained network; `scale` is the mean and deviation of its features on the training windows."""

    users: int
    params: Any
    scale: tuple[np.ndarray, np.ndarray]

    def probabilities(self, windows: Windows) -> identity.Probabilities:
        return np.asarray(jax.nn.softmax(predict(self.users, self.params, windows)[0]))

    def features(self, windows: Windows) -> Float[np.ndarray, "windows dim"]:
        """The last hidden layer, standardised on the training windows and held inside ±3."""
        mean, deviation = self.scale
        return np.clip((predict(self.users, self.params, windows)[1] - mean) / deviation, -3.0, 3.0)


def fit_cnn(
    windows: Windows, users: identity.Users, seed: int = 0, steps: int = 600, disturbed: bool = True
) -> CnnClassifier:
    """A judge that has seen these windows: AdamW, one cycle of the learning rate, users drawn equally often. It sees
    them `disturbed`, or as they are where something else is to be tried as augmentation.
    """
    identity.check_users(users)
    x, count = memorization.pool_windows(windows), int(users.max()) + 1
    key = jax.random.key(seed)
    state = init_training(count, steps, key, x[:1])
    rng = np.random.default_rng(seed)
    weight = 1 / np.bincount(users)[users]
    for step in range(steps):
        rows = rng.choice(len(x), BATCH, p=weight / weight.sum())
        state = train_step(count, steps, disturbed, state, x[rows], users[rows], jax.random.fold_in(key, step))
    hidden = predict(count, state[0], windows)[1]
    return CnnClassifier(count, state[0], (hidden.mean(0), hidden.std(0) + 1e-3))


def choose_training_steps(windows: int) -> int:
    """Steps for so many windows: each is seen 32 times, but for very few and very many."""
    return int(np.clip(windows, 600, 3000))


def make_optimizer(steps: int) -> optax.GradientTransformation:
    return optax.adamw(optax.cosine_onecycle_schedule(steps, 3e-3), weight_decay=1e-2)


@functools.partial(jax.jit, static_argnums=(0, 1))
def init_training(count, steps, key, x):
    params = Network(count).init(key, x)
    return params, make_optimizer(steps).init(params)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def train_step(count, steps, disturbed, state, x, users, key):
    """One update on windows shifted in time, with another gain, some noise, and a band of Doppler rows left out."""
    params, opt = state

    def loss(p):
        logits, _ = Network(count).apply(p, augment_windows(key, x) if disturbed else x)
        target = optax.smooth_labels(jax.nn.one_hot(users, count), 0.1)
        return optax.softmax_cross_entropy(logits, target).mean()

    updates, opt = make_optimizer(steps).update(jax.grad(loss)(params), opt, params)
    return optax.apply_updates(params, updates), opt


def augment_windows(key, x):
    """(B, F, T) → what a person's walk may as well look like."""
    shifts, gains, noise, bands = jax.random.split(key, 4)
    n, rows, frames = x.shape
    x = jax.vmap(lambda w, s: jnp.roll(w, s, 1))(x, jax.random.randint(shifts, (n,), 0, frames))
    x = (x + 1) * jax.random.uniform(gains, (n, 1, 1), minval=0.85, maxval=1.15) - 1
    x = x + 0.1 * jax.random.normal(noise, x.shape)
    start = jax.random.randint(bands, (n, 1, 1), 0, rows)
    place = jnp.arange(rows)[None, :, None]
    return jnp.where((place >= start) & (place < start + rows // 8), -1.0, x)


def predict(count: int, params: Any, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Logits and features of all windows, in chunks of one size, so that one program serves any number."""
    x = memorization.pool_windows(windows)
    padded = np.concatenate([x, np.zeros((-len(x) % CHUNK, *x.shape[1:]), x.dtype)])
    parts = [forward(count, params, padded[i : i + CHUNK]) for i in range(0, len(padded), CHUNK)]
    logits, hidden = (np.concatenate([np.asarray(p[k]) for p in parts])[: len(x)] for k in (0, 1))
    return logits, hidden


@functools.partial(jax.jit, static_argnums=0)
def forward(count, params, x):
    return Network(count).apply(params, x)
