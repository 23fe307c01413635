"""Huge pages: asked for once, by a process that is otherwise the same; fewer page faults."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from mdiff_jax.commands import main
from mdiff_jax.runtime import huge_pages

ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
PROGRAM = """
import json, os, resource, sys
from mdiff_jax.runtime import huge_pages
print(os.getpid(), flush=True)
huge_pages.ask()
faults = []
for _ in range(4):
    b"x" * 2**26
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(json.dumps([os.getpid(), sys.argv[1:], sys.flags.utf8_mode, os.environ.get(huge_pages.VARIABLE), faults]))
"""
of_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")


def environment(given: str | None) -> dict[str, str]:
    """Returns the environment of these tests with this value of the variable, or without one."""
    others = {name: value for name, value in os.environ.items() if name != huge_pages.VARIABLE}
    return others | {"PYTHONPATH": os.getcwd()} | ({} if given is None else {huge_pages.VARIABLE: given})


def run(tmp_path: Path, given: str | None) -> tuple[list[str], list]:
    """Runs the program with this value of the variable; returns the lines before it asks, and what it says at last."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-X", "utf8", str(program), "--flag=a b", "ö", ""]
    done = subprocess.run(command, env=environment(given), capture_output=True, text=True, check=True)
    *before, last = done.stdout.splitlines()
    return before, json.loads(last)


@of_glibc
@pytest.mark.parametrize("given", [None, "glibc.malloc.arena_max=2"])
def test_a_process_begins_anew_as_it_was(tmp_path, given):
    before, (pid, arguments, utf8, value, _) = run(tmp_path, given)
    assert before == [str(pid)] * 2 and arguments == ["--flag=a b", "ö", ""] and utf8 == 1
    assert value == (f"{given}:" if given else "") + "glibc.malloc.hugetlb=1"


def test_what_the_user_says_stays(tmp_path):
    before, (pid, _, _, value, _) = run(tmp_path, "glibc.malloc.hugetlb=0")
    assert before == [str(pid)] and value == "glibc.malloc.hugetlb=0"


def test_the_process_of_another_program_goes_on(tmp_path):
    """A notebook's `%run train.py` sets `sys.argv` and runs the script in the process of the notebook."""
    (tmp_path / "train.py").write_text(PROGRAM)
    code = "import runpy, sys; sys.argv = ['train.py', '--config=tiny']; runpy.run_path('train.py')"
    pipes = {"capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(None), **pipes)
    before, last = done.stdout.splitlines()
    assert json.loads(last)[0] == int(before) and json.loads(last)[3] is None


@of_glibc
def test_memory_that_is_taken_again_and_again_costs_few_page_faults(tmp_path):
    if not ENABLED.is_file() or "[never]" in ENABLED.read_text():
        pytest.skip("this system has no huge pages")
    if tuple(map(int, platform.libc_ver()[1].split("."))) < (2, 35):
        pytest.skip("this glibc cannot be asked")
    each = {given: run(tmp_path, given)[1][4] for given in (None, "glibc.malloc.hugetlb=0")}
    few, many = (faults[-1] - faults[0] for faults in (each[None], each["glibc.malloc.hugetlb=0"]))
    if "[always]" not in ENABLED.read_text():
        assert few < many / 10, (few, many)
    assert few < 3 * 2**26 / 4096 / 10, few


@pytest.mark.parametrize("entry", [main.main, lambda: main.run("doctor")], ids=["mdiff", "script"])
def test_commands_ask_before_they_begin(monkeypatch, entry):
    """But not for help, which takes no memory."""
    called = []

    def guard(start):
        start()
        sys.exit(0)

    monkeypatch.setattr(huge_pages, "ask", lambda: called.append("ask"))
    monkeypatch.setattr(main.cli, "guard", guard)
    monkeypatch.setattr(main.load("doctor"), "main", lambda: called.append("main"))
    first = ["mdiff", "doctor"] if entry is main.main else ["doctor.py"]
    for arguments, expected in (([*first, "--help"], []), (first, ["ask", "main"])):
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit):
            entry()
        assert called == expected
