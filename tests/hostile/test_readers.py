"""Sampling beside a training that saves all the time: nothing is lost, and nothing but one line is said."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from mdiff_jax.inference import loading
from mdiff_jax.runtime.errors import InputError

ROOT = Path(__file__).parents[2]


def start_training(workdir: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "train.py", "--config=configs/tiny.py", f"--workdir={workdir}", *more]
    return subprocess.Popen(
        [*command, "--config.checkpoint_every=1", "--config.keep_checkpoints=1", "--config.validation_passes=0"],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_sampling_in_a_loop_beside_training_loses_nothing(tmp_path):
    outcomes = {}
    for name, watched in (("alone", False), ("watched", True)):
        training = start_training(tmp_path / name)
        outcomes[name] = []
        while watched and training.poll() is None:
            try:
                loaded = loading.load(tmp_path / name)
                loaded.sample(loaded.users[:1], 1)
                outcomes[name].append("sampled")
            except InputError as error:
                outcomes[name].append(str(error))
        said, _ = training.communicate()
        assert training.returncode == 0, said
        assert "set aside" not in said
    expected = (
        "not a working directory",
        "no prepared data",
        "no split",
        "no finished stage",
        "is at step",
        "two encoders",
    )
    assert all(line == "sampled" or any(part in line for part in expected) for line in outcomes["watched"])
    assert len({line for line in outcomes["watched"] if "is at step" in line}) > 5
    alone, watched = (loading.load(tmp_path / name).params for name in ("alone", "watched"))
    jax.tree.map(np.testing.assert_array_equal, alone, watched)
