"""The optimiser: clipped AdamW with a warm-up."""

import jax
import optax

from mdiff_jax.runtime.errors import InputError


def make_learning_rate(peak: float, schedule: str, warmup_steps: int, total_steps: int) -> optax.Schedule:
    """Linear warm-up to `peak`, then 'cosine' down to zero at `total_steps`, or 'constant'."""
    warmup_steps = min(warmup_steps, max(1, total_steps // 2))
    if schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(0.0, peak, warmup_steps, total_steps)
    if schedule == "constant":
        return optax.linear_schedule(0.0, peak, warmup_steps)
    raise InputError(f"optimizer.schedule is '{schedule}': give 'cosine' or 'constant'")


def make_adamw(
    rate: optax.Schedule, *, weight_decay: float, clip_norm: float, b2: float
) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019) after clipping by global norm; only kernels decay, not norms or biases."""
    kernels = lambda params: jax.tree.map(lambda p: p.ndim > 1, params)  # noqa: E731
    return optax.chain(
        optax.clip_by_global_norm(clip_norm),
        optax.adamw(rate, b1=0.9, b2=b2, weight_decay=weight_decay, mask=kernels),
    )
