"""The noise floor of spectrograms, lowered for the decoder and restored after sampling.

Half of a spectrogram's pixels lie exactly at the floor, -1, where remaining noise of a sampler can only brighten them,
since estimates are clipped at -1. With the floor lowered by a margin in training, that noise stays below -1 and is
clipped away.
"""

import jax
import jax.numpy as jnp

from mdiff_jax.runtime.array_types import Array

EMPTY_LEVEL = -0.97  # values up to here are floor, which JPEG does not keep exactly

SLAB_DEVIATION = 0.35  # of levels that are not empty around their estimate, where x_t says nothing of them


def lower_floor(x: Array, margin: float) -> Array:
    """Lowers values up to `EMPTY_LEVEL` by `margin`; the others stay."""
    return jnp.where(x <= EMPTY_LEVEL, x - margin, x)


def restore_floor(x: Array) -> Array:
    """Clips to [-1, 1], which puts the lowered floor back at -1."""
    return jnp.clip(x, -1.0, 1.0)


def mix_in_floor(output: Array, x_t: Array, log_snr: Array, floor: float) -> Array:
    """Returns the predicted v of pixels that are either empty, at the level `floor`, or not.

    `output` (B, F, T, 2 C) holds v of those that are not, hence their level m, and the log odds that a pixel is empty
    before x_t (B, F, T, C) is looked at there. The estimate is x_0 = p floor + (1 - p) m, with p the probability given
    x_t = alpha x_0 + sigma eps (a spike and a slab: Mitchell and Beauchamp 1988). With little noise p is a step between
    the two, which layers can hardly draw for each pixel.
    """
    log_snr = log_snr.reshape(-1, 1, 1, 1)
    alpha, sigma = jnp.sqrt(jax.nn.sigmoid(log_snr)), jnp.sqrt(jax.nn.sigmoid(-log_snr))
    v, log_odds = jnp.split(output, 2, axis=-1)
    slab = alpha * x_t - sigma * v
    variance = sigma**2 + (alpha * SLAB_DEVIATION) ** 2
    log_odds += 0.5 * ((x_t - alpha * slab) ** 2 / variance - (x_t - alpha * floor) ** 2 / sigma**2)
    p = jax.nn.sigmoid(log_odds + 0.5 * jnp.log(variance / sigma**2))
    return v + p * (slab - floor) / sigma
