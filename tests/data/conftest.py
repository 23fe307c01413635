"""A folder of recordings and the data set prepared from it, for all tests of this room."""

from pathlib import Path

import pytest
from PIL import Image
from recordings import WALK, prepare

from mdiff_jax.data import builders, colormap


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Two users of 20 windows of 64 frames, each a quarter of a window after the one before."""
    root = tmp_path_factory.mktemp("recordings")
    for user in (0, 1):
        (root / f"ID_{user}").mkdir()
        for k in range(20):
            window = WALK[user][:, 16 * k : 16 * k + 64]
            Image.fromarray(colormap.to_rgb(window, "jet")).save(root / f"ID_{user}" / f"case1_{k + 1}.png")
    return root


@pytest.fixture(scope="session")
def dataset(folder, tmp_path_factory) -> builders.Dataset:
    return prepare(folder, tmp_path_factory.mktemp("cache") / "data")
