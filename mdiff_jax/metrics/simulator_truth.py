"""True speeds of synthetic walkers, to score windows against; their parameters are made again from a seed.

Cadence cannot be scored: windows are cut to four steps whatever time they take.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mdiff_jax.metrics import kinematics
from mdiff_jax.simulator import gait, walkers

PHASES_PER_CYCLE = 200
MIN_USERS = 3  # of a correlation


class SimulatorTruth(NamedTuple):
    """True speeds of each user in m/s; walks differ by 0.07 m/s from the user's own speed."""

    torso_speed: Float[np.ndarray, " users"]  # mean
    ankle_speed: Float[np.ndarray, " users"]  # highest
    velocity_span: float  # from the top of a window to its bottom


def simulator_truth(num_users: int, seed: int, velocity: Sequence[float]) -> SimulatorTruth:
    """Returns the truth of `walkers.make_users`; `velocity` is of each row in m/s, evenly spaced, highest first."""
    people = [user.gait for user in walkers.make_users(num_users, seed)]
    span = (velocity[0] - velocity[-1]) * len(velocity) / (len(velocity) - 1)
    return SimulatorTruth(np.array([g.speed for g in people]), np.array([peak_ankle_speed(g) for g in people]), span)


def peak_ankle_speed(person: gait.Gait) -> float:
    """Returns the highest forward speed of either ankle in m/s."""
    _, seconds, _ = gait.gait_cycle(person)
    phase = np.linspace(0, 1, PHASES_PER_CYCLE)
    ankles = [gait.JOINTS.index(f"ankle_{side}") for side in "rl"]
    positions = gait.joint_positions(person, phase)[:, ankles, 0]
    return float(np.gradient(positions, phase * seconds, axis=0).max())


def torso_speed_error(
    truth: SimulatorTruth, measures: kinematics.Measures, users: np.ndarray
) -> Float[np.ndarray, " windows"]:
    """Returns |measured / true - 1| of the torso's speed for each window."""
    return np.abs(measures["ridge"] * truth.velocity_span / truth.torso_speed[users] - 1)


def truth_correlation(
    truth: SimulatorTruth, measures: kinematics.Measures, users: np.ndarray
) -> dict[str, float | None]:
    """Returns the correlation over users of measured medians with the truth: 'torso' and 'ankle', whose speed exceeds
    the highest return by a tenth. None with fewer than MIN_USERS users, or where all of them measure the same.
    """
    present = np.unique(users)
    pairs = (("torso", "ridge", truth.torso_speed), ("ankle", "highest", truth.ankle_speed))
    medians = {key: np.array([np.median(measures[key][users == u]) for u in present]) for _, key, _ in pairs}
    return {
        name: float(np.corrcoef(medians[key], true[present])[0, 1])
        if len(present) >= MIN_USERS and np.ptp(medians[key]) > 0
        else None
        for name, key, true in pairs
    }
