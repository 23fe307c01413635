"""Slow time → spectrogram: tones land on their velocity's row, dB are even steps of model space."""

import numpy as np
import pytest

from mdiff_jax.runtime.errors import InputError
from mdiff_jax.simulator import doppler

WAVELENGTH, PRF, WINDOW, ZERO = 3.893e-3, 3200.0, 64, 50


def target(velocity: float, samples: int = 256) -> np.ndarray:
    """A point that comes nearer at `velocity` m/s: exp(-j 4π r / wavelength)."""
    distance = 5.0 - velocity * np.arange(samples) / PRF
    return np.exp(-4j * np.pi * distance / WAVELENGTH)


@pytest.mark.parametrize("row", [0, 13, 49, 50, 51, 63])
def test_a_target_shines_in_the_row_of_its_velocity(row: int) -> None:
    axis = doppler.row_velocities(WINDOW, PRF, WAVELENGTH, ZERO)
    power = np.abs(doppler.stft(target(axis[row]), WINDOW, 32, ZERO))
    assert axis[ZERO] == 0 and (np.diff(axis) < 0).all()
    assert (power.argmax(axis=0) == row).all()
    np.testing.assert_allclose(power.max(axis=0), 1, rtol=1e-3)  # a tone of amplitude 1 is 0 dB


def test_what_is_too_fast_wraps_round() -> None:
    axis = doppler.row_velocities(WINDOW, PRF, WAVELENGTH, ZERO)
    beyond = axis[0] + (axis[0] - axis[1])
    assert (np.abs(doppler.stft(target(beyond), WINDOW, 32, ZERO)).argmax(axis=0) == WINDOW - 1).all()


def test_more_rows_interpolate_between_those_of_the_window() -> None:
    axis = doppler.row_velocities(2 * WINDOW, PRF, WAVELENGTH, 2 * ZERO)
    between = target(axis[41])
    twice = doppler.stft(between, WINDOW, 32, 2 * ZERO, rows=2 * WINDOW)
    np.testing.assert_allclose(twice[::2], doppler.stft(between, WINDOW, 32, ZERO), atol=1e-6)
    assert (np.abs(twice).argmax(axis=0) == 41).all()


@pytest.mark.parametrize(("samples", "hop"), [(64, 1), (65, 32), (96, 32), (200, 7)])
def test_frames_are_those_that_fit(samples: int, hop: int) -> None:
    assert doppler.stft(target(1.0, samples), WINDOW, hop, ZERO).shape == (WINDOW, 1 + (samples - WINDOW) // hop)


@pytest.mark.parametrize(("window", "hop"), [(300, 32), (64, 0), (1, 1)])
def test_a_window_that_does_not_fit_is_refused(window: int, hop: int) -> None:
    with pytest.raises(InputError, match=f"window={window}, hop={hop}"):
        doppler.stft(target(1.0), window, hop, 0)


def test_model_space_is_even_in_decibels_between_floor_and_top() -> None:
    db = np.linspace(-75, -30, 91).reshape(7, 13)
    window = doppler.from_db(db, top_db=-30.0)
    assert window[0, 0] == -1 and window[-1, -1] == 1
    np.testing.assert_allclose((window - 1) / 2 * doppler.SPAN_DB - 30.0, db, atol=1e-4)
    assert (doppler.from_db(db - 100, top_db=-30.0) == -1).all()
    assert (doppler.from_db(db + 100, top_db=-30.0) == 1).all()


def test_silence_is_the_floor() -> None:
    silence = doppler.to_db(np.zeros((4, 3), np.complex64))
    assert (doppler.from_db(silence, top_db=0.0) == -1).all()
