"""Profiles the decoder's training step: python benchmarks/profile_step.py [--config=…] [--batch=16]

Traces some steps with JAX's profiler and adds up the time of each kind of operation. Runs unchanged on a GPU.
"""

import argparse
import collections
import re
import tempfile
from pathlib import Path

import contender
import jax
from jax.profiler import ProfileData

FIXED = {"contender": "ours", "task": "train", "precision": "float32", "image_size": "", "student_steps": 4}
NUMBER = re.compile(r"[.\d]+$")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="configs/gait_cpu.py")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        step, _ = contender.ours(argparse.Namespace(**vars(given), **FIXED, cache=folder))
        with jax.profiler.trace(folder):
            for _ in range(given.steps):
                step()
        spent = operations(Path(folder))
    whole = sum(spent.values())
    print(f"{given.config}, batch {given.batch}, {jax.devices()[0].device_kind}: share of the time of all operations")
    for kind, nanoseconds in spent.most_common(15):
        print(f"{nanoseconds / whole:6.1%}  {nanoseconds / given.steps / 1e6:8.2f} ms a step  {kind}")


def operations(folder: Path) -> collections.Counter[str]:
    """Returns {kind: nanoseconds} of all operations traced on a device, or on the threads of the CPU backend."""
    spent = collections.Counter()
    for path in folder.rglob("*.xplane.pb"):
        for plane in ProfileData.from_file(str(path)).planes:
            for line in plane.lines:
                for event in line.events:
                    if "hlo_op" in dict(event.stats):
                        spent[NUMBER.sub("", event.name)] += event.duration_ns
    return spent


if __name__ == "__main__":
    main()
