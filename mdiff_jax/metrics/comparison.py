"""Compares generated windows with real ones: figures, their ranges, and the same of real windows among themselves."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mdiff_jax.metrics import bootstrap, memorization
from mdiff_jax.metrics.bootstrap import Range
from mdiff_jax.metrics.reference import MeasuredSet, WindowSet

IDENTITY, PHYSICS, NOVELTY, USEFULNESS, FIDELITY = (  # the questions that figures answer
    "Is it that person?",
    "Is it physically possible?",
    "Is it new?",
    "Does adding it help?",
    "How far from real ones?",
)
NUM_HALVINGS = 20  # random ways to halve the real windows
Measure = Callable[[MeasuredSet, MeasuredSet], np.ndarray]  # two sets of equal number → values


class Figure(NamedTuple):
    """One metric of generated windows beside the same of real unseen ones: one line of the report."""

    question: str
    metric: str
    generated: float | None  # None: left out, and the note says why
    real: float | None
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
    """Returns the means over windows of `sets`, generated and real, each with its interval over independent groups."""
    groups = [s.window_set.independent_groups() for s in sets]
    ranges = [bootstrap.bootstrap_interval(v, g, seed=0) for v, g in zip(values, groups, strict=True)]
    means = [float(np.mean(v)) if len(v) else None for v in values]
    note = note_of_values(note, means, "1 window")
    return Figure(question, metric, means[0], means[1], note, ranges[0], ranges[1])


def compare_values(
    question: str,
    metric: str,
    note: str,
    measure: Callable[[MeasuredSet], float | None],
    sets: tuple[MeasuredSet, MeasuredSet],
    needs: str = "1 window",
) -> Figure:
    """Returns `measure` of generated and real windows, left out for a set that is empty or that it returns None for;
    `needs` is what such a set lacks.
    """
    values = [measure(s) if s.count() else None for s in sets]
    return Figure(question, metric, values[0], values[1], note_of_values(note, values, needs))


def note_of_values(note: str, values: Sequence[float | None], needs: str) -> str:
    """Returns the note, or the reason why the generated or the real value is left out."""
    missing = [name for name, value in zip(("generated", "real unseen"), values, strict=True) if value is None]
    return f"left out: needs {needs}, {' and '.join(missing)} ones are too few" if missing else note


def leave_out(question: str, metrics: Iterable[str], needed: int, found: int, judge: str | None = None) -> list[Figure]:
    """Returns figures without values, of metrics that need more windows than the smallest set of a draw has."""
    reason = f"left out: needs {needed} windows (generated, and in each half of the real ones), has {found}"
    return [Figure(question, metric, None, None, reason, judge=judge) for metric in metrics]


def smallest_draw(test: MeasuredSet, generated: MeasuredSet) -> int:
    """Returns how many windows the smallest set of `paired_draws` has, 0 where a set is empty."""
    if not min(test.count(), generated.count()):
        return 0
    return min(len(one) for _, one, _ in paired_draws(test, generated))


def paired_draws(test: MeasuredSet, generated: MeasuredSet) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields positions of generated windows, of a half of the test windows, and of the other half: equal numbers, and
    the halves share no pixel where walks and their order are known.
    """
    rng, windows = np.random.default_rng(0), test.window_set
    groups, positions = windows.independent_groups(), windows.time_positions()
    for _ in range(NUM_HALVINGS):
        halves = bootstrap.split_halves(windows.users, groups, positions, windows.gap, rng)
        one, other = (rng.permutation(np.flatnonzero(half)) for half in halves)
        count = min(generated.count(), len(one), len(other))
        yield rng.permutation(generated.count())[:count], one[:count], other[:count]


def halves_overlap(test: MeasuredSet) -> bool:
    """Returns whether there are too few unseen windows for halves that share no pixels."""
    positions, gap = test.window_set.time_positions(), test.window_set.gap
    return any(bootstrap.share_pixels(one, other, positions, gap) for _, one, other in paired_draws(test, test))


def compare_with_halves(measure: Measure, test: MeasuredSet, generated: MeasuredSet) -> tuple[np.ndarray, np.ndarray]:
    """Returns `measure` of generated windows against halves of the test windows, and of the other halves: (draws,
    values) each.
    """
    test, generated = test.without_windows(), generated.without_windows()
    values = [
        (measure(generated.pick(chosen), test.pick(one)), measure(test.pick(other), test.pick(one)))
        for chosen, one, other in paired_draws(test, generated)
    ]
    of_generated, of_real = zip(*values, strict=True)
    return np.array(of_generated), np.array(of_real)


def mean_over_draws(
    question: str, notes: dict[str, str], of_generated: np.ndarray, of_real: np.ndarray
) -> Iterator[Figure]:
    """Yields means over draws of values (draws, metrics), with their ranges; `notes` maps each metric to its note."""
    for k, (metric, note) in enumerate(notes.items()):
        both = of_generated[:, k], of_real[:, k]
        ranges = [bootstrap.percentile_interval(v) for v in both]
        means = [float(v.mean()) for v in both]
        yield Figure(question, metric, means[0], means[1], note, ranges[0], ranges[1])


# ----------------------------------------------------------------------------- copies


def suspected_copies(test: MeasuredSet, generated: MeasuredSet) -> tuple[np.ndarray, np.ndarray]:
    """Returns masks of generated windows more like a training window than any unseen one is: whole, and in a part."""
    whole = generated.similarity > test.similarity.max()
    return whole, generated.overlap_similarity > test.overlap_similarity.max()


def copy_false_alarms(test: MeasuredSet) -> np.ndarray:
    """Returns, as (draws, 2), the share of a half of the unseen windows that the other half's scale calls copies."""

    def measure(a: MeasuredSet, b: MeasuredSet) -> np.ndarray:
        pairs = ((a.similarity, b.similarity), (a.overlap_similarity, b.overlap_similarity))
        return np.array([memorization.copy_share(*pair) for pair in pairs])

    return compare_with_halves(measure, test, test)[1]


def membership_gap(train: WindowSet, test: MeasuredSet, generated: MeasuredSet) -> tuple[np.ndarray, np.ndarray]:
    """Returns the median of how much more like training windows than like unseen ones windows are, as many of each and
    of the same users: (draws, 1) for generated windows and for the other half of the unseen ones.
    """
    rows = bootstrap.pair_rows_by_user(test.window_set.users, train.users, np.random.default_rng(0))
    tables = [
        [memorization.best_correlation(s.window_set.windows, x) for x in (train.windows[rows], test.window_set.windows)]
        for s in (generated, test)
    ]
    gaps = [
        [
            np.median(seen[np.ix_(queries, one)].max(1) - unseen[np.ix_(queries, one)].max(1))
            for queries, (seen, unseen) in zip((chosen, other), tables, strict=True)
        ]
        for chosen, one, other in paired_draws(test, generated)
    ]
    of_generated, of_real = np.array(gaps).T
    return of_generated[:, None], of_real[:, None]
