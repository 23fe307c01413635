"""Changes to a window that leave the person the same: shift in time, gain, noise, masks.

Never a flip: negative Doppler is another motion, and time runs one way.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mdiff_jax.runtime.array_types import Array, Key, Keys, Spectrogram


class Augmentation(NamedTuple):
    """Strengths; 0 leaves a change out."""

    shift: float  # largest circular shift in time, as a share of the window
    gain: float  # largest change of the level above the floor, as a share
    noise: float  # largest standard deviation of added noise, in model space
    mask: float  # largest width of a masked span of time or of Doppler rows, as a share


def augment_batch(keys: Keys, x: Spectrogram, frames: Array, strength: Augmentation) -> Spectrogram:
    """(B, F, T, C) in [-1, 1] and the number of each window's own frames (B,) → the same, each changed by its own key.

    What lies behind the frames is noised and masked with them: no network sees it.
    """
    return jax.vmap(lambda k, w, n: _augment_one(k, w, n, strength))(keys, x, frames)


def _augment_one(key: Key, x: Array, frames: Array, strength: Augmentation) -> Array:
    k_shift, k_gain, k_level, k_noise, k_time, k_freq = jax.random.split(key, 6)
    reach = (strength.shift * frames).astype(jnp.int32)
    x = roll_frames(x, jax.random.randint(k_shift, (), -reach, reach + 1), frames)
    x = (x + 1.0) * (1.0 + strength.gain * jax.random.uniform(k_gain, minval=-1.0)) - 1.0
    x = x + strength.noise * jax.random.uniform(k_level) * jax.random.normal(k_noise, x.shape)
    x = _mask_span(k_time, x, 1, strength.mask)
    x = _mask_span(k_freq, x, 0, strength.mask)
    return jnp.clip(x, -1.0, 1.0)


def roll_frames(x: Array, shift: Array, frames: Array) -> Array:
    """(F, T, C) with its first `frames` columns moved circularly by `shift`; those behind stay."""
    place = jnp.arange(x.shape[1])
    return x[:, jnp.where(place < frames, (place - shift) % frames, place)]


def _mask_span(key: Key, x: Array, axis: int, share: float) -> Array:
    """One span along `axis`, of random place and width, set to the floor (Park et al. 2019, SpecAugment)."""
    k_width, k_start = jax.random.split(key)
    size = x.shape[axis]
    width = jax.random.uniform(k_width) * share * size
    start = jax.random.uniform(k_start) * (size - width)
    place = jnp.arange(size)
    inside = (place >= start) & (place < start + width)
    return jnp.where(jnp.expand_dims(inside, tuple(a for a in range(x.ndim) if a != axis)), -1.0, x)
