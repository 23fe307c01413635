"""One program on all local devices: the only file that says pmap.

State carries no device axis: it lies whole on every device, so that checkpoints and sampling see plain arrays.
Batches arrive flat and are cut into one piece a device here.
"""

import collections
import functools
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mdiff_jax.runtime.array_types import Array
from mdiff_jax.runtime.errors import InputError

DEVICE_AXIS = "devices"


class Collectives(NamedTuple):
    """How values of one device are joined with those of the others, inside a compiled function."""

    mean: Callable[[Any], Any]
    gather: Callable[[Array], Array]  # (b, …) of each device → (B, …)


SINGLE_DEVICE = Collectives(mean=lambda tree: tree, gather=lambda x: x)
ALL_DEVICES = Collectives(
    mean=functools.partial(jax.lax.pmean, axis_name=DEVICE_AXIS),
    gather=functools.partial(jax.lax.all_gather, axis_name=DEVICE_AXIS, tiled=True),
)


def initialize_processes(coordinator_address: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Joins the processes of a run with several hosts: found by itself on a TPU pod, by these three elsewhere."""
    given = (coordinator_address, num_processes, process_id)
    if any(value is not None for value in given):
        if None in given:
            raise InputError("give all of --coordinator_address, --num_processes and --process_id, or none")
        jax.distributed.initialize(*given)
    elif "," in os.environ.get("TPU_WORKER_HOSTNAMES", ""):
        jax.distributed.initialize()


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def broadcast_arrays(tree: Any) -> Any:
    """The first process's host arrays, for all."""
    return tree if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(tree)


def broadcast_from_first(call: Callable[[], Any]) -> Any:
    """What `call` returns to the first process, for all: values that JSON knows; its InputError is raised by all."""
    if jax.process_count() == 1:
        return call()
    answer = {}
    if is_first():
        try:
            answer = {"value": call()}
        except InputError as error:
            answer = {"error": str(error)}
    text = np.frombuffer(json.dumps(answer).encode(), np.uint8)
    size = int(broadcast_arrays(np.array(text.size, np.int32)))
    answer = json.loads(bytes(broadcast_arrays(np.resize(text, size))))
    if "error" in answer:
        raise InputError(answer["error"])
    return answer["value"]


def wait_for_all(name: str) -> None:
    """Returns when every process has come here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def device_memory() -> int | None:
    """Bytes that one device has, where the backend says so."""
    stats = jax.local_devices()[0].memory_stats()
    return stats.get("bytes_limit") if stats else None


def replicate(tree: Any) -> Any:
    """The tree whole on every local device; placed before the first step, or the step compiles twice."""
    mesh = Mesh(np.array(jax.local_devices()), (DEVICE_AXIS,))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def check_batch_size(batch_size: int, key: str, accumulate: int = 1) -> None:
    """Raises unless every device of every process gets an equal share, and every part of it one."""
    unit = jax.device_count() * accumulate
    if batch_size % unit:
        parts = f" times {accumulate}, the parts of accumulation" if accumulate > 1 else ""
        raise InputError(
            f"{key} is {batch_size}: give a multiple of {unit}, the number of devices{parts}, "
            "so that each gets an equal share"
        )


def shard_batch(batch: Any) -> Any:
    """Leaves (B, …) → (devices, B / devices, …)."""
    n = jax.local_device_count()
    return jax.tree.map(lambda x: x.reshape(n, x.shape[0] // n, *x.shape[1:]), batch)


def prefetch(batches: Iterator[Any], ahead: int = 2) -> Iterator[Any]:
    """Flat host batches → batches cut into pieces on their devices, `ahead` of them on the way there."""
    where = NamedSharding(Mesh(np.array(jax.local_devices()), (DEVICE_AXIS,)), PartitionSpec(DEVICE_AXIS))
    waiting = collections.deque()
    for batch in batches:
        waiting.append(jax.device_put(shard_batch(batch), where))
        if len(waiting) > ahead:
            yield waiting.popleft()
    yield from waiting


class StepCost(NamedTuple):
    """What the compiler says of one device's step."""

    flops: float | None
    bytes_needed: int | None  # arguments, results, and what lies between


class CompiledStep(NamedTuple):
    """A compiled training step: `step(state, batch, key)` on prefetched batches; the state's memory is given away."""

    mapped: Callable

    def __call__(self, state: Any, batch: Any, key: Any) -> tuple[Any, dict]:
        return self.mapped(state, batch, key)

    def cost(self, state: Any, batch: Any, key: Any) -> StepCost:
        """Compiles, for the first call too."""
        compiled = self.mapped.lower(state, batch, key).compile()
        said, memory = compiled.cost_analysis(), compiled.memory_analysis()
        said = said[0] if isinstance(said, list) else said
        needed = None
        if memory is not None:
            parts = ("argument_size", "output_size", "temp_size", "generated_code_size")
            needed = sum(getattr(memory, f"{name}_in_bytes") for name in parts) - memory.alias_size_in_bytes
        return StepCost((said or {}).get("flops"), needed)


def compile_step(step: Callable) -> CompiledStep:
    """`step(state, batch, key, collectives)` → the same on all devices of all processes."""
    return CompiledStep(
        jax.pmap(
            functools.partial(step, collectives=ALL_DEVICES),
            axis_name=DEVICE_AXIS,
            in_axes=(None, 0, None),
            out_axes=(None, None),
            donate_argnums=(0,),
        )
    )


def compile_loss(loss: Callable) -> Callable:
    """`loss(params, batch, key, collectives)` → the metrics' mean over all devices, of prefetched batches."""
    mean = lambda params, batch, key: ALL_DEVICES.mean(loss(params, batch, key, ALL_DEVICES)[1])  # noqa: E731
    return jax.pmap(mean, axis_name=DEVICE_AXIS, in_axes=(None, 0, None), out_axes=None)


def compile_map(function: Callable) -> Callable:
    """`function(constants, batch)` example by example → the same on all devices, the flat batch padded to fit.

    Returns host arrays of the flat batch's length. For one process alone.
    """
    mapped = jax.pmap(function, axis_name=DEVICE_AXIS, in_axes=(None, 0), devices=jax.local_devices())
    n = jax.local_device_count()

    def run(constants: Any, batch: Any) -> Any:
        size = len(jax.tree.leaves(batch)[0])
        index = np.arange(-(-size // n) * n) % size
        out = mapped(constants, shard_batch(jax.tree.map(lambda x: x[index], batch)))
        return jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:])[:size], out)

    return run


def compile_shared_map(function: Callable) -> Callable:
    """As `compile_map`, but for all processes together: each computes its share of the batch, and all get the whole."""
    run, processes, me = compile_map(function), jax.process_count(), jax.process_index()

    def shared(constants: Any, batch: Any) -> Any:
        size = len(jax.tree.leaves(batch)[0])
        share = -(-size // processes)
        rows = np.arange(me * share, (me + 1) * share) % size
        mine = run(constants, jax.tree.map(lambda x: x[rows], batch))
        return jax.tree.map(lambda x: x[:size], multihost_utils.process_allgather(mine, tiled=True))

    return run if processes == 1 else shared
