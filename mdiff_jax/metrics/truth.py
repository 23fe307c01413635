"""What is true of synthetic walkers, to score windows against: they are vectors of parameters, made again from a seed.

Cadence cannot be scored: windows are cut to four steps whatever time they take.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mdiff_jax.data import gait, walker
from mdiff_jax.metrics import kinematics

PHASES = 200  # of a gait cycle


class Truth(NamedTuple):
    """Of each user, in m/s; walks differ by 0.07 m/s from the user's own speed."""

    torso: Float[np.ndarray, " users"]  # mean speed
    ankle: Float[np.ndarray, " users"]  # highest speed
    span: float  # of the velocity axis, from the top of a window to its bottom


def of_walkers(num_users: int, seed: int, velocity: Sequence[float]) -> Truth:
    """`velocity` is that of each row, evenly spaced, the highest first."""
    people = [user.gait for user in walker.make_users(num_users, seed)]
    span = (velocity[0] - velocity[-1]) * len(velocity) / (len(velocity) - 1)
    return Truth(np.array([g.speed for g in people]), np.array([ankle_speed(g) for g in people]), span)


def ankle_speed(person: gait.Gait) -> float:
    """The highest forward speed of either ankle, m/s."""
    _, seconds, _ = gait.cycle(person)
    phase = np.linspace(0, 1, PHASES)
    ankles = [gait.JOINTS.index(f"ankle_{side}") for side in "rl"]
    places = gait.joints(person, phase)[:, ankles, 0]
    return float(np.gradient(places, phase * seconds, axis=0).max())


def torso_error(truth: Truth, measures: kinematics.Measures, users: np.ndarray) -> Float[np.ndarray, " windows"]:
    """Of each window |measured / true - 1| of the torso's speed."""
    return np.abs(measures["ridge"] * truth.span / truth.torso[users] - 1)


def follows(truth: Truth, measures: kinematics.Measures, users: np.ndarray) -> dict[str, float]:
    """Correlation over users of what is measured (medians) with the truth: 'torso' and 'ankle', whose speed the highest
    return stays a tenth below. Users need to be three.
    """
    here = np.unique(users)
    pairs = (("torso", "ridge", truth.torso), ("ankle", "highest", truth.ankle))
    return {
        name: float(np.corrcoef([np.median(measures[key][users == u]) for u in here], true[here])[0, 1])
        for name, key, true in pairs
    }
