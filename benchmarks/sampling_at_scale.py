"""Samples many windows: is memory flat, is time linear, does a killed call go on, do all devices and processes work?

python benchmarks/sampling_at_scale.py --workdir=runs/tiny [--counts=1000,2000] [--steps=4]

Runs `mdiff sample` on a trained working directory, into a temporary folder: each count alone; then the first one again,
killed half-way and repeated; on two devices (XLA makes two of one CPU); and by two processes. One table, with what
differs from the files of the first call.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from PIL import Image

from mdiff_jax.runtime import cli
from mdiff_jax.runtime.progress import Bar
from mdiff_jax.runtime.workdir import Workdir, read_json

ROOT = Path(__file__).parents[1]
MDIFF = (sys.executable, "-c", "from mdiff_jax.commands.main import main; main()")
TWO_DEVICES = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"}
POLL_SECONDS = 0.25


class Call(NamedTuple):
    """A call of `mdiff sample` that samples `each` windows of each of the users."""

    name: str
    each: int
    processes: int = 1
    kill: bool = False  # half-way
    environment: dict[str, str] = {}  # noqa: RUF012


class Measured(NamedTuple):
    """What it took: memory of the first process when its first images appeared and at the end; CPU of each process."""

    seconds: float
    cpu_seconds: list[float]
    first_mib: float
    last_mib: float


def run(call: Call, folder: Path, given: argparse.Namespace, total: int) -> Measured:
    """Runs a call into `folder` and watches it; `total` images are expected."""
    flags = [f"--workdir={given.workdir.absolute()}", f"--output_dir={folder}", f"--sample_timesteps={given.steps}"]
    command = [*MDIFF, "sample", *flags, f"--num_samples_per_user={call.each}"]
    together = [f"--coordinator_address=127.0.0.1:{free_port()}", f"--num_processes={call.processes}"]
    began, quiet = time.perf_counter(), {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    quiet |= {"cwd": ROOT, "env": os.environ | call.environment}
    started = [
        subprocess.Popen([*command, *([*together, f"--process_id={i}"] if call.processes > 1 else [])], **quiet)
        for i in range(call.processes)
    ]
    memory, ended, before = [], {}, count_images(folder)
    with Bar(total=total, desc=call.name, unit="image", leave=False) as bar:
        while len(ended) < len(started):
            there, now = count_images(folder), resident_mib(started[0].pid)
            bar.update(there - bar.n)
            memory += [now] if there > before and now else []
            if call.kill and there >= total // 2 and not ended:
                os.kill(started[0].pid, signal.SIGKILL)  # send_signal would take its end from wait4
            for process in started:
                if process.pid not in ended and (done := os.wait4(process.pid, os.WNOHANG))[0]:
                    process.returncode = os.waitstatus_to_exitcode(done[1])
                    ended[process.pid] = done[2].ru_utime + done[2].ru_stime
            time.sleep(POLL_SECONDS)
    if any(process.returncode not in (0, -signal.SIGKILL if call.kill else 0) for process in started):
        raise SystemExit(f"{call.name}: {' '.join(command)} failed")
    return Measured(time.perf_counter() - began, [*ended.values()], memory[0], memory[-1])


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def images(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.glob("*/*.*") if path.parent.name != ".windows")


def count_images(folder: Path) -> int:
    """Counts images while they are written."""
    users = [entry for entry in os.scandir(folder) if entry.is_dir()] if folder.is_dir() else []
    return sum(not entry.name.startswith(".") for user in users for entry in os.scandir(user))


def resident_mib(process: int) -> float:
    """Returns the resident memory of a process; 0 once it has ended."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError):
        return 0.0


def compare(first: Path, second: Path) -> str:
    """Says what differs between two folders of samples."""
    if images(first) != images(second):
        return "other files"
    different = [path for path in images(first) if (first / path).read_bytes() != (second / path).read_bytes()]
    if not different:
        return "the same bytes"
    both = ([np.asarray(Image.open(folder / path), int) for path in different] for folder in (first, second))
    most = max(np.abs(a - b).max() for a, b in zip(*both, strict=True))
    return f"{len(different)} of {len(images(first))} images, by {most} of 255 at most"


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=cli.given_path, required=True)
    parser.add_argument("--counts", default="1000,2000", help="windows to sample, of all users together")
    parser.add_argument("--steps", type=int, default=4, help="sampling steps")
    given = parser.parse_args()
    users = len(read_json(Workdir(given.workdir).data / "dataset.json", "train it first")["users"])
    counts = [-(-int(count) // users) for count in given.counts.split(",")]
    calls = [Call(f"{each * users} windows", each) for each in counts]
    again = f"{counts[0] * users} windows"
    calls += [Call(f"{again}, killed half-way", counts[0], kill=True), Call(f"{again}, repeated", counts[0])]
    calls += [Call(f"{again}, two devices", counts[0], environment=TWO_DEVICES)]
    calls += [Call(f"{again}, two processes", counts[0], processes=2)]
    print("| | seconds | CPU seconds | MiB at the first images | at the end | beside the first call |")
    print("|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as parent:
        folders = [Path(parent, str(i)) for i in range(len(calls))]
        folders[len(counts) + 1] = folders[len(counts)]  # the killed call goes on in its folder
        for call, folder in zip(calls, folders, strict=True):
            m = run(call, folder, given, call.each * users)
            cpu = " + ".join(f"{seconds:.0f}" for seconds in m.cpu_seconds)
            same = "" if call.kill or call.each != counts[0] or folder == folders[0] else compare(folders[0], folder)
            print(
                f"| {call.name} | {m.seconds:.0f} | {cpu} | {m.first_mib:.0f} | {m.last_mib:.0f} | {same} |", flush=True
            )


if __name__ == "__main__":
    cli.guard(main)
