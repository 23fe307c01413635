"""Walkers as windows of a data set: blocks of whole frames, one step from window to window, rows at their velocity."""

import itertools

import numpy as np
import pytest

from mdiff_jax.data import simulated, spectrogram
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.simulator import walkers

OPTIONS = dict(num_users=3, recordings_per_user=2, windows_per_recording=5, seed=3)


@pytest.fixture(scope="module")
def windows() -> list[walkers.SimulatedWindow]:
    return list(simulated.make_windows((128, 256), **OPTIONS))


def test_a_window_is_what_was_simulated_with_each_frame_a_block_of_columns(windows: list) -> None:
    for drawn, own in zip(windows, walkers.make_windows(**OPTIONS), strict=True):
        assert (drawn.user, drawn.recording, drawn.index) == (own.user, own.recording, own.index)
        assert (drawn.truth, drawn.seconds) == (own.truth, own.seconds)
        np.testing.assert_array_equal(drawn.spectrogram, spectrogram.stretch(own.spectrogram, 256))
        assert spectrogram.native_frames(drawn.spectrogram) == own.spectrogram.shape[1]


def test_rows_that_are_averaged_have_the_mean_of_their_velocities(windows: list) -> None:
    half = next(simulated.make_windows((64, 64), **OPTIONS))
    assert half.spectrogram.shape == (64, 64) and half.spectrogram.dtype == np.float32
    np.testing.assert_allclose(half.velocities, windows[0].velocities.reshape(64, 2).mean(1), atol=1e-12)
    np.testing.assert_allclose(half.spectrogram, windows[0].spectrogram.reshape(64, 2, 64, 4).mean((1, 3)), atol=1e-6)


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match=r"size=\(0, 64\)"):
        next(simulated.make_windows((0, 64), **OPTIONS))


def test_the_next_window_is_one_step_later(windows: list) -> None:
    for a, b in itertools.pairwise(windows[:5]):
        ncc = [
            np.corrcoef(a.spectrogram[:, shift:].ravel(), b.spectrogram[:, : 256 - shift].ravel())[0, 1]
            for shift in range(32, 129, 4)
        ]
        assert abs(32 + 4 * int(np.argmax(ncc)) - 64) <= 8 and max(ncc) > 0.8


def test_the_torso_ridge_lies_at_the_walkers_speed_and_is_highest_where_windows_start(windows: list) -> None:
    starts, middles = [], []
    for w in windows:
        near = (w.velocities > 0.4) & (w.velocities < 2)
        ridge = w.velocities[near][w.spectrogram[near].argmax(axis=0)]
        assert np.median(ridge) == pytest.approx(w.truth["speed"], abs=0.2)
        starts.append(np.median(ridge[[60, 64, 68, 124, 128, 132, 188, 192, 196]]))
        middles.append(np.median(ridge[[92, 96, 100, 156, 160, 164]]))
    assert np.mean(starts) > np.mean(middles) + 0.05


def test_native_windows_have_as_many_rows_as_recordings() -> None:
    options = dict(num_users=1, recordings_per_user=1, windows_per_recording=1, difficulty=1.0, nuisances=1.0, seed=0)
    (fine,) = walkers.make_windows(**options, rows=256)
    (example,) = simulated.read_examples((256, 80), options, native=True)
    np.testing.assert_array_equal(example.window[:, : example.frames, 0], fine.spectrogram)
