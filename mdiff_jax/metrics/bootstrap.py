"""How sure is a figure? Windows of a walk overlap and are alike, so chance is counted in walks, not in windows."""

import numpy as np
from jaxtyping import Bool, Int, Shaped

from mdiff_jax.data import splits

Range = tuple[float, float]
Positions = Int[np.ndarray, " windows"]
FEWEST = 2  # windows in a half


def bootstrap_interval(values: Shaped[np.ndarray, " windows"], units: Positions, seed: int, draws: int = 2000) -> Range:
    """5 and 95 % of the mean over windows when whole units are drawn with replacement (Efron's percentiles)."""
    _, place = np.unique(units, return_inverse=True)
    count = np.bincount(place)
    total = np.bincount(place, weights=values)
    drawn = np.random.default_rng(seed).integers(len(count), size=(draws, len(count)))
    return percentile_interval(total[drawn].sum(1) / count[drawn].sum(1))


def percentile_interval(values: Shaped[np.ndarray, " draws"]) -> Range:
    """5 and 95 %."""
    low, high = np.percentile(values, [5, 95])
    return float(low), float(high)


def split_halves(
    users: Positions, units: Positions, places: Positions, gap: int, rng: np.random.Generator
) -> tuple[Bool[np.ndarray, " windows"], Bool[np.ndarray, " windows"]]:
    """Two sets of real windows that share no pixel: of each user half of the walks, dealt out anew at each call.

    Where the half lies within a walk, it is cut there, a single walk at any two places; windows with places within
    `gap` of the other set are in none. If that leaves next to nothing, windows are dealt out one by one, and
    `share_pixels` tells.
    """
    first, second = np.zeros(len(users), bool), np.zeros(len(users), bool)
    for user in np.unique(users):
        mine = np.flatnonzero(users == user)
        walks = [mine[units[mine] == unit] for unit in rng.permutation(np.unique(units[mine]))]
        order = np.concatenate([walk[np.argsort(places[walk], kind="stable")] for walk in walks])
        if len(walks) == 1:
            order = np.roll(order, rng.integers(len(order)))
        head, tail = np.split(order, [(len(order) + rng.integers(2)) // 2])  # of an odd number either has the more
        first[head] = True
        second[tail[splits.distance_to_nearest(places[tail], places[head]) > gap]] = True
    if min(first.sum(), second.sum()) < FEWEST:
        first = rng.permutation(np.arange(len(users)) % 2 == 0)
        second = ~first
    return (first, second) if rng.integers(2) else (second, first)


def share_pixels(first: np.ndarray, second: np.ndarray, places: Positions, gap: int) -> bool:
    """Whether some window of one half has pixels in common with the other."""
    return bool((splits.distance_to_nearest(places[first], places[second]) <= gap).any())


def pair_rows_by_user(users: Positions, pool_users: Int[np.ndarray, " pool"], rng: np.random.Generator) -> Positions:
    """For each window a row of the pool of the same user, each row once more before any is taken again."""
    rows = np.zeros(len(users), int)
    for user in np.unique(users):
        mine = users == user
        rows[mine] = np.resize(rng.permutation(np.flatnonzero(pool_users == user)), mine.sum())
    return rows
