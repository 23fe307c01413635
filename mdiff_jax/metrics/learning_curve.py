"""Is this enough data? Accuracy on unseen walks over the windows, and over the walks, that a judge is trained on.

What more of them would bring is read from a power law of the error, a n^-b (Figueroa et al. 2012, Hestness et al.
2017), fitted to the mean over repeats; how unsure that is, from repeats drawn with replacement. Each repeat has another
split, so other unseen walks. The law itself may be wrong: beyond a few times what is there, nothing is said.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mdiff_jax.data import inspect, splits
from mdiff_jax.metrics import augmentation_utility, bootstrap, identity, memorization
from mdiff_jax.metrics.reference import WindowSet
from mdiff_jax.runtime.progress import Bar

REPEATS = 10
FACTORS = (2, 4)  # times what is there
DRAWS = 1000
WORTHWHILE = 0.01  # of accuracy
Rows = Int[np.ndarray, " rows"]
Parts = tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]  # rows to train on, and unseen ones, of other numbers each


class LearningCurve(NamedTuple):
    """Mean accuracies, each with 5 to 95 % of what other repeats would have given."""

    unit: str  # 'windows' or 'walks' of each user
    sizes: tuple[int, ...]
    accuracy: tuple[float, ...]
    intervals: tuple[bootstrap.Range, ...]
    expected: dict[int, tuple[float, bootstrap.Range]]  # times the largest size → accuracy by the power law


class EnoughData(NamedTuple):
    """Both curves, where two sizes can be had, and the classical augmentation that raises accuracy most."""

    windows: LearningCurve | None
    walks: LearningCurve | None
    augmentation: str
    gain: float  # of accuracy, with as many augmented windows as there are
    gain_interval: bootstrap.Range


def measure(data: inspect.InspectedData, gap: int, repeats: int = REPEATS) -> EnoughData:
    """Measures both curves, with windows less than `gap` + 1 indices apart in one part of the split. InputError for a
    single user, and where no safe split is possible.
    """
    row = {file: i for i, file in enumerate(data.files)}
    split_of = [
        splits.make_split(data, fractions=inspect.FRACTIONS, by="auto", gap=gap, seed=repeat)
        for repeat in range(repeats)
    ]
    parts = [
        (np.array([row[file] for file in split["train"]]), np.array([row[file] for file in split["test"]]))
        for split in split_of
    ]
    whole = WindowSet(
        memorization.pool_windows(data.windows), data.user_ids, np.array(data.recordings), data.indices, gap=gap
    )
    identity.check_users(whole.users)
    curves = (_measure(unit, whole, parts, choose) for unit, choose in UNITS.items())
    by_windows, by_walks = curves
    return EnoughData(by_windows, by_walks, *best_classical(whole, parts))


def add_to_report(report: dict[str, Any], data: inspect.InspectedData) -> EnoughData:
    """Measures both curves of inspected recordings and adds them to their report as 'enough_data', which is None where
    `measure` raises InputError.
    """
    report["enough_data"] = None
    found = measure(data, report["split"]["gap"])
    curves = {"windows": found.windows, "walks": found.walks}
    report["enough_data"] = found._asdict() | {name: curve and curve._asdict() for name, curve in curves.items()}
    return found


def best_classical(data: WindowSet, parts: list[Parts]) -> tuple[str, float, bootstrap.Range]:
    """Returns the classical augmentation that raises accuracy most, with as many windows added, and by how much."""
    gains: dict[str, list[float]] = {}
    for repeat, (train, unseen) in enumerate(Bar(parts, desc="augmentation", unit="repeat", leave=False)):
        known, nothing, rng = data.pick(train), data.pick(np.arange(0)), np.random.default_rng(repeat)
        hidden = data.pick(unseen)
        plain = _accuracy(known.windows, known.users, hidden)
        for name, windows, users in augmentation_utility.augmentation_sources(known, nothing, 1.0, rng):
            both = np.concatenate([known.windows, windows]), np.concatenate([known.users, users])
            gains.setdefault(name, []).append(_accuracy(*both, hidden) - plain)
    name = max(gains, key=lambda name: float(np.mean(gains[name])))
    return name, float(np.mean(gains[name])), _interval(np.array(gains[name])[:, None])[0]


def extrapolate(
    sizes: tuple[int, ...], errors: Float[np.ndarray, "repeats sizes"], size: float, least: float, seed: int = 0
) -> tuple[float, bootstrap.Range]:
    """Accuracy at `size` by the power law, and 5 to 95 % over repeats drawn with replacement; errors are taken to be at
    least `least`, of which a logarithm exists.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(errors), size=(DRAWS, len(errors)))
    means = np.concatenate([errors.mean(0)[None], errors[chosen].mean(1)])
    slope, level = np.polyfit(np.log(sizes), np.log(np.maximum(means, least)).T, 1)
    accuracy = 1 - np.exp(np.minimum(slope, 0.0) * np.log(size / sizes[-1])) * np.exp(level + slope * np.log(sizes[-1]))
    return float(accuracy[0]), bootstrap.percentile_interval(accuracy[1:])


