"""Nuisances: each does to a window what it should, and the window's truth tells it."""

import tracemalloc

import numpy as np
import pytest

from mdiff_jax.data import simulated
from mdiff_jax.metrics import kinematics
from mdiff_jax.simulator import gait, nuisances, radar, walkers
from mdiff_jax.simulator.nuisances import Nuisances

ZERO_DOPPLER = (walkers.ZERO_ROW + 0.5) / walkers.ROWS
WINDOWS = 4
USER = walkers.make_users(1, 0)[0]
# Nothing in the way: no clutter, the receiver makes up for range, and neither noise nor detection hide anything.
QUIET = Nuisances(strength=1.0, clutter_db=-100.0, compensated=1.0, detection=-0.98)


def record(disturbed: Nuisances) -> tuple[np.ndarray, list[dict[str, float]]]:
    """Windows on a common grid and their truth, of the same walk whatever disturbs it."""
    disturbed = disturbed._replace(rng=np.random.default_rng(1))
    made = list(walkers.make_recording(USER, WINDOWS, np.random.default_rng(0), 0.0, True, disturbed))
    return np.stack([simulated.draw(w, (128, 64)) for w, _, _ in made]), [truth for _, truth, _ in made]


@pytest.fixture(scope="module")
def quiet() -> np.ndarray:
    return record(QUIET)[0]


def test_a_window_without_nuisances_says_that_there_are_none() -> None:
    for w in walkers.make_windows(num_users=1, recordings_per_user=1, windows_per_recording=2, seed=0):
        truth = w.truth
        assert truth["pace_lowest"] == truth["pace_highest"] == truth["taper"] == truth["hop"] == 1
        for name in ("turned", "start_or_stop", "interference", "side_echo", "back_echo", "haze"):
            assert truth[name] == 0
        assert truth["window_snr_db"] == pytest.approx(truth["snr_db"]) and 1.5 < truth["distance"] < 15


def test_every_nuisance_is_told_within_its_range() -> None:
    options = dict(num_users=24, recordings_per_user=1, windows_per_recording=1, seed=1, nuisances=1.0)
    told = [w.truth for w in walkers.make_windows(**options)]
    values = {name: np.array([truth[name] for truth in told]) for name in told[0]}
    for name, (low, high) in {
        "haze": nuisances.HAZE,
        "clutter_db": nuisances.CLUTTER_DB,
        "compensated": nuisances.COMPENSATED,
        "detection": nuisances.DETECTION,
        "fading": nuisances.FADING,
        "span_db": nuisances.SPAN_DB,
        "taper": nuisances.TAPER,
        "hop": nuisances.HOP,
    }.items():
        assert low <= values[name].min() < values[name].max() <= high, name
    for wall, share, range_db in (
        ("side_echo", nuisances.SIDE_SHARE, nuisances.SIDE_DB),
        ("back_echo", nuisances.BACK_SHARE, nuisances.BACK_DB),
    ):
        there = values[wall][values[wall] > 0]
        assert len(there) / 24 == pytest.approx(share, abs=0.25)
        assert (20 * np.log10(there) >= range_db[0]).all() and (20 * np.log10(there) <= range_db[1]).all()
    assert values["pace_lowest"].min() < 0.9 and values["pace_highest"].max() > 1.02


def test_a_steady_pace_is_the_plain_walk() -> None:
    phase = np.linspace(0, 2, 101)
    _, duration, _ = gait.gait_cycle(USER.gait)
    moved = nuisances.move(USER.gait, phase, np.ones(101), np.zeros(101), 0.02 * duration)
    plain = gait.joint_positions(USER.gait, phase)
    difference = moved - plain
    np.testing.assert_allclose(difference, np.broadcast_to(difference[0, 0], difference.shape), atol=1e-9)


