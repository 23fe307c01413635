"""What the scripts say and how they end: one line and exit status 2 for what a person can mend."""

import os
import subprocess
import sys
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
