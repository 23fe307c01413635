"""Signals at several moments of each script: it ends soon and without a traceback, and the command can be repeated."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from make_recordings import image_folders
from make_workdir import sample_from, workdir

ROOT = Path(__file__).parents[2]
MOMENTS = (0.5, 2.0, 4.0, 8.0)  # seconds after the start
COMMANDS = ("train", "sample", "evaluate", "enroll", "export", "inspect")


def command(name: str, folder: Path) -> list[str]:
    run = folder / "run"
    if name == "train":
        return ["train.py", "--config=configs/tiny.py", f"--workdir={folder / 'new'}", "--config.stage=encoder"]
    if name == "sample":
        return sample_from(run, "--num_samples_per_user=200")
    if name == "evaluate":
        return ["evaluate.py", f"--workdir={run}"]
    if name == "enroll":
        return ["enroll.py", f"--workdir={run}", "--name=carl", f"--path={folder / 'data' / 'anna'}"]
    if name == "export":
        return ["-m", "mdiff_jax.data.export", "--walkers=8", f"--output={folder / 'walkers'}"]
    return ["inspect_data.py", f"--path={folder / 'data'}"]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.slow
def test_a_signal_ends_a_command(name, number, moment, tmp_path):
    image_folders(tmp_path, count=8)
    workdir(tmp_path)
    options = dict(cwd=ROOT, env=os.environ | {"JAX_PLATFORMS": "cpu", "HOME": str(tmp_path / "home")}, text=True)
    arguments = [sys.executable, *command(name, tmp_path)]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.PIPE, **options) as process:
        time.sleep(moment)
        process.send_signal(number)
        sent = time.monotonic()
        _, stderr = process.communicate(timeout=60)
    assert time.monotonic() - sent < 30, stderr
    importing = any(word in stderr for word in ("import", "_xla_gc_callback"))  # no handlers are there yet
    assert process.returncode in (0, 2, -number, 128 + number), (process.returncode, stderr)
    assert importing or "Traceback" not in stderr, stderr
    if name in ("sample", "export") and process.returncode:
        again = subprocess.run(arguments, capture_output=True, timeout=120, **options)
        assert again.returncode == 0, again.stderr
        hidden = [path.name for path in tmp_path.rglob(".*") if "home" not in path.relative_to(tmp_path).parts]
        assert not hidden, f"left behind: {hidden}"
