"""Where the time of the decoder's training step goes: python benchmarks/profile_step.py [--config=…] [--batch=16]

Traces some steps with JAX's profiler and adds up the time of each kind of operation, by the part of the program that
asked for it. Unchanged on a GPU.
"""

import argparse
import collections
import functools
import re
import runpy
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import numpy as np
from jax.profiler import ProfileData

from mdiff_jax import build, keys, parallel, trainer

KIND = re.compile(r"[.\d]+$|\.clone|_kernel|wrapped_")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="configs/gait_cpu.py")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    config = runpy.run_path(given.config)["get_config"]()
    with tempfile.TemporaryDirectory() as folder:
        run(config, given.batch, given.steps, folder)
        spent = collections.Counter(dict(operations(Path(folder))))
    whole = sum(spent.values())
    print(f"{given.config}, batch {given.batch}, {jax.devices()[0].device_kind}: share of the time of all operations")
    for kind, nanoseconds in spent.most_common(15):
        print(f"{nanoseconds / whole:6.1%}  {nanoseconds / given.steps / 1e6:8.2f} ms a step  {kind}")


def run(config, batch_size: int, steps: int, folder: str) -> None:
    """Trains `steps` steps on noise under the profiler."""
    users, rng = 6, np.random.default_rng(0)
    key, example = keys.purpose_key(0, "train"), np.arange(batch_size, dtype=np.int32)
    fresh = functools.partial(trainer.fresh_state, config, "decoder", users, 1000, {})
    now = parallel.replicate(jax.jit(fresh)())
    batch = {
        "spectrogram": rng.uniform(-1, 1, (batch_size, *build.spectrogram_shape(config))).astype(np.float32),
        "embedding": rng.normal(size=(batch_size, config.encoder.embedding_dim)).astype(np.float32),
        "user": example % users,
        "example": example,
    }
    batch = next(parallel.prefetch(iter([batch])))
    step = trainer.compile_step(config, "decoder", users, 1000, config.decoder.timesteps)
    now, _ = jax.block_until_ready(step(now, batch, key))
    with jax.profiler.trace(folder):
        for _ in range(steps):
            now, _ = step(now, batch, key)
        jax.block_until_ready(now)


def operations(folder: Path) -> Iterator[tuple[str, float]]:
    """(kind, nanoseconds) of every operation that was traced on a device or on the threads that stand for one."""
    spent = collections.Counter()
    for path in folder.rglob("*.xplane.pb"):
        for plane in ProfileData.from_file(str(path)).planes:
            for line in plane.lines:
                for event in line.events:
                    if "hlo_op" in dict(event.stats):
                        spent[KIND.sub("", KIND.sub("", event.name))] += event.duration_ns
    yield from spent.items()


if __name__ == "__main__":
    main()
