"""Colormaps: exact without loss, close after JPEG, and refused where an image is drawn in none."""

import io

import numpy as np
import pytest
from PIL import Image

from mdiff_jax.data import colormap
from mdiff_jax.runtime.errors import InputError

RNG = np.random.default_rng(0)
SMOOTH = np.kron(np.sort(RNG.uniform(size=(16, 16)), axis=0), np.ones((8, 8)))
SMOOTH[64:] = 0  # half of a spectrogram is floor


def jpeg(rgb: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=75, subsampling=2)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("name", colormap.NAMES)
def test_every_level_comes_back(name):
    levels = np.arange(256)[None] / 255
    back = colormap.to_scalar(colormap.to_rgb(levels, name), name)
    assert np.abs(back - levels).max() < 1.5 / 255
    assert colormap.residual(colormap.to_rgb(levels, name), name) < 4


@pytest.mark.parametrize("name", colormap.NAMES)
def test_the_map_is_recognized_after_jpeg(name):
    image = jpeg(colormap.to_rgb(SMOOTH, name))
    assert colormap.detect(image, "it") == name
    assert np.abs(colormap.to_scalar(image, name) - SMOOTH).mean() < 3 / 255


def test_a_picture_of_something_else_is_refused_with_the_best_match():
    for image in (RNG.integers(0, 256, (64, 64, 3), np.uint8), np.full((64, 64, 3), (150, 100, 120), np.uint8)):
        with pytest.raises(InputError, match=r"'photo.jpg' uses no known colormap \(the nearest map is \w+, off by"):
            colormap.detect(image, "'photo.jpg'")


def test_jet_is_matlabs():
    np.testing.assert_array_equal(colormap.table("jet")[[0, 31, 255]], [[0, 0, 131], [0, 0, 255], [128, 0, 0]])


def test_an_unknown_map_is_refused():
    with pytest.raises(InputError, match="'rainbow' is not known"):
        colormap.to_rgb(SMOOTH, "rainbow")
