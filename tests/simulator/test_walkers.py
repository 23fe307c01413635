"""Synthetic walkers: users that do not depend on how many there are, and windows like real ones."""

import numpy as np
import pytest

from mdiff_jax.runtime.errors import InputError
from mdiff_jax.simulator import walkers

OPTIONS = dict(recordings_per_user=2, windows_per_recording=5, seed=3)


@pytest.fixture(scope="module")
def windows() -> list[walkers.SimulatedWindow]:
    return list(walkers.make_windows(num_users=3, **OPTIONS))


def test_the_number_of_users_recordings_and_windows_changes_none_of_them(windows: list) -> None:
    assert walkers.make_users(9, 5)[:4] == walkers.make_users(4, 5) != walkers.make_users(4, 6)
    fewer = list(walkers.make_windows(num_users=1, **(OPTIONS | {"recordings_per_user": 1})))
    for a, b in zip(fewer, windows, strict=False):
        assert (a.user, a.recording, a.index, a.truth) == (b.user, b.recording, b.index, b.truth)
        np.testing.assert_array_equal(a.spectrogram, b.spectrogram)


@pytest.mark.parametrize(
    ("wrapped", "sums"),
    [
        (True, [213085, 185753, 251502, 238080, 282853, 270605, 305946, 292483]),
        (False, [216986, 189313, 257785, 239728, 287259, 275887, 307713, 294039]),
    ],
)
def test_without_nuisances_walkers_are_those_of_earlier_versions(wrapped: bool, sums: list[int]) -> None:
    """Sums of all levels in 255 steps, before there were nuisances; other processors round a few pixels otherwise."""
    options = dict(num_users=2, recordings_per_user=2, windows_per_recording=2, seed=3, wrapped=wrapped)
    for strength in ({}, {"nuisances": 0.0}):
        made = [np.round((w.spectrogram + 1) / 2 * 255).sum() for w in walkers.make_windows(**options, **strength)]
        np.testing.assert_allclose(made, sums, rtol=1e-3)


def test_names_and_indices(windows: list) -> None:
    assert [w.user for w in windows[::10]] == ["walker_01", "walker_02", "walker_03"]
    assert [w.recording for w in windows[:10:5]] == ["walk_01", "walk_02"]
    index = [w.index for w in windows[:10]]
    assert index[:5] == list(range(5)) and index[5] - index[4] > 4


def test_windows_are_in_model_space_with_an_empty_floor(windows: list) -> None:
    for w in windows:
        assert w.spectrogram.shape[0] == 128 and w.spectrogram.dtype == np.float32
        assert w.spectrogram.min() == -1 and 0.9 < w.spectrogram.max() <= 1
        assert 0.4 < (w.spectrogram == -1).mean() < 0.85
        assert len(w.velocities) == 128 and w.velocities[0] == pytest.approx(5.2) and (np.diff(w.velocities) < 0).all()


def test_a_window_is_four_steps_of_the_stated_cadence(windows: list) -> None:
    for w in windows:
        assert w.seconds == pytest.approx(4 * 60 / w.truth["steps_per_minute"], rel=0.1)
        frames = (w.seconds * walkers.PRF - walkers.ROWS) // walkers.HOP_SAMPLES + 1
        assert abs(w.spectrogram.shape[1] - frames) <= 1


def test_without_difficulty_all_walks_of_a_person_are_alike() -> None:
    options = dict(num_users=1, recordings_per_user=2, windows_per_recording=1, seed=0)
    a, b = walkers.make_windows(difficulty=0.0, **options)
    assert a.truth["speed"] == b.truth["speed"] and a.truth["arm_db"] == b.truth["arm_db"]
    c, d = walkers.make_windows(**options)
    assert c.truth["speed"] != d.truth["speed"]
    assert (a.spectrogram != b.spectrogram).any()  # speckle, noise and the place of the radar remain


def test_an_unwrapped_axis_loses_what_is_too_fast() -> None:
    """A tall, fast walker's toes pass 5.2 m/s: folded back they appear at the bottom, else nowhere."""
    user = walkers.make_users(1, 0)[0]
    fast = user._replace(gait=user.gait._replace(speed=1.6, height=1.9), foot_db=10.0)
    bottom = []
    for wrapped in (True, False):
        rng = np.random.default_rng(0)
        recording = walkers.make_recording(fast, 2, rng, 0.0, wrapped)
        bottom.append(np.mean([(window[-12:] > -1).mean() for window, _, _ in recording]))
    assert bottom[0] > bottom[1] + 0.05


@pytest.mark.parametrize(
    ("key", "values"),
    [(key, (-1, 0, True, 2**32)) for key in ("num_users", "recordings_per_user", "windows_per_recording")]
    + [(key, (-1.0, 1e9, float("nan"), float("inf"))) for key in ("difficulty", "nuisances")]
    + [("seed", (-1, True, 2**32))],
)
def test_bad_numbers_are_refused_by_name(key: str, values: tuple) -> None:
    options = dict(num_users=1, recordings_per_user=1, windows_per_recording=1, seed=0, nuisances=1.0)
    for value in values:
        with pytest.raises(InputError, match=f"{key} is {value}"):
            next(walkers.make_windows(**(options | {key: value})))
    with pytest.raises(InputError, match="in all"):
        next(walkers.make_windows(num_users=1000, recordings_per_user=1000, windows_per_recording=2, seed=0))


def test_more_rows_show_the_same_walk() -> None:
    options = dict(num_users=1, recordings_per_user=1, windows_per_recording=1, seed=0, nuisances=1.0)
    (own,), (fine,) = walkers.make_windows(**options), walkers.make_windows(**options, rows=2 * walkers.ROWS)
    np.testing.assert_allclose(fine.velocities[::2], own.velocities, atol=1e-12)
    both = np.stack([own.spectrogram, fine.spectrogram[::2]])
    inside = (both > -0.7).all(axis=0)
    assert np.abs(both[0] - both[1])[inside].max() < 0.1, "apart from the level of the top"
    with pytest.raises(InputError, match="at 64 rows"):
        next(walkers.make_windows(**options, rows=64))
