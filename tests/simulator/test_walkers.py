"""Synthetic walkers: the gait model's published figures, the radar's physics, and windows like real ones."""

import itertools

import numpy as np
import pytest

from mdiff_jax.data import spectrogram
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.simulator import gait, radar, walkers


def forward_speeds(person: gait.Gait) -> dict[str, np.ndarray]:
    """m/s over one cycle of two steps, by joint."""
    n = 2000
    places = gait.joint_positions(person, np.linspace(0, 1, n + 1))[..., 0]
    speeds = np.diff(places, axis=0) * n / gait.gait_cycle(person)[1]
    return dict(zip(gait.JOINTS, speeds.T, strict=True))


# ----------------------------------------------------------------------------- the walking model


@pytest.mark.parametrize(
    ("height", "speed", "steps", "ankle", "toe"),
    [(1.75, 1.2, 105.4, 4.35, 5.68), (1.60, 1.0, 100.6, 3.75, 4.90), (1.85, 1.6, 118.3, 5.37, 6.97)],
)
def test_the_gait_model_gives_the_published_speeds(
    height: float, speed: float, steps: float, ankle: float, toe: float
) -> None:
    person = gait.Gait(height=height, speed=speed)
    assert gait.kinematic_truth(person)["steps_per_minute"] == pytest.approx(steps, abs=0.1)
    speeds = forward_speeds(person)
    for side in "rl":
        assert speeds[f"ankle_{side}"].max() == pytest.approx(ankle, rel=0.01)
        assert speeds[f"toe_{side}"].max() == pytest.approx(toe, rel=0.01)


def test_the_average_adult_has_the_published_stride_knee_hand_and_torso() -> None:
    person = gait.Gait(height=1.75, speed=1.2)
    speeds = forward_speeds(person)
    torso = (speeds["pelvis"] + speeds["neck"]) / 2
    assert gait.kinematic_truth(person)["stride"] == pytest.approx(1.367, abs=0.002)
    assert speeds["knee_r"].max() == pytest.approx(2.25, rel=0.01)
    assert speeds["hand_r"].max() == pytest.approx(2.50, rel=0.01)
    assert (torso.min(), torso.max()) == pytest.approx((1.08, 1.32), abs=0.02)


@pytest.mark.parametrize("speed", [0.3, 0.8, 1.2, 1.8])
def test_a_body_walks_on_the_spot_of_its_path(speed: float) -> None:
    """Periodic but for one stride a cycle, mirrored half a cycle later, limbs of constant length."""
    person = gait.Gait(speed=speed)
    phase = np.linspace(0, 1, 101)
    now, later = gait.joint_positions(person, phase), gait.joint_positions(person, phase + 1)
    stride = np.array([gait.kinematic_truth(person)["stride"], 0, 0])
    np.testing.assert_allclose(later - now, np.broadcast_to(stride, now.shape), atol=1e-9)
    half = gait.joint_positions(person, phase + 0.5) - stride / 2
    mirror = [
        gait.JOINTS.index(n[:-1] + {"r": "l", "l": "r"}[n[-1]] if n[-2:] in ("_r", "_l") else n) for n in gait.JOINTS
    ]
    legs = slice(4, 12)
    np.testing.assert_allclose(half[:, mirror][:, legs], (now * [1, -1, 1])[:, legs], atol=1e-9)
    for a, b, share in (
        ("hip_r", "knee_r", gait.THIGH),
        ("knee_l", "ankle_l", gait.SHANK),
        ("elbow_l", "hand_l", 0.152),
    ):
        length = np.linalg.norm(now[:, gait.JOINTS.index(a)] - now[:, gait.JOINTS.index(b)], axis=1)
        np.testing.assert_allclose(length, share * person.height, rtol=1e-9)
    assert now[:, :, 2].min() > -0.12 and now[:, 3, 2].max() < 1.05 * person.height


def test_a_limp_and_an_asymmetry_are_seen() -> None:
    even, odd = forward_speeds(gait.Gait()), forward_speeds(gait.Gait(asymmetry=0.07))
    assert even["ankle_r"].max() == pytest.approx(even["ankle_l"].max(), rel=1e-3)
    assert odd["ankle_r"].max() > 1.05 * odd["ankle_l"].max()
    late = forward_speeds(gait.Gait(limp=0.03))
    steps = (late["ankle_l"].argmax() - late["ankle_r"].argmax()) / 2000 % 1
    assert steps == pytest.approx(0.53, abs=0.01)


# ----------------------------------------------------------------------------- the radar


