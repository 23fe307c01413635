"""Kinematic measures of windows whose walk is known."""

import numpy as np
import pytest
from walker_sets import two_walkers

from mdiff_jax.metrics import kinematics


def test_time_has_an_arrow():
    x = two_walkers()[0]
    forward = kinematics.measure_kinematics(x, 52 / 64)["arrow"]
    backward = kinematics.measure_kinematics(np.ascontiguousarray(x[:, :, ::-1]), 52 / 64)["arrow"]
    assert (forward < 0).mean() > 0.95
    np.testing.assert_allclose(forward, -backward, atol=1e-6)


def test_steps_coincide_whenever_windows_begin():
    """The envelope of a window and of the same rolled, each moved into step, are one to a frame or a step."""
    envelope = kinematics.measure_envelopes(two_walkers()[0][:6], 52 / 64)["highest"]
    rolled = np.roll(envelope, 7, axis=1)
    by, again = kinematics.align_steps(envelope), kinematics.align_steps(rolled)
    assert (np.abs((again + 7 - by + 8) % 16 - 8) <= 1).all()  # 16 frames a step


def test_strides_alternate_where_left_and_right_differ():
    time = np.arange(64) / 64 * 4
    same = np.sin(np.pi * time) ** 2 * 10
    uneven = same * np.where(time.astype(int) % 2, 1.0, 0.85)
    level = kinematics.left_right_alternation(np.stack([same, uneven]), np.array([4.0, 4.0]))
    assert level[1] > level[0] + 0.03
    assert kinematics.left_right_alternation(same[None], np.zeros(1)) == 0


def test_the_lowest_return_mirrors_the_highest():
    x = two_walkers()[0]
    rows = kinematics.top_rows(np.ascontiguousarray(x[:, ::-1]))
    np.testing.assert_allclose(kinematics.lowest_rows(x), 64 - rows)


def test_steps_of_a_periodic_envelope():
    time = np.arange(64)
    for count in (3, 4, 5):
        envelope = np.abs(np.sin(np.pi * count * (time + 0.5) / 64))[None]
        assert kinematics.count_steps(envelope)[0] == pytest.approx(count, rel=0.1)


def test_somebody_who_stops_drifts_and_somebody_who_walks_does_not():
    """However much the torso bobs with each of the four steps."""
    time, row = np.arange(64) / 64, 52 - np.arange(64)[:, None]
    bob = 4 * np.sin(8 * np.pi * time)
    torso = np.stack(
        [10 + bob, 10 + 0 * time, 10 - 8 * np.maximum(time - 0.5, 0), (10 + bob) * np.minimum(2 * time, 1)]
    )
    windows = np.where(abs(row - torso[:, None]) < 1.5, 1, -1).astype(np.float32)
    stopping = kinematics.is_start_or_stop(kinematics.measure_kinematics(windows, 52 / 64))
    assert stopping.tolist() == [False, False, False, True]
