"""Compares our decoder with diffusers' UNet of as many operations: each in its own process, in turn."""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = Path(__file__).with_name("contender.py")


def main(task: str, description: str) -> None:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", default="configs/quickstart.py")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=32, help="sampling steps")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--contenders", default="ours,eager,compiled")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        run(task, given, cache)


def run(task: str, given: argparse.Namespace, cache: str) -> None:
    common = [f"--config={given.config}", f"--batch={given.batch}", f"--steps={given.steps}", f"--cache={cache}"]
    common += [f"--precision={given.precision}", f"--task={task}"]
    flops = json.loads(subprocess.check_output([sys.executable, PROGRAM, "flops", *common], text=True))
    print(
        f"forward pass of a window: ours {flops['ours'] / 1e9:.3f} GFLOP, theirs {flops['theirs'] / 1e9:.3f}",
        flush=True,
    )
    names, about, seconds, processes = given.contenders.split(","), {}, {}, {}
    for name in names:
        command = [sys.executable, str(PROGRAM), name, *common, f"--scale={flops['scale']}"]
        processes[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        about[name], seconds[name] = json.loads(processes[name].stdout.readline()), []
        print(f"{name}: ready after {about[name]['compile_s']:.1f} s of compiling and first run", flush=True)
    for _ in range(given.repeats):  # one at a time, in turn: other load on the machine affects all alike
        for name, process in processes.items():
            process.stdin.write("go\n")
            process.stdin.flush()
            seconds[name].append(json.loads(process.stdout.readline())["seconds"])
    for name, process in processes.items():
        out, _ = process.communicate()
        about[name] |= json.loads(out.splitlines()[-1])
    rate, per_step = matrix_rate(), flops["ours"] * given.batch * (3 if task == "train" else given.steps)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"\n{task}, {given.config}, batch {given.batch}, {given.precision}")
    print(f"float32 matrices here: {rate / 1e9:.0f} GFLOP/s")
    print("| | ms | relative to ours | parameters M | peak MiB | GFLOP/s, share of the matrix rate |")
    print("|---|---|---|---|---|---|")
    for name in names:
        achieved = (per_step if name == "ours" else per_step * flops["theirs"] / flops["ours"]) / median[name]
        ratio = statistics.median(b / a for a, b in zip(seconds["ours"], seconds[name], strict=True))
        print(
            f"| {name} | {median[name] * 1e3:.0f} | {ratio:.2f} | {about[name]['parameters'] / 1e6:.2f} | "
            f"{about[name]['peak_mib']:.0f} | {achieved / 1e9:.0f}, {achieved / rate:.0%} |"
        )
    command = [sys.executable, str(PROGRAM), "ours", *common]
    again = subprocess.run(command, input="", capture_output=True, text=True, check=True).stdout.splitlines()[0]
    cold, cached = about["ours"]["compile_s"], json.loads(again)["compile_s"]
    print(f"our compilation: {cold:.1f} s cold, {cached:.1f} s from the cache")


def matrix_rate(size: int = 1536) -> float:
    """Returns FLOP/s of a float32 matrix product, the best of five."""
    import jax
    import jax.numpy as jnp

    a, multiply, best = jnp.ones((size, size)), jax.jit(lambda a: a @ a), float("inf")
    jax.block_until_ready(multiply(a))
    for _ in range(5):
        began = time.perf_counter()
        jax.block_until_ready(multiply(a))
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best