def advise(found: EnoughData) -> list[str]:
    """Says in lines of text what was measured, and whether more walks, more windows or augmentation would help."""
    lines, gains = [], {"augmentation": found.gain_interval[0]}
    for curve in filter(None, (found.windows, found.walks)):
        points = ", ".join(f"{n}: {a:.0%}" for n, a in zip(curve.sizes, curve.accuracy, strict=True))
        lines.append(f"learning curve: accuracy on unseen walks, by {curve.unit} of each user: {points}")
        more = ", ".join(f"{n} times as many {a:.0%} ({b:.0%} to {c:.0%})" for n, (a, (b, c)) in curve.expected.items())
        low, high = curve.intervals[-1]
        lines.append(f"  of the last {low:.0%} to {high:.0%}; by a power law, {more}")
        gains[f"more {curve.unit}"] = curve.expected[FACTORS[0]][1][0] - curve.accuracy[-1]
    gain = "{:+.1%} ({:+.1%} to {:+.1%})".format(found.gain, *found.gain_interval)
    lines.append(f"  augmentation by {found.augmentation}, the best, changes it by {gain}")
    best = max(gains, key=lambda name: gains[name])
    if gains[best] < WORTHWHILE:
        return [*lines, f"enough data? of these, nothing surely adds {WORTHWHILE:.0%} to accuracy"]
    return [*lines, f"enough data? {best} would add most to accuracy, at least {gains[best]:.1%}"]


class _Nested(NamedTuple):
    """Training rows in an order of their own for each user: fewer are a subset of more."""

    largest: int
    of_size: Callable[[int], Rows]


def _windows_of_users(data: WindowSet, train: Rows, rng: np.random.Generator) -> _Nested:
    order = [rng.permutation(train[data.users[train] == user]) for user in np.unique(data.users[train])]
    return _Nested(min(map(len, order)), lambda size: np.concatenate([rows[:size] for rows in order]))


def _walks_of_users(data: WindowSet, train: Rows, rng: np.random.Generator) -> _Nested:
    groups = data.independent_groups()
    mine = [train[data.users[train] == user] for user in np.unique(data.users[train])]
    walks = [[rows[groups[rows] == walk] for walk in rng.permutation(np.unique(groups[rows]))] for rows in mine]
    return _Nested(min(map(len, walks)), lambda size: np.concatenate([w for user in walks for w in user[:size]]))


UNITS = {"windows": _windows_of_users, "walks": _walks_of_users}
FIRST_SIZE = {"windows": 5, "walks": 1}


def _measure(
    unit: str, data: WindowSet, parts: list[Parts], choose: Callable[[WindowSet, Rows, np.random.Generator], _Nested]
) -> LearningCurve | None:
    """One curve; None where two sizes cannot be had."""
    drawn = [choose(data, train, np.random.default_rng(repeat)) for repeat, (train, _) in enumerate(parts)]
    sizes = tuple(_sizes(min(d.largest for d in drawn), FIRST_SIZE[unit]))
    if len(sizes) < 2:
        return None
    accuracy = np.zeros((len(parts), len(sizes)))
    for repeat in Bar(range(len(parts)), desc=f"learning curve, {unit}", unit="repeat", leave=False):
        unseen = data.pick(parts[repeat][1])
        for i, size in enumerate(sizes):
            rows = drawn[repeat].of_size(size)
            accuracy[repeat, i] = _accuracy(data.windows[rows], data.users[rows], unseen)
    least = 0.5 / min(len(unseen) for _, unseen in parts)
    expected = {factor: extrapolate(sizes, 1 - accuracy, factor * sizes[-1], least) for factor in FACTORS}
    return LearningCurve(unit, sizes, tuple(accuracy.mean(0).tolist()), _interval(accuracy), expected)


def _interval(values: Float[np.ndarray, "repeats sizes"]) -> tuple[bootstrap.Range, ...]:
    """5 to 95 % of the mean over repeats drawn with replacement, for each size."""
    chosen = np.random.default_rng(0).integers(len(values), size=(DRAWS, len(values)))
    return tuple(bootstrap.percentile_interval(means) for means in values[chosen].mean(1).T)


def _sizes(largest: int, first: int) -> Iterator[int]:
    """Doubles from the first to the largest, which is the last."""
    size = first
    while size < 0.7 * largest:
        yield size
        size *= 2
    yield largest


def _accuracy(windows: np.ndarray, users: Rows, unseen: WindowSet) -> float:
    return augmentation_utility.measure_accuracy(identity.fit_linear(windows, users), unseen)
