"""Slow time → spectrogram: tones land on their velocity's row, dB and model space agree, resizing keeps means."""

import numpy as np
import pytest

from mdiff_jax.data import spectrogram
from mdiff_jax.runtime.errors import InputError

WAVELENGTH, PRF, WINDOW, ZERO = 3.893e-3, 3200.0, 64, 50


def target(velocity: float, samples: int = 256) -> np.ndarray:
    """A point that comes nearer at `velocity` m/s: exp(-j 4π r / wavelength)."""
    distance = 5.0 - velocity * np.arange(samples) / PRF
    return np.exp(-4j * np.pi * distance / WAVELENGTH)


@pytest.mark.parametrize("row", [0, 13, 49, 50, 51, 63])
def test_a_target_shines_in_the_row_of_its_velocity(row: int) -> None:
    axis = spectrogram.row_velocities(WINDOW, PRF, WAVELENGTH, ZERO)
    power = np.abs(spectrogram.stft(target(axis[row]), WINDOW, 32, ZERO))
    assert axis[ZERO] == 0 and (np.diff(axis) < 0).all()
    assert (power.argmax(axis=0) == row).all()
    np.testing.assert_allclose(power.max(axis=0), 1, rtol=1e-3)  # a tone of amplitude 1 is 0 dB


def test_what_is_too_fast_wraps_round() -> None:
    axis = spectrogram.row_velocities(WINDOW, PRF, WAVELENGTH, ZERO)
    beyond = axis[0] + (axis[0] - axis[1])
    assert (np.abs(spectrogram.stft(target(beyond), WINDOW, 32, ZERO)).argmax(axis=0) == WINDOW - 1).all()


@pytest.mark.parametrize(("samples", "hop"), [(64, 1), (65, 32), (96, 32), (200, 7)])
def test_frames_are_those_that_fit(samples: int, hop: int) -> None:
    assert spectrogram.stft(target(1.0, samples), WINDOW, hop, ZERO).shape == (WINDOW, 1 + (samples - WINDOW) // hop)


@pytest.mark.parametrize(("window", "hop"), [(300, 32), (64, 0), (1, 1)])
def test_a_window_that_does_not_fit_is_refused(window: int, hop: int) -> None:
    with pytest.raises(InputError, match=f"window={window}, hop={hop}"):
        spectrogram.stft(target(1.0), window, hop, 0)


def test_decibels_and_model_space_invert_each_other_between_floor_and_top() -> None:
    db = np.linspace(-75, -30, 91).reshape(7, 13)
    window = spectrogram.from_db(db, top_db=-30.0)
    assert window[0, 0] == -1 and window[-1, -1] == 1
    np.testing.assert_allclose(spectrogram.model_to_db(window, top_db=-30.0), db, atol=1e-4)
    assert (spectrogram.from_db(db - 100, top_db=-30.0) == -1).all()
    assert (spectrogram.from_db(db + 100, top_db=-30.0) == 1).all()


def test_silence_is_the_floor() -> None:
    silence = spectrogram.to_db(np.zeros((4, 3), np.complex64))
    assert (spectrogram.from_db(silence, top_db=0.0) == -1).all()


def test_resizing_takes_area_means_down_and_nearest_up() -> None:
    window = np.random.default_rng(0).uniform(-1, 1, (8, 12)).astype(np.float32)
    down = spectrogram.resize(window, (4, 3))
    np.testing.assert_allclose(down, window.reshape(4, 2, 3, 4).mean((1, 3)), atol=1e-6)
    up = spectrogram.resize(window, (16, 24))
    np.testing.assert_array_equal(up, window.repeat(2, 0).repeat(2, 1))
    both = spectrogram.resize(window, (4, 24))
    np.testing.assert_allclose(both, window.reshape(4, 2, 12).mean(1).repeat(2, 1), atol=1e-6)


def test_stretching_makes_blocks_of_whole_frames() -> None:
    window = np.arange(7, dtype=np.float32)[None].repeat(2, 0) / 7
    wide = spectrogram.stretch(window, 256)
    values, widths = np.unique(wide[0], return_counts=True)
    np.testing.assert_array_equal(values, window[0])
    assert set(widths) <= {256 // 7, 256 // 7 + 1}


@pytest.mark.parametrize("frames", [33, 49, 60, 77])
def test_stretched_frames_are_counted_and_come_back(frames: int) -> None:
    native = np.random.default_rng(frames).uniform(-1, 1, (32, frames)).astype(np.float32)
    drawn = spectrogram.stretch(native, 256)
    assert spectrogram.native_frames(drawn) == frames
    np.testing.assert_allclose(spectrogram.unstretch(drawn, frames), native, atol=1e-6)


def test_no_frames_where_nothing_was_stretched() -> None:
    for window in (np.zeros((16, 256)), np.random.default_rng(0).uniform(size=(16, 256))):
        assert spectrogram.native_frames(window) == 0
