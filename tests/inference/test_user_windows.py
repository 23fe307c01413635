"""Given windows are read as the recordings were, or refused."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mdiff_jax.inference import user_windows
from mdiff_jax.runtime.errors import InputError


def test_given_windows_are_there_and_of_the_size_of_the_recordings(trained, tmp_path):
    Image.new("RGB", (64, 32), (0, 0, 143)).save(tmp_path / "small.png")
    with pytest.raises(InputError, match=r"small\.png' is 64x32, the model's recordings are 256x256"):
        user_windows.read_user_windows(trained, tmp_path / "small.png", None)
    with pytest.raises(InputError, match="does not exist"):
        user_windows.read_user_windows(trained, tmp_path / "none", None)


def write_window(path, trained, stretched):
    """A window of 256 rows on the model's velocity axis, or on one `stretched` by a factor."""
    axis = np.array(trained.dataset.metadata["velocity"])
    rows = (np.arange(256) + 0.5) * len(axis) / 256 - 0.5
    velocity = axis[0] - rows * (axis[0] - axis[1])
    np.savez(path, spectrogram=np.random.default_rng(0).uniform(-1, 1, (256, 256)), velocity=stretched * velocity)


def test_given_windows_have_the_velocity_axis_of_the_recordings(trained, tmp_path):
    write_window(tmp_path / "alike.npz", trained, 1.0)
    assert user_windows.read_user_windows(trained, tmp_path / "alike.npz", None).windows.shape == (1, 16, 16, 1)
    write_window(tmp_path / "other.npz", trained, 1.5)
    with pytest.raises(InputError, match=r"other\.npz' are .* m/s, those of the model"):
        user_windows.read_user_windows(trained, tmp_path / "other.npz", None)


def test_pipes_are_refused_and_what_is_left_out_is_counted(trained, windows, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match=r"pipe\.png' is a pipe"):
        user_windows.read_user_windows(trained, tmp_path / "pipe.png", None)
    given = shutil.copytree(windows, tmp_path / "given")
    (given / ".hidden").write_text("")
    assert len(user_windows.read_user_windows(trained, given, "NEW").files) == 6
    assert f"ignored files in '{given}': 1 hidden\n" in capsys.readouterr().err


def test_the_current_folder_can_be_given(trained, windows, monkeypatch):
    monkeypatch.chdir(windows)
    assert set(user_windows.read_user_windows(trained, Path("."), None).users) == {"stranger"}


def test_files_beside_the_folders_of_people_are_left_out(trained, windows, tmp_path, capsys):
    for user in ("anna", "ben"):
        shutil.copytree(windows, tmp_path / user)
    (tmp_path / "truth.json").write_text("{}")
    assert set(user_windows.read_user_windows(trained, tmp_path, None).users) == {"anna", "ben"}
    assert "1 beside the windows, such as 'truth.json'" in capsys.readouterr().err
