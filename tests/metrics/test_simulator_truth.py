"""Measures of synthetic walkers follow the truth of who they are."""

import numpy as np
import pytest
from walker_sets import ZERO_DOPPLER

from mdiff_jax.data import simulated
from mdiff_jax.metrics import kinematics, simulator_truth


def test_measures_of_walkers_follow_their_truth():
    """The ridge lies where the truth says, the highest return follows the ankle; with other names they do not."""
    windows = list(
        simulated.make_windows((128, 64), num_users=5, recordings_per_user=3, windows_per_recording=1, seed=3)
    )
    users = np.array([int(w.user[-2:]) - 1 for w in windows])
    measures = kinematics.measure_kinematics(np.stack([w.spectrogram for w in windows]), ZERO_DOPPLER)
    known = simulator_truth.simulator_truth(5, 3, windows[0].velocities.tolist())
    assert known.velocity_span == pytest.approx(6.4)
    of_walks = np.array([w.truth["speed"] for w in windows])
    assert np.abs(measures["ridge"] * 6.4 / of_walks - 1).mean() < 0.1
    assert simulator_truth.torso_speed_error(known, measures, users).mean() < 0.1
    follows = simulator_truth.truth_correlation(known, measures, users)
    assert min(follows.values()) > 0.7
    assert min(simulator_truth.truth_correlation(known, measures, (users + 2) % 5).values()) < 0.3
