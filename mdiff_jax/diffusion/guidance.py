"""Closures around a denoiser: classifier-free guidance, clipping, dynamic thresholding. For prior and decoder alike."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from mdiff_jax.diffusion import gaussian
from mdiff_jax.diffusion.samplers import Denoise
from mdiff_jax.diffusion.schedules import NoiseSchedule
from mdiff_jax.runtime.array_types import Array

ConditionalDenoise = Callable[[Array, Array, Any, Array], Array]  # (x_t, t, condition, keep (B,)) → x_0


def classifier_free_guidance(
    denoise: ConditionalDenoise,
    condition: Any,
    scale: float | int | Float[Array, "..."],
    *,
    weaker: ConditionalDenoise | None = None,
    schedule: NoiseSchedule | None = None,
    interval: tuple[float, float] | None = None,
    rescale: float = 0.0,
) -> Denoise:
    """Applies classifier-free guidance: x_0 = without + scale (with - without) (Ho and Salimans 2022, equation 6).

    With `weaker`, a worse model, that one under the same condition stands in place of `denoise` without it
    (autoguidance, Karras et al. 2024): what the weaker one does badly is moved away from, and variety stays.

    `condition` is a tree of arrays (B, …); `denoise` gets it beside a mask `keep` (B,), false where it must ignore it.
    A Python scale of 1 (conditional) or 0 (unconditional) costs one pass; any other, or a traced one (), or one for
    each example (B,), costs both passes in one batch of 2B and shares one program. `interval` (low, high) of log-SNR:
    outside it the scale is 1, in one pass (Kynkäänniemi et al. 2024); it needs the schedule. `rescale` in [0, 1]: see
    `rescale_guidance`.
    """

    def one_pass(x: Array, t: Array, model: ConditionalDenoise = denoise, keep: bool = True) -> Array:
        return model(x, t, condition, jnp.full(x.shape[:1], keep))

    def both(x: Array, t: Array) -> tuple[Array, Array]:
        if weaker is not None:
            return one_pass(x, t), one_pass(x, t, weaker)
        xs, ts, conditions = jax.tree.map(lambda c: jnp.concatenate([c, c]), (x, t, condition))
        keep = jnp.arange(2 * len(x)) < len(x)
        with_it, without = jnp.split(denoise(xs, ts, conditions, keep), 2)
        return with_it, without

    def two_passes(x: Array, t: Array) -> Array:
        with_it, without = both(x, t)
        amount = _per_sample(scale, x) if jnp.ndim(scale) else scale
        x0 = without + amount * (with_it - without)
        x0 = rescale_guidance(x0, with_it, rescale) if rescale else x0
        return x0 if interval is None else jnp.where(_per_sample(inside(t), x), x0, with_it)

    def inside(t: Array) -> Array:
        log_snr = gaussian.log_snr(schedule, t)
        return (interval[0] <= log_snr) & (log_snr <= interval[1])

    if isinstance(scale, int | float) and scale in (0, 1) and (interval is None or scale == 1):
        if scale == 0 and weaker is not None:
            return lambda x, t: one_pass(x, t, weaker)
        return lambda x, t: one_pass(x, t, keep=scale == 1)
    if interval is None:
        return two_passes
    return lambda x, t: jax.lax.cond(jnp.any(inside(t)), two_passes, one_pass, x, t)


def guidance_as_input(denoise: ConditionalDenoise, condition: Any, scale: float | int | Float[Array, "..."]) -> Denoise:
    """Gives the scale, () or (B,), to a network that has learned what guidance would make of its estimates: one pass.

    Such a `denoise` takes it where others take `keep` (Meng et al. 2023, section 3.1).
    """
    return lambda x, t: denoise(x, t, condition, jnp.broadcast_to(jnp.asarray(scale, jnp.float32), x.shape[:1]))


def rescale_guidance(x0: Array, conditional: Array, amount: float) -> Array:
    """Scales x_0 towards the deviation of the conditional estimate, per sample (Lin et al. 2023, equations 15, 16)."""
    axes = tuple(range(1, x0.ndim))
    ratio = conditional.std(axes, keepdims=True) / jnp.maximum(x0.std(axes, keepdims=True), 1e-6)
    return x0 * (amount * ratio + (1.0 - amount))


def clip_x0(denoise: Denoise, low: float = -1.0, high: float = 1.0) -> Denoise:
    """Clips estimates to low … high (model space is [-1, 1])."""
    return lambda x, t: jnp.clip(denoise(x, t), low, high)


def dynamic_thresholding(denoise: Denoise, low: float = -1.0, high: float = 1.0, percentile: float = 0.995) -> Denoise:
    """Clips estimates at their own percentile s of |x_0|, at least 1, and divides them by it (Saharia et al. 2022).

    For a range low … high other than [-1, 1], |x_0| is measured from its middle, in units of half its width.
    """
    middle, half = (high + low) / 2, (high - low) / 2

    def thresholded(x: Array, t: Array) -> Array:
        x0 = (denoise(x, t) - middle) / half
        s = _per_sample(jnp.quantile(jnp.abs(x0.reshape(len(x0), -1)), percentile, axis=1), x0)
        s = jnp.maximum(s, 1.0)
        return jnp.clip(x0, -s, s) / s * half + middle

    return thresholded


def _per_sample(values: Array, like: Array) -> Array:
    return values.reshape((-1,) + (1,) * (like.ndim - 1))
