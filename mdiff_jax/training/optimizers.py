"""The optimiser: clipped AdamW with a warm-up."""

import jax
import jax.numpy as jnp
import optax

from mdiff_jax.runtime.array_types import Array, Tree
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
        optax.stateless(lambda grads, _: clip(grads, clip_norm)),
        optax.adamw(computed_once(rate), b1=0.9, b2=b2, weight_decay=weight_decay, mask=kernels),
    )


def computed_once(rate: optax.Schedule) -> optax.Schedule:
    """The same schedule, as a branch of the program: else compilers put a copy of it into the update of each leaf."""
    return lambda count: jax.lax.cond(count < 0, lambda _: jnp.float32(0), lambda n: jnp.float32(rate(n)), count)


def clip(grads: Tree, most: float) -> Tree:
    """Scales gradients down to the global norm `most` where theirs is larger."""
    factor = most / jnp.maximum(global_norm(grads), most)
    return jax.tree.map(lambda g: g * factor, grads)


def global_norm(tree: Tree) -> Array:
    """The norm of all leaves together. By products, which a library has: each sum would be a program to compile."""
    squares = [jnp.vdot(x, x, precision=jax.lax.Precision.HIGHEST) for x in jax.tree.leaves(tree)]
    norms = jnp.sqrt(jnp.stack(squares))
    return jnp.sqrt(jnp.vdot(norms, norms, precision=jax.lax.Precision.HIGHEST))
