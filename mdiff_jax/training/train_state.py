"""The state of training, and one pure step of it."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from mdiff_jax.runtime.array_types import Array, Batch, Key
from mdiff_jax.runtime.parallel import SINGLE_DEVICE, Collectives
from mdiff_jax.training.optimizers import global_norm

Params = Any  # a tree of arrays
Leaf = Any  # an array, or what Orbax puts in its place
SCALE_GROWTH_STEPS = 1000  # finite steps after which a dynamic loss scale is doubled


Frozen = Mapping[str, Params]  # what a loss takes by name beside the parameters that are trained
NOTHING_FROZEN: Frozen = {}
Loss = Callable[..., tuple[Array, dict[str, Array]]]  # (Params, Batch, Key, Collectives, **Frozen) → (loss, metrics)


@flax.struct.dataclass
class TrainState:
    """Everything a resumed run needs; all leaves are arrays (Orbax puts its own marks in their place).

    `ema` maps each decay (as text) to averaged parameters; `loss_scale` is 1 except in float16; `finite_steps` counts
    since the scale last changed, `skipped` counts updates left out in all, `skipped_in_a_row` the present run of them.
    `constants` holds what was measured on the training data (means, deviations): never updated, always kept.
    """

    step: Leaf
    params: Params
    ema: Any  # {decay: Params}
    opt_state: optax.OptState
    loss_scale: Leaf
    finite_steps: Leaf
    skipped: Leaf
    skipped_in_a_row: Leaf
    constants: Any  # {name: array}


def create_train_state(
    params: Params,
    optimizer: optax.GradientTransformation,
    ema_decays: tuple[float, ...],
    constants: dict[str, Array],
    dynamic_scale: bool,
) -> TrainState:
    """A fresh state. No two leaves share memory: the step gives its input's memory away."""
    step, finite_steps, skipped, skipped_in_a_row = (jnp.zeros((), jnp.int32) for _ in range(4))
    return TrainState(
        step=step,
        params=params,
        ema={str(decay): jax.tree.map(jnp.copy, params) for decay in ema_decays},
        opt_state=optimizer.init(params),
        loss_scale=jnp.asarray(2.0**15 if dynamic_scale else 1.0, jnp.float32),
        finite_steps=finite_steps,
        skipped=skipped,
        skipped_in_a_row=skipped_in_a_row,
        constants=constants,
    )


def train_step(
    state: TrainState,
    batch: Batch,
    key: Key,
    frozen: Frozen = NOTHING_FROZEN,
    *,
    collectives: Collectives = SINGLE_DEVICE,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    dynamic_scale: bool,
    accumulate: int = 1,
) -> tuple[TrainState, dict[str, Array]]:
    """One update; returns the new state and scalar metrics.

    With `accumulate` k the batch is worked on in k equal parts, one by one, and their gradients averaged: the same
    update for a loss that is a mean over examples, with the memory of one part. A non-finite gradient leaves
    parameters, averages and optimiser as they were; the step still counts, so that the data goes on. `key` is the
    stage's training key; it is folded with the step here. `frozen` is given to the loss by name.
    """
    # --- gradient
    key = jax.random.fold_in(key, state.step)

    scale = state.loss_scale if dynamic_scale else 1.0  # a number that is known costs nothing

    def scaled_loss(params: Params, part: Batch) -> tuple[Array, dict[str, Array]]:
        value, metrics = loss(params, part, key, collectives, **frozen)
        return value * scale, metrics

    gradient = functools.partial(jax.grad(scaled_loss, has_aux=True), state.params)
    grads, metrics = collectives.mean(
        gradient(batch) if accumulate == 1 else accumulate_mean(gradient, batch, accumulate)
    )
    grads = jax.tree.map(lambda g: g / scale, grads)
    norm = global_norm(grads)
    finite = jnp.isfinite(norm)

    # --- update, or none
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    done = (state.step - state.skipped).astype(jnp.float32)
    ema = {
        decay: optax.incremental_update(params, average, 1.0 - jnp.minimum(float(decay), (1.0 + done) / (10.0 + done)))
        for decay, average in state.ema.items()
    }
    new, old = (params, ema, opt_state), (state.params, state.ema, state.opt_state)
    params, ema, opt_state = jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, old)

    # --- loss scale and counts
    failed = 1 - finite.astype(jnp.int32)
    loss_scale, finite_steps = state.loss_scale, state.finite_steps
    if dynamic_scale:
        grow = finite & (finite_steps + 1 >= SCALE_GROWTH_STEPS)
        factor = jnp.where(finite, jnp.where(grow, 2.0, 1.0), 0.5)
        loss_scale = jnp.clip(loss_scale * factor, 1.0, 2.0**24)
        finite_steps = jnp.where(finite & ~grow, finite_steps + 1, 0)
    state = dataclasses.replace(
        state,
        step=state.step + 1,
        params=params,
        ema=ema,
        opt_state=opt_state,
        loss_scale=loss_scale,
        finite_steps=finite_steps,
        skipped=state.skipped + failed,
        skipped_in_a_row=(state.skipped_in_a_row + 1) * failed,
    )
    metrics |= {"grad_norm": norm, "skipped": state.skipped, "skipped_in_a_row": state.skipped_in_a_row}
    return state, metrics


def accumulate_mean(function: Callable[[Batch], Any], batch: Batch, count: int) -> Any:
    """The mean of `function` over `count` equal parts of a batch, one after the other."""
    parts = jax.tree.map(lambda x: x.reshape(count, x.shape[0] // count, *x.shape[1:]), batch)

    def add(total: Any, part: Batch) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, function(part)), None

    shapes = jax.eval_shape(function, jax.tree.map(lambda x: x[0], parts))
    total, _ = jax.lax.scan(add, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes), parts)
    return jax.tree.map(lambda x: x / count, total)
