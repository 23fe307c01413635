"""Compares our decoder and its student with diffusers' UNet of as many operations: each in its process, in turn."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import in_turn

from mdiff_jax.runtime import huge_pages

PROGRAM = Path(__file__).with_name("contender.py")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # all of them share one GPU


def main(task: str, description: str) -> None:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", default="configs/quickstart.py")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=32, help="sampling steps")
    parser.add_argument("--student_steps", type=int, default=4, help="sampling steps of the contender 'student'")
    parser.add_argument("--image_size", default="", help="rows x frames, as 256x256, if not those of the configuration")
    parser.add_argument("--precisions", default="float32", help="any of float32, bfloat16, float16")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--contenders", default="ours,eager,compiled" + ",student" * (task == "sample"))
    given = parser.parse_args()
    huge_pages.ask()  # for all, as `mdiff` begins
    with tempfile.TemporaryDirectory() as cache:
        for precision in given.precisions.split(","):
            given.precision = precision
            run(task, given, cache)


def run(task: str, given: argparse.Namespace, cache: str) -> None:
    common = [f"--config={given.config}", f"--batch={given.batch}", f"--steps={given.steps}", f"--cache={cache}"]
    common += [f"--precision={given.precision}", f"--task={task}", f"--student_steps={given.student_steps}"]
    common += [f"--image_size={given.image_size}"]
    flops = json.loads(subprocess.check_output([sys.executable, PROGRAM, "flops", *common], text=True))
    print(
        f"forward pass of a window: ours {flops['ours'] / 1e9:.3f} GFLOP, theirs {flops['theirs'] / 1e9:.3f}",
        flush=True,
    )
    names, about, seconds, processes = given.contenders.split(","), {}, {}, {}
    for name in names:
        command = [sys.executable, str(PROGRAM), name, *common, f"--scale={flops['scale']}"]
        processes[name] = in_turn.start(command)
        about[name], seconds[name] = json.loads(processes[name].stdout.readline()), []
        print(f"{name}: ready after {about[name]['compile_s']:.1f} s of compiling and first run", flush=True)
    for _ in range(given.repeats):  # one at a time, in turn: other load on the machine affects all alike
        for name, process in processes.items():
            seconds[name].append(in_turn.work(process)["seconds"])
    for name, process in processes.items():
        out, _ = process.communicate()
        about[name] |= json.loads(out.splitlines()[-1])
    rate, passes = matrix_rate(given.precision), dict.fromkeys(names, 3 if task == "train" else given.steps)
    passes |= {"student": given.student_steps} if task == "sample" else {}
    forward = {name: flops["ours" if name in ("ours", "student") else "theirs"] * given.batch for name in names}
    median = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"\n{task}, {given.config}, batch {given.batch}, {given.precision}")
    print(f"{given.precision} matrices here: {rate / 1e9:.0f} GFLOP/s")
    print(
        "| | ms | windows/s | relative to ours | parameters M | peak MiB | peak MiB of the start | "
        "GFLOP/s, share of the matrix rate |"
    )
    print("|---" * 8 + "|")
    for name in names:
        achieved = forward[name] * passes[name] / median[name]
        ratio = statistics.median(b / a for a, b in zip(seconds["ours"], seconds[name], strict=True))
        cells = (
            name,
            f"{median[name] * 1e3:.0f}",
            f"{given.batch / median[name]:.1f}",
            f"{ratio:.2f}",
            f"{about[name]['parameters'] / 1e6:.2f}",
            f"{about[name]['peak_mib']:.0f}",
            f"{about[name]['start_mib']:.0f}",
            f"{achieved / 1e9:.0f}, {achieved / rate:.0%}",
        )
        print(f"| {' | '.join(cells)} |", flush=True)
    command = [sys.executable, str(PROGRAM), "ours", *common]
    again = subprocess.run(command, input="", capture_output=True, text=True, check=True).stdout.splitlines()[0]
    cold, cached = about["ours"]["compile_s"], json.loads(again)["compile_s"]
    print(f"our compilation: {cold:.1f} s cold, {cached:.1f} s from the cache")


def matrix_rate(precision: str) -> float:
    """Returns FLOP/s of a matrix product of this precision, the best of five."""
    import jax
    import jax.numpy as jnp

    size = 1536 if jax.default_backend() == "cpu" else 8192
    a, multiply, best = jnp.ones((size, size), precision), jax.jit(lambda a: a @ a), float("inf")
    jax.block_until_ready(multiply(a))
    for _ in range(5):
        began = time.perf_counter()
        jax.block_until_ready(multiply(a))
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best
