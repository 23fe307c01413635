"""What the scripts say and how they end: one line and exit status 2 for what a person can mend."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, env=environment)


def one_image_user(folder: Path) -> None:
    for user, count in (("ID_1", 3), ("ID_2", 1)):
        (folder / user).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / user / f"walk_{i + 1}.png")


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda folder: None, "recordings"),
        (lambda folder: folder.mkdir(), "recordings"),
        (one_image_user, "user 'ID_2'"),
    ],
    ids=["missing", "empty", "one image"],
)
def test_training_on_a_bad_folder(tmp_path, prepare, says):
    folder, workdir = tmp_path / "recordings", tmp_path / "run"
    prepare(folder)
    done = run("train.py", "--config=configs/gait_cpu.py", f"--workdir={workdir}", f"--config.data.path={folder}")
    assert done.returncode == 2, done.stderr
    assert says in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not workdir.exists()


def test_sampling_with_an_interval_that_is_no_two_numbers(tmp_path):
    done = run("sample.py", f"--workdir={tmp_path}", "--guidance_interval=low,high")
    assert done.returncode == 2 and "give LOW,HIGH" in done.stderr, done.stderr


def test_sampling_without_a_working_directory(tmp_path):
    done = run("sample.py", f"--workdir={tmp_path / 'nothing'}", "--user_ids=ID_1")
    assert done.returncode == 2 and "train.py" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("script", "sign", "delay"),
    [
        ("evaluate", "reading", 1.0),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("evaluate", "reading", 0),
                ("evaluate", "reading", 4),
                ("enroll", "reading", 1),
                ("enroll", "prior", 0),
            )
        ),
    ],
)
def test_an_interrupt_ends_in_one_line(writable_root, windows, tmp_path, script, sign, delay):
    """Ctrl-C, a while after the progress bar has shown the sign: no traceback, no crash, nothing half-written."""
    command = {
        "evaluate": ["evaluate.py", f"--samples={tmp_path / 'samples'}"],
        "enroll": ["enroll.py", "--name=NEW", f"--path={windows}"],
    }[script]
    shutil.copytree(windows, tmp_path / "samples" / "walker_01")
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    command = [sys.executable, *command, f"--workdir={writable_root}"]
    before = sorted(writable_root.rglob("*"))
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        said = b""
        while sign.encode() not in said and (read := os.read(process.stderr.fileno(), 4096)):
            said += read
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        said += process.communicate(timeout=120)[1]
    assert process.returncode == 130, said.decode()
    assert b"Traceback" not in said and said.strip().endswith(b"stopped")
    assert sorted(writable_root.rglob("*")) == before
