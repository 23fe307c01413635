"""One program on all local devices: the only file that says pmap.

State carries no device axis: it lies whole on every device, so that checkpoints and sampling see plain arrays.
Batches arrive flat and are cut into one piece a device here.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mdiff_jax.errors import InputError
from mdiff_jax.state import Across

AXIS = "devices"
ACROSS = Across(
    mean=functools.partial(jax.lax.pmean, axis_name=AXIS),
    gather=functools.partial(jax.lax.all_gather, axis_name=AXIS, tiled=True),
)


def replicate(tree: Any) -> Any:
    """The tree whole on every local device; placed before the first step, or the step compiles twice."""
    mesh = Mesh(np.array(jax.local_devices()), (AXIS,))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def check_batch_size(batch_size: int, key: str) -> None:
    """Raises unless every device of every process gets an equal share."""
    if batch_size % jax.device_count():
        raise InputError(
            f"{key} is {batch_size}: give a multiple of {jax.device_count()}, the number of devices, "
            "so that each gets an equal share"
        )


def split(batch: Any) -> Any:
    """Leaves (B, …) → (devices, B / devices, …)."""
    n = jax.local_device_count()
    return jax.tree.map(lambda x: x.reshape(n, x.shape[0] // n, *x.shape[1:]), batch)


def compile_step(step: Callable) -> Callable:
    """`step(state, batch, key, across)` → a function of the flat local batch, on all devices; the state's memory is
    given away."""
    mapped = jax.pmap(
        functools.partial(step, across=ACROSS),
        axis_name=AXIS,
        in_axes=(None, 0, None),
        out_axes=(None, None),
        donate_argnums=(0,),
    )
    return lambda state, batch, key: mapped(state, split(batch), key)


def compile_map(function: Callable) -> Callable:
    """`function(constants, batch)` example by example → the same on all devices, the flat batch padded to fit.

    Returns host arrays of the flat batch's length.
    """
    mapped = jax.pmap(function, axis_name=AXIS, in_axes=(None, 0))
    n = jax.local_device_count()

    def run(constants: Any, batch: Any) -> Any:
        size = len(jax.tree.leaves(batch)[0])
        index = np.arange(-(-size // n) * n) % size
        out = mapped(constants, split(jax.tree.map(lambda x: x[index], batch)))
        return jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:])[:size], out)

    return run
