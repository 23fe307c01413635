"""A disk that is full at any moment of a training: one line, and the same command goes on once there is space."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOUNTED = "tmpfs"


@pytest.fixture
def disk(tmp_path):
    """A function that mounts a file system of so many KiB at a folder, or changes its size."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size: int) -> Path:
        options = f"size={size}k" + (",remount" if folder.is_mount() else "")
        done = subprocess.run(["mount", "-t", MOUNTED, "-o", options, MOUNTED, str(folder)], capture_output=True)
        if done.returncode:
            pytest.skip("this user may not mount a small file system")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)


def train(workdir: Path) -> tuple[int, list[str]]:
    """(exit status, lines of standard error other than progress bars and XLA's notes on programs in the cache)."""
    command = ["train.py", "--config=tests/small_run.py", f"--workdir={workdir}", "--config.stage=encoder"]
    command += ["--config.compilation_cache=true"]
    env = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    lines = done.stderr.replace("\r", "\n").splitlines()
    return done.returncode, [
        line for line in lines if line.strip() and not re.search(r"%\||… \d+:\d\d|cpu_aot_loader", line)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("size", [16, 120, 200, 300, 400])
def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_space(disk, size):
    workdir = disk(size) / "run"
    status, lines = train(workdir)
    assert (status, len(lines)) == (2, 1), lines
    assert lines[0].startswith("error: ") and "free some space" in lines[0]
    disk(8000)
    assert train(workdir) == (0, [])
