"""What cheaper layers cost beside a dense convolution: python benchmarks/layer_costs.py [--batch=16] [--repetitions=7]

Forward pass and gradient of one layer at the sizes of both levels of `configs/gait_cpu.py`, in seconds of the machine's
cores, layers in turn, the least of the repetitions. On a GPU, which does not count them, by the clock.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import flax.linen as nn
import jax
import jax.numpy as jnp

from mdiff_jax.models.layers import GroupNorm
from mdiff_jax.runtime import cli, huge_pages
from mdiff_jax.runtime.progress import doing

SIZES = ((32, 20, 64), (16, 10, 128))  # rows, frames, channels
CALLS = 4  # in each repetition


class Layer(nn.Module):
    """A 3x3 convolution in groups, a norm and SiLU before it, a 1x1 after it where there are groups."""

    group: int | None = None  # channels in each; None: all
    norm: bool = False
    active: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        x = GroupNorm(jnp.float32)(x) if self.norm else x
        x = nn.silu(x) if self.active else x
        x = nn.Conv(channels, (3, 3), feature_group_count=channels // (self.group or channels))(x)
        return x if self.group is None else nn.Conv(channels, (1, 1))(x)


LAYERS = {
    "dense 3x3": Layer(),
    "depthwise 3x3, dense 1x1": Layer(1),
    "3x3 in groups of 16 channels, dense 1x1": Layer(16),
    "SiLU, dense 3x3": Layer(active=True),
    "norm, SiLU, dense 3x3": Layer(norm=True, active=True),
}


def make_call(layer: Layer, x: jax.Array) -> Callable[[], object]:
    """Returns a function that waits for the gradients by parameters and input."""
    variables = jax.jit(layer.init)(jax.random.key(0), x)
    gradient = jax.jit(jax.grad(lambda variables, x: jnp.square(layer.apply(variables, x)).mean(), (0, 1)))
    return lambda: jax.block_until_ready(gradient(variables, x))


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repetitions", type=int, default=7)
    given = parser.parse_args()
    huge_pages.ask()
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    print("| " + " | ".join(["", *(f"{r}x{f}, {c} channels: ms | of dense" for r, f, c in SIZES)]) + " |")
    print("|---" * (1 + 2 * len(SIZES)) + "|", flush=True)
    cells: dict[str, list[str]] = {name: [] for name in LAYERS}
    for size in SIZES:
        x = jax.random.normal(jax.random.key(1), (given.batch, *size))
        calls = {name: make_call(layer, x) for name, layer in LAYERS.items()}
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        with doing(f"timing layers at {size[0]}x{size[1]}"):
            for call in calls.values():
                call()  # compiles
            for _ in range(given.repetitions):
                for name, call in calls.items():
                    began = clock()
                    for _ in range(CALLS):
                        call()
                    seconds[name].append((clock() - began) / CALLS)
        dense = min(seconds["dense 3x3"])
        for name, values in seconds.items():
            cells[name] += [f"{min(values) * 1e3:.1f}", f"{min(values) / dense:.2f}"]
    for name, row in cells.items():
        print(f"| {name} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    cli.guard(main)
