"""Intervals of figures by resampling. Windows of a walk overlap and are alike, so whole walks are resampled."""

import numpy as np
from jaxtyping import Bool, Int, Shaped

from mdiff_jax.data import splits

Range = tuple[float, float]
Positions = Int[np.ndarray, " windows"]
MIN_HALF_SIZE = 2  # windows


def bootstrap_interval(
    values: Shaped[np.ndarray, " windows"], groups: Positions, seed: int, draws: int = 2000
) -> Range | None:
    """Returns 5 and 95 % of the mean over windows, whole groups drawn with replacement (Efron's percentiles); None for
    fewer than two groups, which say nothing of how much groups differ.
    """
    _, group = np.unique(groups, return_inverse=True)
    count = np.bincount(group)
    if len(count) < 2:
        return None
    total = np.bincount(group, weights=values)
    drawn = np.random.default_rng(seed).integers(len(count), size=(draws, len(count)))
    return percentile_interval(total[drawn].sum(1) / count[drawn].sum(1))


def percentile_interval(values: Shaped[np.ndarray, " draws"]) -> Range:
    """Returns 5 and 95 %."""
    low, high = np.percentile(values, [5, 95])
    return float(low), float(high)


def split_halves(
    users: Positions, groups: Positions, positions: Positions, gap: int, rng: np.random.Generator
) -> tuple[Bool[np.ndarray, " windows"], Bool[np.ndarray, " windows"]]:
    """Returns masks of two sets of real windows that share no pixel: of each user half of the walks, at random.

    Where the half ends within a walk, the walk is cut there, a single walk at two random places; windows within `gap`
    of the other set are in neither. If fewer than `MIN_HALF_SIZE` remain, windows are dealt out one by one, and
    `share_pixels` is true of the halves.
    """
    first, second = np.zeros(len(users), bool), np.zeros(len(users), bool)
    for user in np.unique(users):
        mine = np.flatnonzero(users == user)
        walks = [mine[groups[mine] == group] for group in rng.permutation(np.unique(groups[mine]))]
        order = np.concatenate([walk[np.argsort(positions[walk], kind="stable")] for walk in walks])
        if len(walks) == 1:
            order = np.roll(order, rng.integers(len(order)))
        head, tail = np.split(order, [(len(order) + rng.integers(2)) // 2])  # of an odd number either has the more
        first[head] = True
        second[tail[splits.distance_to_nearest(positions[tail], positions[head]) > gap]] = True
    if min(first.sum(), second.sum()) < MIN_HALF_SIZE:
        first = rng.permutation(np.arange(len(users)) % 2 == 0)
        second = ~first
    return (first, second) if rng.integers(2) else (second, first)


def share_pixels(first: np.ndarray, second: np.ndarray, positions: Positions, gap: int) -> bool:
    """Returns whether some window of one half has pixels in common with the other."""
    return bool((splits.distance_to_nearest(positions[first], positions[second]) <= gap).any())


def pair_rows_by_user(users: Positions, pool_users: Int[np.ndarray, " pool"], rng: np.random.Generator) -> Positions:
    """Returns for each window a row of the pool of the same user; no row is repeated before all were taken."""
    rows = np.zeros(len(users), int)
    for user in np.unique(users):
        mine = users == user
        rows[mine] = np.resize(rng.permutation(np.flatnonzero(pool_users == user)), mine.sum())
    return rows
