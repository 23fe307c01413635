"""Four questions about generated windows, each answered beside the same figure for real windows.

Is it that person, is it physically possible, is it new, how far is it from real ones? Arrays in, figures out: no
network of the model, no configuration. Every figure has a real value, from windows that nobody was trained on.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from mdiff_jax.metrics import distances, identity, kinematics, novelty
from mdiff_jax.types import Windows


class WindowSet(NamedTuple):
    """Windows in [-1, 1] and the index of each one's user."""

    windows: Windows
    users: Int[np.ndarray, " windows"]


class Figure(NamedTuple):
    """One line of the report."""

    question: str
    name: str
    generated: float
    real: float  # the same figure for real unseen windows
    note: str


def evaluate(train: WindowSet, test: WindowSet, generated: WindowSet, zero_doppler: float | None) -> list[Figure]:
    """All figures. The judge and the scales come from `train`; `test` are real windows of unseen walks."""
    zero = kinematics.ZERO_DOPPLER if zero_doppler is None else zero_doppler
    judge = identity.fit_linear(train.windows, train.users, seed=0)
    return [
        *of_identity(judge, train, test, generated),
        *of_physics(test, generated, zero),
        *of_novelty(train, test, generated),
        *of_fidelity(judge, test, generated),
    ]


def of_identity(
    judge: identity.LinearJudge, train: WindowSet, test: WindowSet, generated: WindowSet
) -> Iterator[Figure]:
    question = "Is it that person?"
    made = identity.score(judge, generated.windows, generated.users)
    real = identity.score(judge, test.windows, test.users)
    chance = 1 / len(np.unique(train.users))
    yield Figure(question, "accuracy", made["accuracy"], real["accuracy"], f"linear judge, chance {chance:.2f}")
    yield Figure(question, "recognised", made["recognised"], real["recognised"], "right, with confidence above 0.8")
    if not np.array_equal(np.unique(generated.users), np.unique(test.users)):
        return  # a judge can only be taught by windows of everybody; the report's head says how many users there are
    own = identity.fit_linear(generated.windows, generated.users, seed=0)
    taught = identity.score(own, test.windows, test.users)["accuracy"]
    yield Figure(question, "train on generated, test on real", taught, real["accuracy"], "beside: trained on real")


def of_physics(test: WindowSet, generated: WindowSet, zero: float) -> Iterator[Figure]:
    question = "Is it physically possible?"
    made, real = (kinematics.measure(s.windows, zero) for s in (generated, test))
    shares = [float(kinematics.plausible(m).mean()) for m in (made, real)]
    low, high = kinematics.RATIO
    yield Figure(question, "plausible", *shares, f"highest/torso {low}-{high}, 3.5-4.5 steps, floor share")
    for name, note in (
        ("ridge", "torso above zero Doppler, share of the height"),
        ("ratio", "highest return over torso"),
        ("bob", "of the torso, share of the height"),
        ("steps", "in a window"),
        ("floor", "share of empty pixels"),
        ("below", "share of energy below zero Doppler"),
    ):
        yield Figure(question, f"median {name}", float(np.median(made[name])), float(np.median(real[name])), note)


def of_novelty(train: WindowSet, test: WindowSet, generated: WindowSet) -> Iterator[Figure]:
    question = "Is it new?"
    made, _ = novelty.nearest(generated.windows, train.windows)
    real, _ = novelty.nearest(test.windows, train.windows)
    yield Figure(question, "median similarity", float(np.median(made)), float(np.median(real)), "NCC, best shift")
    yield Figure(question, "suspected copies", novelty.copies(made, real), 0.0, "nearer than any real unseen window")
    yield Figure(question, "median variety", spread(generated), spread(test), "1 - NCC within a user")


def spread(windows: WindowSet) -> float:
    """Median of 1 - NCC between windows of the same user."""
    values = []
    for user in np.unique(windows.users):
        mine = windows.windows[windows.users == user]
        correlation = novelty.best_correlation(mine, mine)
        values.append(1 - correlation[np.triu_indices(len(mine), 1)])
    return float(np.median(np.concatenate(values)))


def of_fidelity(judge: identity.LinearJudge, test: WindowSet, generated: WindowSet) -> Iterator[Figure]:
    """Kernel distance to random halves of the test windows; beside it that of the other halves."""
    features = judge.features(generated.windows), judge.features(test.windows)
    ours, theirs = distances.over_halves(*features, draws=50, seed=0)
    low, high = np.percentile(theirs, [5, 95])
    note = f"in the judge's features, mean of 50 halves; real 5-95 % {low:.3f} to {high:.3f}"
    yield Figure("How far from real ones?", "kernel distance", float(np.mean(ours)), float(np.mean(theirs)), note)


def report(figures: list[Figure], about: dict[str, str]) -> str:
    """Markdown: what was judged, then a table a question."""
    lines = ["# Can these windows be trusted?", ""]
    lines += [f"- {name}: {value}" for name, value in about.items()]
    for question in dict.fromkeys(f.question for f in figures):
        lines += ["", f"## {question}", "", "| | generated | real, unseen | |", "|---|---|---|---|"]
        mine = [f for f in figures if f.question == question]
        lines += [f"| {f.name} | {f.generated:.3f} | {f.real:.3f} | {f.note} |" for f in mine]
    return "\n".join(lines) + "\n"