@pytest.mark.parametrize("pace", [0.3, 0.6, 1.3])
def test_a_foot_on_the_ground_stays_where_it_is_at_any_pace(pace: float) -> None:
    """Over 0.2 of the cycle in the middle of its support the ankle moves by as small a share of the path as ever."""
    walk = gait.Gait()
    _, duration, _ = gait.gait_cycle(walk)
    phase = np.linspace(0.15, 0.35, 51)
    seconds = (phase[1] - phase[0]) * duration / nuisances.cadence(np.array([pace]))[0]
    moved = nuisances.move(walk, phase, np.full(51, pace), np.zeros(51), seconds)
    path = np.ptp(moved[:, gait.JOINTS.index("pelvis"), 0])
    assert path == pytest.approx(50 * seconds * walk.speed * pace, rel=0.15)
    assert np.ptp(moved[:, gait.JOINTS.index("ankle_r"), 0]) < 0.2 * path


def test_a_body_that_turns_walks_where_it_looks() -> None:
    phase, left = np.linspace(0, 4, 401), np.full(401, 90.0)
    straight = nuisances.move(gait.Gait(), phase, np.ones(401), 0 * left, 0.01)
    turned = nuisances.move(gait.Gait(), phase, np.ones(401), left, 0.01)
    np.testing.assert_allclose(turned[..., 1], straight[..., 0], atol=1e-9)
    np.testing.assert_allclose(turned[..., 0], -straight[..., 1], atol=1e-9)
    np.testing.assert_allclose(turned[..., 2], straight[..., 2], atol=1e-9)


def ridge_speeds(windows: np.ndarray) -> np.ndarray:
    """Torso in m/s, in each frame."""
    rows = walkers.ZERO_ROW + 0.5 - kinematics.ridge_rows(windows)
    return rows * walkers.VELOCITY_STEP


@pytest.mark.parametrize("kind", ["pace", "heading"])
def test_who_stands_or_walks_across_comes_no_nearer(quiet: np.ndarray, kind: str) -> None:
    """From the second step on, for good; the truth tells it, and the torso is seen at it."""
    late = np.clip(np.arange(20 * nuisances.GRID) / nuisances.GRID - 1, 0, 1)
    curves = {"pace": np.ones_like(late), "heading": np.zeros_like(late)}
    curves[kind] = {"pace": 1 - late, "heading": 90 * late}[kind]
    windows, truth = record(QUIET._replace(**curves))
    assert truth[0]["start_or_stop"] == 1 and truth[-1]["start_or_stop"] == 0
    assert {"pace": truth[-1]["pace_highest"], "heading": 1 - truth[-1]["turned"] / 90}[kind] < 0.1
    assert np.median(ridge_speeds(quiet[-1:])) > 0.8
    assert np.median(ridge_speeds(windows[-1:])) < 0.25


def test_a_wall_behind_the_walker_reverses_the_velocities(quiet: np.ndarray) -> None:
    windows, truth = record(QUIET._replace(echoes=(radar.Echo(-12.0, "back", 2.0),)))
    assert truth[0]["back_echo"] == pytest.approx(10 ** (-12 / 20)) and truth[0]["side_echo"] == 0
    row = walkers.ZERO_ROW + round(USER.gait.speed / walkers.VELOCITY_STEP)
    rows = slice(min(row, 126) - 2, 128)
    gained = (windows - quiet).mean((0, 2))
    assert gained[rows].mean() > 0.3 and abs(gained[walkers.ZERO_ROW - 10 : walkers.ZERO_ROW].mean()) < 0.1


def test_a_wall_beside_the_path_returns_the_walker_more_slowly() -> None:
    """The nearer to the radar, the more: the echo's way shortens by the mean of both ways' cosines."""
    echo = radar.Echo(-20.0, "side", 3.0)
    x = np.linspace(-8, -2, 601)
    points = [x[None], np.zeros((1, 601)), np.ones((1, 601))]
    direct = radar.distances_to(np.array([0.0, 0.0, 1.0]), points)
    way = radar.echo_ranges(points, direct, np.array([0.0, 0.0, 1.0]), echo)[0]
    slower = np.diff(way) / np.diff(direct[0])
    expected = (1 + -x / np.hypot(x, 6.0)) / 2
    np.testing.assert_allclose(slower, (expected[1:] + expected[:-1]) / 2, atol=1e-4)


