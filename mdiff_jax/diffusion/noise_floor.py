"""The empty floor of a spectrogram, seen by the decoder as lower than it is.

Half of a spectrogram's pixels lie exactly at the floor, -1, where a sampler's remaining noise can only brighten them:
estimates are clipped below, not above. With the floor moved down by a margin in training, that noise stays below -1 and
is clipped away.
"""

import jax.numpy as jnp

from mdiff_jax.runtime.array_types import Array

EMPTY_LEVEL = -0.97  # at or below: floor, with what JPEG leaves of it


def lower_floor(x: Array, margin: float) -> Array:
    """Values up to `EMPTY` go down by `margin`; the rest stays."""
    return jnp.where(x <= EMPTY_LEVEL, x - margin, x)


def restore_floor(x: Array) -> Array:
    """Back to [-1, 1]."""
    return jnp.clip(x, -1.0, 1.0)
