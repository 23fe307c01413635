"""Hostile cases: a command on bad input ends soon, in success or with one line, and touches nothing outside its folder.

python -m pytest tests/hostile -m "slow or not slow"    # all of them; the default tests run a few of each kind
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 30.0
BYTES = 2 * 2**30


class Case(NamedTuple):
    name: str
    prepare: Callable[[Path], list[str]]  # makes the input below a folder; returns the command
    works: bool | None = False  # True: has to succeed; False: has to be refused; None: either
    names: str = ""  # what the refusal has to name
    short: bool = False  # part of the default tests


def parametrize(cases: Iterable[Case]) -> pytest.MarkDecorator:
    """The argument `case`; what is not short is slow."""
    cases = list(cases)
    assert len({case.name for case in cases}) == len(cases), "two cases have one name"
    marks = lambda case: () if case.short else pytest.mark.slow  # noqa: E731
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.name, marks=marks(case)) for case in cases])


class Outcome(NamedTuple):
    status: int
    seconds: float
    peak: int  # bytes
    stdout: str
    stderr: str


class Runner:
    """Commands in forked processes, see `fork_server.py`."""

    def __init__(self) -> None:
        # confined to a folder, commands cannot write to the cache of the tests
        env = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
        self._server = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("fork_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )
        assert json.loads(self._server.stdout.readline()) == "ready"

    def run(self, arguments: list[str], folder: Path) -> Outcome:
        output = folder.parent / "output"
        request = {"arguments": arguments, "folder": str(folder), "output": str(output), "seconds": SECONDS}
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        answer = json.loads(self._server.stdout.readline())
        texts = (output.with_suffix(end).read_text(errors="replace") for end in (".stdout", ".stderr"))
        return Outcome(answer["status"], answer["seconds"], answer["peak"], *texts)

    def close(self) -> None:
        self._server.communicate()


def judge(runner: Runner, case: Case, root: Path) -> Outcome:
    """Runs a case in the empty folder ROOT/folder and asserts the laws that hold for all."""
    folder, bystander = root / "folder", root / "bystander.txt"
    folder.mkdir()
    bystander.write_text("not to be touched")
    arguments = case.prepare(folder)
    (folder / "home").mkdir()
    before = snapshot(root)
    outcome = runner.run(arguments, folder)
    after, told = snapshot(root), f"{arguments}\n{outcome}"
    assert outcome.seconds < SECONDS, told
    assert outcome.peak < BYTES, told
    assert "Traceback" not in outcome.stdout + outcome.stderr, told
    assert outcome.status in {True: (0,), False: (2,), None: (0, 2)}[case.works], told
    changed = {name for name, _ in after.items() ^ before.items()}
    if outcome.status == 2:
        lines = messages(outcome.stderr)
        assert len(lines) == 1 and lines[0].startswith("error: "), told
        assert case.names in lines[0], told
        assert not changed, f"left behind or changed: {sorted(changed)}\n{told}"
    outside = {name for name in changed if not name.startswith("folder/")}
    assert not outside, f"outside its folder: {sorted(outside)}\n{told}"
    return outcome


def messages(stderr: str) -> list[str]:
    """The lines that are no progress, which is seen where a machine is slow."""
    lines = re.sub(r"\x1b\[\w", "", stderr).splitlines()
    return [line for line in lines if line.strip() and not re.search(r"%\||… \d+:\d\d", line)]


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    """Relative path → (size, time of change) of what lies below `root`, but for the home and the output of commands."""
    found = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if name != "folder" and not name.startswith(("folder/home", "output.")):
            status = path.lstat()
            found[name] = (status.st_size, status.st_mtime_ns)
    return found
