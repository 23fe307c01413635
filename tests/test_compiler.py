"""The compiler computes what single operations do: jaxlib 0.10.2 did not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def check_compiler(*cases: str) -> None:
    """In a process of its own: compiled as users compile, not as tests do."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    command = [sys.executable, ROOT / "benchmarks" / "compiler.py", "--check", f"--only={','.join(cases)}"]
    done = subprocess.run(command, capture_output=True, text=True, env=env | {"JAX_PLATFORMS": "cpu"})
    assert done.returncode == 0, f"this version of jaxlib computes wrong numbers:\n{done.stdout}\n{done.stderr}"
    assert all(any(line.startswith(case) for line in done.stdout.splitlines()) for case in cases), done.stdout


def test_rows_and_judge() -> None:
    check_compiler("rows", "judge")


@pytest.mark.slow
def test_losses_gradients_and_samplers() -> None:
    check_compiler("encoder", "prior", "decoder", "ddim", "dpmpp_2m")
