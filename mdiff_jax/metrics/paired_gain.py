"""Gain of one way to train a judge over another, paired by seed and test window, and how sure it is.

Windows of a walk are alike, so what counts is the number of walks: intervals resample whole walks, and seeds.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped
from scipy import stats

from mdiff_jax.metrics import bootstrap

Correct = Bool[np.ndarray, "seeds windows"]  # whether the judge of each seed names the user of each test window
Walks = Shaped[np.ndarray, " windows"]  # a name or number of the walk of each test window
MIN_WALKS = 2  # fewer say nothing of how much walks differ


class Estimate(NamedTuple):
    """A mean over seeds and test windows; the interval, 5 to 95 %, is None for fewer than MIN_WALKS walks."""

    value: float
    interval: bootstrap.Range | None


def estimate_accuracy(correct: Correct, walks: Walks, seed: int = 0) -> Estimate:
    """Returns the accuracy of judges."""
    return estimate_mean(correct.astype(float), walks, seed)


def estimate_gain(first: Correct, second: Correct, walks: Walks, seed: int = 0) -> Estimate:
    """Returns by how much the first judges are more accurate than the second ones, of the same seeds and windows."""
    return estimate_mean(first.astype(float) - second, walks, seed)


def estimate_mean(values: np.ndarray, walks: Walks, seed: int = 0, draws: int = 2000) -> Estimate:
    """Returns the mean of values (seeds, windows) with its interval: walks and seeds drawn with replacement, each by
    itself, which makes it rather too wide than too narrow (Owen 2007, the pigeonhole bootstrap).
    """
    total, count = sum_by_walk(values, walks)
    seeds, number = total.shape
    if number < MIN_WALKS:
        return Estimate(float(values.mean()), None)
    rng = np.random.default_rng(seed)
    drawn_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), draws) / seeds
    drawn_walks = rng.multinomial(number, np.full(number, 1 / number), draws)
    means = (drawn_seeds @ total * drawn_walks).sum(1) / (drawn_walks @ count)
    return Estimate(float(values.mean()), bootstrap.percentile_interval(means))


def count_needed_walks(
    first: Correct, second: Correct, walks: Walks, gain: float = 0.01, power: float = 0.8
) -> int | None:
    """Returns how many test walks would resolve a gain: its interval would lie above 0 with probability `power`, if
    walks differ as much as these and seeds are as many as one likes. None for fewer than MIN_WALKS walks, or all alike.

    The mean over n walks has the variance s²/n of a ratio estimator (Cochran 1977, equation 2.39), so that
    n = ((z_0.95 + z_power) s / gain)².
    """
    total, count = sum_by_walk(first.astype(float) - second, walks)
    if len(count) < MIN_WALKS:
        return None
    total = total.mean(0)
    residuals = (total - total.sum() / count.sum() * count) / count.mean()
    deviation = math.sqrt((residuals**2).sum() / (len(count) - 1))
    if not deviation:
        return None
    needed = ((stats.norm.ppf(0.95) + stats.norm.ppf(power)) * deviation / gain) ** 2
    return max(MIN_WALKS, math.ceil(needed))


def sum_by_walk(values: np.ndarray, walks: Walks) -> tuple[np.ndarray, np.ndarray]:
    """Returns sums of values (seeds, windows) over each walk, (seeds, walks), and the windows of each, (walks,)."""
    _, walk, count = np.unique(walks, return_inverse=True, return_counts=True)
    total = np.stack([np.bincount(walk, weights=row, minlength=len(count)) for row in values])
    return total, count