def test_a_point_that_comes_nearer_is_seen_at_its_velocity() -> None:
    rate = walkers.PRF / radar.OVERSAMPLING
    distance = 6 - 1.5 * np.arange(40) / rate
    iq = radar.slow_time_samples(distance[None], np.ones((1, 40), complex))
    assert len(iq) == 37 * radar.OVERSAMPLING
    power = np.abs(spectrogram.stft(iq, walkers.ROWS, walkers.HOP_SAMPLES, walkers.ZERO_ROW))
    axis = spectrogram.row_velocities(walkers.ROWS, walkers.PRF, radar.WAVELENGTH, walkers.ZERO_ROW)
    np.testing.assert_allclose(axis[power.argmax(axis=0)], 1.5, atol=0.03)


def test_slow_time_follows_a_curved_path_between_the_joints_times() -> None:
    rate = walkers.PRF / radar.OVERSAMPLING
    path = lambda t: 5 - 1.2 * t + 0.08 * np.sin(2 * np.pi * 4 * t)  # noqa: E731 - up to 50 m/s²
    iq = radar.slow_time_samples(path(np.arange(60) / rate)[None], np.ones((1, 60), complex))
    exact = np.exp(-4j * np.pi / radar.WAVELENGTH * path(1 / rate + np.arange(len(iq)) / walkers.PRF))
    assert np.abs(np.vdot(exact, iq)) / len(iq) > 0.999


def test_a_spheroid_is_brightest_broadside_and_a_sphere_from_everywhere_alike() -> None:
    cosine = np.linspace(0, 1, 11)
    np.testing.assert_allclose(radar.cross_section(0.1, np.array(0.1), cosine), np.pi * 0.1**2)
    assert (np.diff(radar.cross_section(0.05, np.array(0.2), cosine)) < 0).all()


def test_speckle_has_unit_power_and_forgets() -> None:
    z = radar.speckle(400, 50, 10, np.random.default_rng(0))
    assert np.mean(np.abs(z) ** 2) == pytest.approx(1, abs=0.03)
    assert abs(np.mean(z[:, 0] * z[:, 25].conj())) < 0.2


# ----------------------------------------------------------------------------- users, recordings, windows


OPTIONS = dict(recordings_per_user=2, windows_per_recording=5, seed=3, size=(128, 256))


@pytest.fixture(scope="module")
def windows() -> list[walkers.SimulatedWindow]:
    return list(walkers.make_windows(num_users=3, **OPTIONS))


def test_the_number_of_users_recordings_and_windows_changes_none_of_them(windows: list) -> None:
    assert walkers.make_users(9, 5)[:4] == walkers.make_users(4, 5) != walkers.make_users(4, 6)
    fewer = list(walkers.make_windows(num_users=1, **(OPTIONS | {"recordings_per_user": 1})))
    for a, b in zip(fewer, windows, strict=False):
        assert (a.user, a.recording, a.index, a.truth) == (b.user, b.recording, b.index, b.truth)
        np.testing.assert_array_equal(a.spectrogram, b.spectrogram)


def test_names_and_indices(windows: list) -> None:
    assert [w.user for w in windows[::10]] == ["walker_01", "walker_02", "walker_03"]
    assert [w.recording for w in windows[:10:5]] == ["walk_01", "walk_02"]
    index = [w.index for w in windows[:10]]
    assert index[:5] == list(range(5)) and index[5] - index[4] > 4


def test_windows_are_in_model_space_with_an_empty_floor(windows: list) -> None:
    for w in windows:
        assert w.spectrogram.shape == (128, 256) and w.spectrogram.dtype == np.float32
        assert w.spectrogram.min() == -1 and 0.9 < w.spectrogram.max() <= 1
        assert 0.4 < (w.spectrogram == -1).mean() < 0.85
        assert len(w.velocities) == 128 and w.velocities[0] == pytest.approx(5.2) and (np.diff(w.velocities) < 0).all()


def test_a_window_is_four_steps_of_the_stated_cadence(windows: list) -> None:
    for w in windows:
        assert w.seconds == pytest.approx(4 * 60 / w.truth["steps_per_minute"], rel=0.1)


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
        recording = walkers.make_recording(fast, 2, rng, (128, 64), 0.0, wrapped)
        bottom.append(np.mean([(window[-12:] > -1).mean() for window, _, _ in recording]))
    assert bottom[0] > bottom[1] + 0.05


@pytest.mark.parametrize("key", ["num_users", "recordings_per_user", "windows_per_recording", "difficulty"])
def test_bad_numbers_are_refused_by_name(key: str) -> None:
    options = dict(num_users=1, recordings_per_user=1, windows_per_recording=1, seed=0, difficulty=1.0)
    with pytest.raises(InputError, match=f"{key}=-1"):
        list(walkers.make_windows(**(options | {key: type(options[key])(-1)})))
