"""Given windows are read as the recordings were, or refused."""

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
