"""What is true of synthetic walkers, to score windows against: they are vectors of parameters, made again from a seed.

Cadence cannot be scored: windows are cut to four steps whatever time they take.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mdiff_jax.metrics import kinematics
from mdiff_jax.simulator import gait, walkers

PHASES = 200  # of a gait cycle


class SimulatorTruth(NamedTuple):
    """Of each user, in m/s; walks differ by 0.07 m/s from the user's own speed."""

    torso: Float[np.ndarray, " users"]  # mean speed
    ankle: Float[np.ndarray, " users"]  # highest speed
    span: float  # of the velocity axis, from the top of a window to its bottom


def simulator_truth(num_users: int, seed: int, velocity: Sequence[float]) -> SimulatorTruth:
    """`velocity` is that of each row, evenly spaced, the highest first."""
    people = [user.gait for user in walkers.make_users(num_users, seed)]
    span = (velocity[0] - velocity[-1]) * len(velocity) / (len(velocity) - 1)
    return SimulatorTruth(np.array([g.speed for g in people]), np.array([peak_ankle_speed(g) for g in people]), span)


def peak_ankle_speed(person: gait.Gait) -> float:
    """The highest forward speed of either ankle, m/s."""
    _, seconds, _ = gait.gait_cycle(person)
    phase = np.linspace(0, 1, PHASES)
    ankles = [gait.JOINTS.index(f"ankle_{side}") for side in "rl"]
    places = gait.joint_positions(person, phase)[:, ankles, 0]
    return float(np.gradient(places, phase * seconds, axis=0).max())


def torso_speed_error(
    truth: SimulatorTruth, measures: kinematics.Measures, users: np.ndarray
) -> Float[np.ndarray, " windows"]:
    """Of each window |measured / true - 1| of the torso's speed."""
    return np.abs(measures["ridge"] * truth.span / truth.torso[users] - 1)


def truth_correlation(truth: SimulatorTruth, measures: kinematics.Measures, users: np.ndarray) -> dict[str, float]:
    """Correlation over users of what is measured (medians) with the truth: 'torso' and 'ankle', whose speed the highest
    return stays a tenth below. Users need to be three.
    """
    here = np.unique(users)
    pairs = (("torso", "ridge", truth.torso), ("ankle", "highest", truth.ankle))
    return {
        name: float(np.corrcoef([np.median(measures[key][users == u]) for u in here], true[here])[0, 1])
        for name, key, true in pairs
    }
