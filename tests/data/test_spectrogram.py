"""Sizes of spectrograms: resizing keeps means, stretching makes blocks of whole frames that are found again."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter1d

from mdiff_jax.data import native_grid, spectrogram


def test_resizing_takes_area_means_down_and_nearest_up() -> None:
    window = np.random.default_rng(0).uniform(-1, 1, (8, 12)).astype(np.float32)
    down = spectrogram.resize(window, (4, 3))
    np.testing.assert_allclose(down, window.reshape(4, 2, 3, 4).mean((1, 3)), atol=1e-6)
    up = spectrogram.resize(window, (16, 24))
    np.testing.assert_array_equal(up, window.repeat(2, 0).repeat(2, 1))
    both = spectrogram.resize(window, (4, 24))
    np.testing.assert_allclose(both, window.reshape(4, 2, 12).mean(1).repeat(2, 1), atol=1e-6)


def test_an_axis_that_shrinks_is_averaged_though_the_other_grows() -> None:
    """Colors one by one, and each column is a frame."""
    window = np.random.default_rng(0).uniform(size=(200, 28, 3)).astype(np.float32)
    here = spectrogram.resize(window, (50, 56))
    assert here.dtype == np.float32
    np.testing.assert_allclose(here, window.reshape(50, 4, 28, 3).mean(1).repeat(2, 1), atol=1e-6)


def test_stretching_makes_blocks_of_whole_frames() -> None:
    window = np.arange(7, dtype=np.float32)[None].repeat(2, 0) / 7
    wide = spectrogram.stretch(window, 256)
    values, widths = np.unique(wide[0], return_counts=True)
    np.testing.assert_array_equal(values, window[0])
    assert set(widths) <= {256 // 7, 256 // 7 + 1}


@pytest.mark.parametrize("frames", [20, 33, 49, 60, 77, 110, 127])
def test_stretched_frames_are_counted_and_come_back(frames: int) -> None:
    native = np.random.default_rng(frames).uniform(-1, 1, (32, frames)).astype(np.float32)
    drawn = spectrogram.stretch(native, 256)
    assert spectrogram.native_frames(drawn) == frames
    np.testing.assert_allclose(native_grid.average_blocks(drawn, frames, False), native, atol=1e-6)


@pytest.mark.parametrize("rows", [8, 16, 20, 64])
def test_an_axis_of_equal_steps_has_equal_steps_at_every_size(rows: int) -> None:
    here = spectrogram.resize_velocity_axis(np.linspace(4.0, -2.0, 16), rows)
    np.testing.assert_allclose(np.diff(here), -(6.0 / 15) * 16 / rows, atol=1e-9)
    assert here.mean() == pytest.approx(1.0)


@pytest.mark.parametrize("width", [20, 64, 100, 256, 875, 5000])
def test_no_frames_where_nothing_was_stretched(width: int) -> None:
    noise = np.random.default_rng(0).uniform(size=(16, width)).astype(np.float32)
    few = np.random.default_rng(0).uniform(size=(16, max(width // 4, 8))).astype(np.float32)
    interpolated = Image.fromarray(few).resize((width, 16), Image.Resampling.BICUBIC)
    some = np.zeros((16, width))
    some[:, np.random.default_rng(0).integers(0, width, width // 8)] = 1
    for window in (np.zeros((16, width)), some, noise, gaussian_filter1d(noise, 2), np.asarray(interpolated)):
        assert spectrogram.native_frames(window) == 0
