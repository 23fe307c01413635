"""One program on all local devices: the only file that says pmap.

State carries no device axis: it is replicated on every device, so that checkpoints and sampling see plain arrays.
Batches arrive flat and are split into one piece for each device here.
"""

import collections
import functools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mdiff_jax.runtime.array_types import Array, Key, Tree
from mdiff_jax.runtime.errors import InputError

DEVICE_AXIS = "devices"

T = TypeVar("T")
MapFunction = Callable[[Tree, Tree], Tree]  # (constants, batch) → results of each example


class Collectives(NamedTuple):
    """Operations that combine the values of all devices, inside a compiled function."""

    mean: Callable[[Tree], Tree]
    gather: Callable[[Array], Array]  # (b, …) of each device → (B, …)


SINGLE_DEVICE = Collectives(mean=lambda tree: tree, gather=lambda x: x)
ALL_DEVICES = Collectives(
    mean=functools.partial(jax.lax.pmean, axis_name=DEVICE_AXIS),
    gather=functools.partial(jax.lax.all_gather, axis_name=DEVICE_AXIS, tiled=True),
)


def is_first() -> bool:
    """Returns whether this process is the one that writes files."""
    return jax.process_index() == 0


def broadcast_arrays(tree: Tree) -> Tree:
    """Returns the host arrays of the first process, in all processes."""
    return tree if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(tree)


def broadcast_from_first(call: Callable[[], T]) -> T:
    """Calls `call` in the first process; returns its result, a JSON value, in all. All raise its InputError."""
    if jax.process_count() == 1:
        return call()
    answer: dict[str, Any] = {}
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
    """Returns when every process has called it."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def device_memory() -> int | None:
    """Returns the memory of one device in bytes; None where the backend does not tell."""
    stats = jax.local_devices()[0].memory_stats()
    return stats.get("bytes_limit") if stats else None


def replicate(tree: Tree) -> Tree:
    """Returns the tree whole on every local device; to be done before the first step, or the step compiles twice."""
    mesh = Mesh(np.array(jax.local_devices()), (DEVICE_AXIS,))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def lowering_arguments(shapes: Tree) -> Tree:
    """Returns what a step is lowered with in place of a state: its shapes, or zeros, which pmap needs where several
    processes run.
    """
    if jax.process_count() == 1:
        return shapes
    return replicate(jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes))


def check_batch_size(batch_size: int, key: str, accumulate: int = 1) -> None:
    """Raises InputError unless all devices of all processes get equal shares of `accumulate` parts of a batch."""
    unit = jax.device_count() * accumulate
    if batch_size % unit:
        parts = f" times {accumulate}, the parts a batch is accumulated from" if accumulate > 1 else ""
        raise InputError(
            f"{key} is {batch_size}: give a multiple of {unit}, the number of devices{parts}, "
            "so that each gets an equal share"
        )


def shard_batch(batch: Tree) -> Tree:
    """Reshapes leaves (B, …) to (devices, B / devices, …)."""
    n = jax.local_device_count()
    return jax.tree.map(lambda x: x.reshape(n, x.shape[0] // n, *x.shape[1:]), batch)


def prefetch(batches: Iterator[Tree], ahead: int = 2) -> Iterator[Tree]:
    """Yields flat host batches split over the devices, with `ahead` further ones already in transfer."""
    sharding = NamedSharding(Mesh(np.array(jax.local_devices()), (DEVICE_AXIS,)), PartitionSpec(DEVICE_AXIS))
    waiting: collections.deque[Tree] = collections.deque()
    for batch in batches:
        waiting.append(jax.device_put(shard_batch(batch), sharding))
        if len(waiting) > ahead:
            yield waiting.popleft()
    yield from waiting


class StepCost(NamedTuple):
    """The costs of a step on one device, as the compiler estimates them."""

    flops: float | None
    bytes_needed: int | None  # arguments, results, and temporaries


class CompiledStep(NamedTuple):
    """A compiled training step: `step(state, batch, key, frozen)` on prefetched batches; donates the memory of the
    state, not that of `frozen`.
    """

    mapped: Any  # as `jax.pmap` returns it

    def __call__(self, state: Tree, batch: Tree, key: Key, frozen: Tree = None) -> tuple[Tree, dict]:
        return self.mapped(state, batch, key, frozen or {})

    def cost(self, state: Tree, batch: Tree, key: Tree, frozen: Tree = None) -> StepCost:
        """Returns the costs; compiles the step, and the first call uses the same program."""
        compiled = self.mapped.lower(state, batch, key, frozen or {}).compile()
        analysis, memory = compiled.cost_analysis(), compiled.memory_analysis()
        analysis = analysis[0] if isinstance(analysis, list) else analysis
        needed = None
        if memory is not None:
            parts = ("argument_size", "output_size", "temp_size", "generated_code_size")
            needed = sum(getattr(memory, f"{name}_in_bytes") for name in parts) - memory.alias_size_in_bytes
        return StepCost((analysis or {}).get("flops"), needed)


def compile_step(step: Callable[..., tuple[Tree, dict]]) -> CompiledStep:
    """Compiles `step(state, batch, key, frozen, collectives=…)` for all devices of all processes."""
    collectives = SINGLE_DEVICE if jax.device_count() == 1 else ALL_DEVICES  # a reduction of one is still compiled
    return CompiledStep(
        jax.pmap(
            functools.partial(step, collectives=collectives),
            axis_name=DEVICE_AXIS,
            in_axes=(None, 0, None, None),
            out_axes=(None, None),
            donate_argnums=(0,),
        )
    )


def compile_loss(loss: Callable[..., tuple[Array, dict]]) -> Callable[[Tree, Tree, Key, Mapping[str, Tree]], dict]:
    """Compiles `loss(params, batch, key, collectives, **frozen)` to the mean of its metrics over all devices.

    The result takes prefetched batches, and `frozen` as a dict.
    """

    def mean(params: Tree, batch: Tree, key: Key, frozen: Mapping[str, Tree]) -> dict:
        return ALL_DEVICES.mean(loss(params, batch, key, ALL_DEVICES, **frozen)[1])

    return jax.pmap(mean, axis_name=DEVICE_AXIS, in_axes=(None, 0, None, None), out_axes=None)


def compile_map(function: MapFunction) -> MapFunction:
    """Compiles a function of single examples for all local devices; flat batches are padded to fit.

    The result returns host arrays of the length of the flat batch. For one process alone.
    """
    mapped = jax.pmap(function, axis_name=DEVICE_AXIS, in_axes=(None, 0), devices=jax.local_devices())
    n = jax.local_device_count()

    def run(constants: Tree, batch: Tree) -> Tree:
        size = len(jax.tree.leaves(batch)[0])
        index = np.arange(-(-size // n) * n) % size
        out = mapped(constants, shard_batch(jax.tree.map(lambda x: x[index], batch)))
        return jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:])[:size], out)

    return run


def compile_shared_map(function: MapFunction) -> MapFunction:
    """Works as `compile_map` for all processes together: each computes its share of a batch, all return the whole."""
    run, processes, process = compile_map(function), jax.process_count(), jax.process_index()

    def shared(constants: Tree, batch: Tree) -> Tree:
        size = len(jax.tree.leaves(batch)[0])
        share = -(-size // processes)
        rows = np.arange(process * share, (process + 1) * share) % size
        own = run(constants, jax.tree.map(lambda x: x[rows], batch))
        return jax.tree.map(lambda x: x[:size], multihost_utils.process_allgather(own, tiled=True))

    return run if processes == 1 else shared
