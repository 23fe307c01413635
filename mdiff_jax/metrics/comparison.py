"""Generated windows beside real ones: a figure, its range, and what real windows are worth against each other."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from mdiff_jax.metrics import bootstrap, memorization
from mdiff_jax.metrics.bootstrap import Range
from mdiff_jax.metrics.reference import MeasuredSet, WindowSet

DRAWS = 20  # ways to halve the real windows
Measure = Callable[[MeasuredSet, MeasuredSet], np.ndarray]  # two sets of equal number → values


class Figure(NamedTuple):
    """One metric of generated windows beside the same of real unseen ones: one line of the report."""

    question: str
    metric: str
    generated: float
    real: float
    note: str
    generated_range: Range | None = None  # 5 to 95 %
    real_range: Range | None = None
    judge: str | None = None  # the judge that was asked, or the features that distances are taken in
    reliable: bool = True  # False where the judge fails on real windows too, so that the figure decides nothing
    detail: bool = False  # True for one of many of a kind, which long tables leave out

    @property
    def name(self) -> str:
        """The metric and, where there is one, the judge: what tells the figure from all others of a report."""
        return self.metric if self.judge is None else f"{self.metric}, {self.judge}"


def compare_means(
    question: str, metric: str, note: str, values: list[np.ndarray], sets: tuple[MeasuredSet, MeasuredSet]
) -> Figure:
    """A mean over windows, generated and real, each with its range over what is independent."""
    ranges = [bootstrap.bootstrap_interval(v, s.set.units(), seed=0) for v, s in zip(values, sets, strict=True)]
    return Figure(question, metric, *(float(np.mean(v)) for v in values), note, *ranges)


def paired_draws(test: MeasuredSet, generated: MeasuredSet) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Positions of generated windows, of a half of the test windows, and of the other half: equal numbers, and the
    halves share no pixel where walks and their order are known.
    """
    rng = np.random.default_rng(0)
    units, places = test.set.units(), test.set.places()
    for _ in range(DRAWS):
        halves = bootstrap.split_halves(test.set.users, units, places, test.set.gap, rng)
        one, other = (rng.permutation(np.flatnonzero(half)) for half in halves)
        count = min(generated.count(), len(one), len(other))
        yield rng.permutation(generated.count())[:count], one[:count], other[:count]


def halves_overlap(test: MeasuredSet) -> bool:
    """Whether there are too few unseen windows for halves that share nothing."""
    places = test.set.places()
    return any(bootstrap.share_pixels(one, other, places, test.set.gap) for _, one, other in paired_draws(test, test))


def compare_with_halves(measure: Measure, test: MeasuredSet, generated: MeasuredSet) -> tuple[np.ndarray, np.ndarray]:
    """`measure` of generated windows, and of a half of the test ones, against the other half: (draws, values) each."""
    test, generated = test.light(), generated.light()
    values = [
        (measure(generated.pick(made), test.pick(one)), measure(test.pick(other), test.pick(one)))
        for made, one, other in paired_draws(test, generated)
    ]
    ours, theirs = zip(*values, strict=True)
    return np.array(ours), np.array(theirs)


def mean_over_draws(question: str, notes: dict[str, str], ours: np.ndarray, theirs: np.ndarray) -> Iterator[Figure]:
    """Means over draws, with the range of the draws; `notes` maps each metric to its note."""
    for k, (metric, note) in enumerate(notes.items()):
        both = ours[:, k], theirs[:, k]
        ranges = [bootstrap.percentile_interval(v) for v in both]
        yield Figure(question, metric, *(float(v.mean()) for v in both), note, *ranges)


# ----------------------------------------------------------------------------- copies


def suspected_copies(test: MeasuredSet, generated: MeasuredSet) -> tuple[np.ndarray, np.ndarray]:
    """Which windows are nearer to a training window than any unseen one is: whole, or a half or more of them."""
    return generated.similarity > test.similarity.max(), generated.part > test.part.max()


def copy_false_alarms(test: MeasuredSet) -> np.ndarray:
    """(draws, 2): share of a half of the unseen windows that the scale of the other half calls copies."""

    def measure(a: MeasuredSet, b: MeasuredSet) -> np.ndarray:
        return np.array([memorization.copy_share(a.similarity, b.similarity), memorization.copy_share(a.part, b.part)])

    return compare_with_halves(measure, test, test)[1]


def membership_gap(train: WindowSet, test: MeasuredSet, generated: MeasuredSet) -> tuple[np.ndarray, np.ndarray]:
    """Median of how much more alike windows are to training windows than to unseen ones, as many and of the same users;
    of generated windows and of the other half of the unseen ones.
    """
    rows = bootstrap.pair_rows_by_user(test.set.users, train.users, np.random.default_rng(0))
    gaps = []
    tables = [
        [memorization.best_correlation(s.set.windows, x) for x in (train.windows[rows], test.set.windows)]
        for s in (generated, test)
    ]
    for made, one, other in paired_draws(test, generated):
        gaps.append(
            [
                np.median(seen[np.ix_(who, one)].max(1) - unseen[np.ix_(who, one)].max(1))
                for who, (seen, unseen) in zip((made, other), tables, strict=True)
            ]
        )
    ours, theirs = np.array(gaps).T
    return ours[:, None], theirs[:, None]
