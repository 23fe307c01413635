"""The empty floor of a spectrogram, seen by the decoder as lower than it is.

Half of a spectrogram's pixels lie exactly at the floor, -1, where a sampler's remaining noise can only brighten them:
estimates are clipped below, not above. With the floor moved down by a margin in training, that noise stays below -1 and
is clipped away.
"""

import jax.numpy as jnp

from mdiff_jax.types import Array

EMPTY = -0.97  # at or below: floor, with what JPEG leaves of it


def lower(x: Array, margin: float) -> Array:
    """Values up to `EMPTY` go down by `margin`; the rest stays."""
    return jnp.where(x <= EMPTY, x - margin, x)


def restore(x: Array) -> Array:
    """Back to [-1, 1]."""
    return jnp.clip(x, -1.0, 1.0)
