"""The noise floor of spectrograms, lowered for the decoder and restored after sampling.

Half of a spectrogram's pixels lie exactly at the floor, -1, where remaining noise of a sampler can only brighten them,
since estimates are clipped at -1. With the floor lowered by a margin in training, that noise stays below -1 and is
clipped away.
"""

import jax.numpy as jnp

from mdiff_jax.runtime.array_types import Array

EMPTY_LEVEL = -0.97  # values up to here are floor, which JPEG does not keep exactly


def lower_floor(x: Array, margin: float) -> Array:
    """Lowers values up to `EMPTY_LEVEL` by `margin`; the others stay."""
    return jnp.where(x <= EMPTY_LEVEL, x - margin, x)


def restore_floor(x: Array) -> Array:
    """Clips to [-1, 1], which puts the lowered floor back at -1."""
    return jnp.clip(x, -1.0, 1.0)
