"""What happens to one of two processes is known to both, and none waits for ever."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import losses

ROOT = Path(__file__).parents[2]
LOOP, TRAINING = ROOT / "tests" / "runtime" / "in_processes.py", ROOT / "tests" / "small_run.py"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


def run_two(faults: tuple[str, str], *command: object) -> list[tuple[int, str, str]]:
    """(exit status, output, standard error) of a program in two processes, each with its fault."""
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    address, pipe = f"localhost:{free_port()}", subprocess.PIPE
    running = [
        subprocess.Popen(
            [sys.executable, *map(str, command), fault, address, "2", str(i)],
            env=env,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
        for i, fault in enumerate(faults)
    ]
    try:
        said = [process.communicate(timeout=200) for process in running]
    finally:
        for process in running:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(running, said, strict=True)]


def fault_of(victim: int, fault: str) -> tuple[str, str]:
    return (fault, "none") if victim == 0 else ("none", fault)


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


@pytest.mark.parametrize(("victim", "fault"), [(0, "TERM"), (1, "INT")])
def test_a_signal_to_one_stops_all_at_the_same_step(victim, fault):
    """Those that have nothing to save wait for the one that has."""
    ended = run_two(fault_of(victim, fault), LOOP)
    status = {"TERM": 143, "INT": 130}[fault]
    assert [code for code, *_ in ended] == [status, status], ended
    assert all(last_line(error) == "stopped; the same command resumes here" for *_, error in ended)
    (first, second), other = (json.loads(last_line(output)) for _, output, _ in ended)
    assert first == second >= 5 and other == [first, second]


@pytest.mark.parametrize(("victim", "fault"), [(0, "crash"), (1, "input")])
def test_an_error_of_one_ends_all_with_its_cause(victim, fault):
    ended = run_two(fault_of(victim, fault), LOOP)
    status, cause = {
        "input": (2, "this cannot be: give something else"),
        "crash": (1, "MemoryError: the machine is gone"),
    }[fault]
    assert [code for code, *_ in ended] == [status, status], ended
    own, others = ended[victim][2], ended[1 - victim][2]
    assert last_line(own) == f"error: {cause}"
    assert last_line(others) == f"error: process {victim} has ended: {cause}"
    assert "Traceback" not in others and ("Traceback" in own) == (fault == "crash")


@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.slow)])  # 20 s without a sign of life
def test_a_process_that_is_killed_ends_the_others(victim):
    ended = run_two(fault_of(victim, "KILL"), LOOP)
    status, _, said = ended[1 - victim]
    assert (ended[victim][0], status) == (-9, 1), ended
    lines = [line for line in said.splitlines() if "[Gloo]" not in line]
    assert len(lines) == 1 and lines[0].startswith(f"error: process {1 - victim}: another process of this run"), said


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_training_that_is_stopped_saves_and_resumes(tmp_path, victim):
    ended = run_two(fault_of(victim, "TERM"), TRAINING, tmp_path)
    assert [code for code, *_ in ended] == [143, 143], ended
    saved = max(int(p.name) for p in (tmp_path / "encoder" / "checkpoints").iterdir() if p.name.isdigit())
    assert f"encoder: stopped and saved at step {saved} of 8" in (tmp_path / "train.log").read_text()
    assert [code for code, *_ in run_two(("none", "none"), TRAINING, tmp_path)] == [0, 0]
    assert [step for step, _ in losses(tmp_path, ("encoder",))["encoder"]] == list(range(1, 9))


@pytest.mark.slow
def test_a_dry_run_of_two_leaves_nothing(tmp_path):
    ended = run_two(("dry", "dry"), TRAINING, tmp_path / "new")
    assert [code for code, *_ in ended] == [0, 0], ended
    assert ended[0][1].count("by the compiler's plan") == 3 and not list(tmp_path.iterdir())