def test_haze_and_interference_fill_what_is_empty(quiet: np.ndarray) -> None:
    shown = QUIET._replace(detection=-0.7)
    clear, _ = record(shown)
    hazy, truth = record(shown._replace(haze=6.0))
    assert truth[0]["haze"] == 6 and (hazy == -1).mean() < (clear == -1).mean() - 0.05
    struck, truth = record(shown._replace(burst_rate=1.0))
    lit = (struck[:, :40] > -1).mean(1)  # of rows above all limbs, by frame
    assert 0 < np.mean([t["interference"] for t in truth]) < 0.4
    assert (lit > 0.5).any() and np.median(lit) < 0.2
    for told, frames in zip([t["interference"] for t in truth], lit, strict=True):
        assert (frames > 0.3).mean() <= told + 0.15


def test_noise_falls_behind_the_return_as_the_walker_comes_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nuisances, "QUIETER_DB", -10.0)
    windows, truth = record(QUIET._replace(detection=-0.6))
    distance, snr = (np.array([t[name] for t in truth]) for name in ("distance", "window_snr_db"))
    assert (np.diff(distance) < 0).all() and (np.diff(snr) > 0).all()
    far = distance < nuisances.FAR - 1
    slope = np.polyfit(np.log10(distance[far]), snr[far], 1)[0]
    assert slope == pytest.approx(-40, abs=4)  # R^-4
    noisy = (windows[:, :30] > -1).mean((1, 2))
    assert noisy[0] > noisy[-1]


def test_the_receiver_decides_what_is_shown_and_how_finely() -> None:
    hidden, _ = record(QUIET._replace(detection=-0.5))
    assert hidden[hidden > -1].min() >= -0.5
    zero = walkers.ZERO_ROW
    width = []
    for taper in (0.5, 1.0):
        line, _ = record(QUIET._replace(taper=taper, clutter_db=-10.0))
        width.append((line[:, zero - 3 : zero + 4] > line[:, [zero]] - 0.3).sum())
    assert width[0] > 1.2 * width[1]


def test_starts_and_stops_are_seen_about_as_often_as_they_are_told() -> None:
    options = dict(num_users=24, recordings_per_user=1, windows_per_recording=8, seed=5, nuisances=1.0)
    made = list(simulated.make_windows((128, 128), **options))
    measures = kinematics.measure_kinematics(np.stack([w.spectrogram for w in made]), ZERO_DOPPLER)
    seen, told = kinematics.is_start_or_stop(measures), np.array([w.truth["start_or_stop"] for w in made]) > 0
    assert 0.05 < told.mean() < 0.2
    assert seen.mean() == pytest.approx(told.mean(), abs=0.04) and (seen == told).mean() > 0.93


def test_people_and_recordings_do_not_depend_on_how_many_there_are() -> None:
    options = dict(windows_per_recording=3, seed=3, nuisances=1.0)
    many = list(walkers.make_windows(num_users=2, recordings_per_user=2, **options))
    for few in walkers.make_windows(num_users=1, recordings_per_user=1, **options):
        [same] = [w for w in many if (w.user, w.recording, w.index) == (few.user, few.recording, few.index)]
        assert same.truth == few.truth
        np.testing.assert_array_equal(same.spectrogram, few.spectrogram)


def test_memory_does_not_grow_with_the_number_of_windows() -> None:
    def peak(users: int) -> int:
        tracemalloc.start()
        options = dict(num_users=users, recordings_per_user=1, windows_per_recording=2, seed=0, nuisances=1.0)
        for _ in walkers.make_windows(**options):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1)
    assert peak(6) < 1.3 * peak(2)


@pytest.mark.parametrize("strength", [0.01, 0.5, 3.0])
def test_any_strength_makes_windows(strength: float) -> None:
    options = dict(num_users=3, recordings_per_user=1, windows_per_recording=3, seed=0, nuisances=strength)
    for w in walkers.make_windows(**options):
        assert w.spectrogram.shape[0] == 128 and np.isfinite(w.spectrogram).all() and w.spectrogram.max() > 0.5
        assert all(np.isfinite(value) for value in w.truth.values())
