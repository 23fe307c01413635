"""The cost of a stage: parameters, operations, memory, reported before it is trained, and the time of its steps."""

import contextlib
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax

from mdiff_jax.config import Params
from mdiff_jax.runtime import parallel
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.parallel import StepCost
from mdiff_jax.training.train_state import TrainState

MISFIT = "this does not fit: "
USABLE_MEMORY_SHARE = 0.9  # share of a device's memory that may be planned for: some is always lost to fragments


class StagePlan(NamedTuple):
    """The numbers behind the table."""

    name: str
    parameters: dict[str, int]  # by part of the network
    state_bytes: int  # parameters, averages, optimiser
    windows: int
    steps: int
    done: int
    batch_size: int
    devices: int
    cost: StepCost
    device_bytes: int | None


def plan_stage(
    name: str, batch_size: int, windows: int, state: TrainState, total_steps: int, cost: StepCost
) -> StagePlan:
    """The plan of a stage from its state (or the shapes of one) and the cost of a step."""
    return StagePlan(
        name,
        count_parameters(state.params),
        sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state)),
        windows,
        total_steps,
        0 if isinstance(state.step, jax.ShapeDtypeStruct) else int(state.step),
        batch_size,
        jax.device_count(),
        cost,
        parallel.device_memory(),
    )


class StepTimer:
    """Measures the time of finished steps alone; `restart` leaves out what was done since the last of them."""

    def __init__(self, step: int):
        self.restart(step)

    def restart(self, step: int) -> None:
        """Begins anew after `step`."""
        self._step, self._began = step, time.perf_counter()

    def seconds_per_step(self, step: int) -> float:
        """Returns the mean time of the steps up to `step`, just finished, since the last call or restart."""
        seconds = (time.perf_counter() - self._began) / (step - self._step)
        self.restart(step)
        return seconds


def count_parameters(params: Params) -> dict[str, int]:
    """Number of parameters by the first word of their modules' names."""
    counts: dict[str, int] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        part = str(path[0].key).split("_")[0]
        counts[part] = counts.get(part, 0) + leaf.size
    return counts


def format_plan(p: StagePlan) -> str:
    """A few lines, one for each kind of cost."""
    parts = ", ".join(f"{part} {count / 1e6:.3g}" for part, count in p.parameters.items())
    lines = [
        f"{p.name}",
        f"  parameters  {sum(p.parameters.values()) / 1e6:.3g} M ({parts})",
        f"  training    {p.windows} windows, {p.steps} steps of {p.batch_size} on {p.devices} device(s), {p.done} done",
    ]
    if p.cost.flops:
        lines.append(f"  operations  {p.cost.flops * p.devices / p.batch_size / 1e9:.3g} GFLOP a window and step")
    if p.cost.bytes_needed:
        of = f" of {format_bytes(p.device_bytes)}" if p.device_bytes else ""
        lines.append(f"  memory      {format_bytes(p.cost.bytes_needed)}{of} a device, by the compiler's plan")
    if warning := suggest_if_too_large(p):
        lines.append(f"  {warning}")
    return "\n".join(lines)


def suggest_if_too_large(p: StagePlan) -> str | None:
    """A sentence that says what to try where the plan does not fit; None where it fits, or where memory is unknown."""
    if not (p.cost.bytes_needed and p.device_bytes) or p.cost.bytes_needed <= USABLE_MEMORY_SHARE * p.device_bytes:
        return None
    largest = largest_batch(p)
    first = f"{p.name}.batch_size={largest}" if largest else "a smaller network"
    return f"{MISFIT}try {first}, {p.name}.accumulate=2 or more, remat=blocks, or precision=bfloat16"


def largest_batch(p: StagePlan) -> int:
    """Memory beyond the state grows with the batch: the largest that fits, a multiple of the devices; 0 if none."""
    each = max(p.cost.bytes_needed - p.state_bytes, 1) / (p.batch_size / p.devices)
    return (
        int((USABLE_MEMORY_SHARE * p.device_bytes - p.state_bytes) / each) * p.devices
        if p.device_bytes > p.state_bytes
        else 0
    )


def format_bytes(number: int) -> str:
    return f"{number / 2**30:.2f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"


@contextlib.contextmanager
def explain_oom(plan: StagePlan) -> Iterator[None]:
    """Turns an out-of-memory error of the device into an InputError that says what to try."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        tight = plan._replace(device_bytes=plan.device_bytes and min(plan.device_bytes, plan.cost.bytes_needed or 0))
        advice = suggest_if_too_large(tight) or f"try a smaller {plan.name}.batch_size, or remat=blocks"
        raise InputError(f"{plan.name}: the device is out of memory: {advice.removeprefix(MISFIT)}") from error
