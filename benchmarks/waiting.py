"""Measures how long a user waits, and the longest silence of each command: python benchmarks/waiting.py [--config=tiny]

Runs every command as a user would, in a terminal (a pseudo-terminal), and notes when each byte arrives. Trains the
configuration for one epoch a stage on simulated walkers, once cold and once with the compiled programs of the first
time. Six minutes with `tiny` on two cores; --config=gait_cpu for what the programs of a real size take.
"""

import argparse
import fcntl
import itertools
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from mdiff_jax.commands.main import COMMANDS
from mdiff_jax.runtime import cli
from mdiff_jax.runtime.progress import doing

ROOT = Path(__file__).parents[1]
MDIFF = (sys.executable, "-c", "from mdiff_jax.commands.main import main; main()")
SIZE = struct.pack("HHHH", 40, 120, 0, 0)  # of the terminal: rows, columns
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ONE_EPOCH = [f"--config.{name}.epochs=1" for name in ("encoder", "prior", "decoder")]
WALKERS = ["--config.data.kind=walkers", "--config.sample.num_samples_per_user=4", "--config.sample.batch_size=8"]
SILENCE = 3.0  # seconds that are too long


class Said(NamedTuple):
    """Text that a command wrote, and the seconds after its start."""

    seconds: float
    text: str


class Outcome(NamedTuple):
    """A command that has ended."""

    status: int
    seconds: float
    cpu_seconds: float
    peak_mib: float
    said: list[Said]

    def first(self, pattern: str) -> float | None:
        """Returns the seconds until something was said that matches; None if nothing did."""
        return next((said.seconds for said in self.said if re.search(pattern, said.text)), None)

    def longest_silence(self) -> tuple[float, str, str]:
        """Returns the longest time in which nothing was written, and the lines before and after it."""
        moments = [Said(0.0, "start"), *self.said, Said(self.seconds, "end")]
        before, after = max(itertools.pairwise(moments), key=lambda pair: pair[1].seconds - pair[0].seconds)
        return after.seconds - before.seconds, last_line(before.text), last_line(after.text, first=True)


def last_line(text: str, first: bool = False) -> str:
    """Returns the last line of a text that shows anything, or the first one."""
    lines = [" ".join(line.split()) for line in re.split(r"[\r\n]", CONTROL.sub("", text)) if line.strip()]
    return (lines[0] if first else lines[-1])[:60] if lines else ""


def run(*arguments: str) -> Outcome:
    """Runs `mdiff` with these arguments in a terminal of its own."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, SIZE)
    began, said = time.perf_counter(), []
    process = subprocess.Popen([*MDIFF, *arguments], cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    while True:
        try:
            read = os.read(ours, 2**16)
        except OSError:  # the other end is closed
            break
        said.append(Said(time.perf_counter() - began, read.decode(errors="replace")))
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    os.close(ours)
    cpu_seconds, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    return Outcome(process.returncode, time.perf_counter() - began, cpu_seconds, peak, said)


def measure(title: str, *arguments: str, status: int = 0) -> Outcome:
    """Runs a command, prints its row, and returns what came of it."""
    with doing(title):
        done = run(*arguments)
    if done.status != status:
        print("".join(said.text for said in done.said)[-2000:], file=sys.stderr)
        raise SystemExit(f"mdiff {' '.join(arguments)} ended with {done.status}")
    silence, before, after = done.longest_silence()
    between = f"'{before}' and '{after}'" if silence > 1 else ""
    mark = " **too long**" if silence > SILENCE else ""
    used = f"{done.seconds:.1f} | {done.cpu_seconds:.1f} | {done.peak_mib:.0f}"
    print(f"| {title} | {used} | {silence:.1f}{mark} | {between} |", flush=True)
    return done


def print_waits(title: str, done: Outcome, waits: dict[str, tuple[str, str]]) -> None:
    """Prints the seconds between pairs of patterns; the start of the command stands for an empty one."""
    for name, (start, end) in waits.items():
        began, ended = done.first(start) if start else 0.0, done.first(end)
        if began is not None and ended is not None:
            print(f"| … {title}: {name} | {ended - began:.1f} | | | | |", flush=True)


def print_phases(done: Outcome) -> None:
    """Prints how long each thing took that a command said it was doing."""
    last: dict[str, str] = {}
    for said in done.said:
        last |= dict(re.findall(r"([^\r\n\x1b]+?) … (\d+:\d+)", said.text))
    print("".join(f"| … {name} | {clock} | | | | |\n" for name, clock in last.items()), end="", flush=True)


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="tiny", help="name or file of the configuration that is trained")
    given = parser.parse_args()
    print("| | seconds | CPU seconds | peak MiB | longest silence | between |\n|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        # ----------------------------------------------------------------- help and refusals
        for name in COMMANDS:
            measure(f"{name} --help", name, "--help")
        train = ["train", f"--config={given.config}"]
        measure("unknown flag", *train, "--workdr=x", status=2)
        measure("unknown key", *train, f"--workdir={folder}/none", "--config.decoder.epoch=1", status=2)
        nowhere = ["--config.data.kind=folder", f"--config.data.path={folder}/recordings"]
        measure("no such recordings", *train, f"--workdir={folder}/none", *nowhere, status=2)
        measure("no such working directory", "sample", f"--workdir={folder}/none", status=2)

        # ----------------------------------------------------------------- training, cold and from the cache
        waits = {
            "start to data": ("", r"walking:"),
            "data to the encoder's first step": (r"walking: 100%", r"encoder: +0%"),
        }
        for before, name in (("encoder", "prior"), ("prior", "decoder")):
            waits[f"to the {name}'s first step"] = (f"{before}: done", rf"{name}: +0%\|")
        waits["to the first sample"] = (r"decoder: done", r"samples: .*\| [1-9]\d*/")
        for title in ("cold", "cached"):
            workdir = f"{folder}/{title}"
            if title == "cached":
                shutil.copytree(f"{folder}/cold/cache", f"{workdir}/cache")
            done = measure(f"train, {title}", *train, f"--workdir={workdir}", *WALKERS, *ONE_EPOCH)
            print_waits(title, done, waits)

        # ----------------------------------------------------------------- everything else
        done = measure("sample", "sample", f"--workdir={workdir}", "--seed=1")
        print_waits("sample", done, {"to the first sample": ("", r"samples: .*\| [1-9]\d*/")})
        print_phases(measure("evaluate", "evaluate", f"--workdir={workdir}"))
        samples = next(path for path in Path(workdir, "samples").iterdir())
        measure("inspect", "inspect", f"--path={samples}", f"--figures={folder}/figures.png")
        measure("enroll", "enroll", f"--workdir={workdir}", "--name=NEW", f"--path={new_user(samples, folder)}")
        measure("export", "export", f"--workdir={workdir}", f"--output={folder}/model")
        measure("doctor", "doctor")


def new_user(samples: Path, folder: str) -> Path:
    """Returns a folder with windows of one user."""
    (one := Path(folder, "new", "NEW")).mkdir(parents=True)
    for i, path in enumerate(sorted(samples.glob("*/*.png"))[:8]):
        shutil.copyfile(path, one / f"walk_{i:04d}.png")
    return one


if __name__ == "__main__":
    cli.guard(main)
