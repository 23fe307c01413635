"""Figures of each user, by the judge whose verdict counts."""

from collections.abc import Iterator

import numpy as np

from mdiff_jax.evaluation.measures import SINGLE_USER, distribution_figures, is_reliable, measure_variety
from mdiff_jax.metrics import comparison, distances, kinematics
from mdiff_jax.metrics.comparison import (
    FIDELITY,
    IDENTITY,
    NOVELTY,
    PHYSICS,
    Figure,
    compare_means,
    compare_values,
    compare_with_halves,
    leave_out,
    mean_over_draws,
    smallest_draw,
)
from mdiff_jax.metrics.reference import MeasuredSet, Reference


def figures_by_user(reference: Reference, test: MeasuredSet, generated: MeasuredSet) -> dict[int, list[Figure]]:
    """Returns a few figures for each user who has generated windows; those that need more windows than there are, and
    the identity of users whom the judges do not know, are left out.
    """
    suspected = np.logical_or(*comparison.suspected_copies(test, generated))
    reliable, figures = is_reliable(test.verdict_judge, test), {}
    for user in np.unique(generated.window_set.users):
        mine = generated.window_set.users == user
        unseen, made = test.pick(test.window_set.users == user), generated.pick(mine)
        identified = identity_figures(unseen, made) if user < reference.num_users else unknown_to_judges(made)
        share = float(suspected[mine].mean())
        figures[int(user)] = [
            *(f._replace(judge=test.verdict_judge, reliable=reliable) for f in identified),
            *other_figures(unseen, made),
            Figure(NOVELTY, "suspected copies", share, 0.0, "whole or in part"),
        ]
    return figures


def identity_figures(test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Yields one user's figures of identity."""
    judge, sets = generated.verdict_judge, (generated, test)
    yield compare_means(IDENTITY, "accuracy", "", [s.correct(judge) for s in sets], sets)
    yield compare_means(IDENTITY, "recognised", "", [s.recognised(judge) for s in sets], sets)


def unknown_to_judges(generated: MeasuredSet) -> Iterator[Figure]:
    """Yields the same figures left out."""
    for metric in ("accuracy", "recognised"):
        yield Figure(
            IDENTITY, metric, None, None, "left out: enrolled after training, so the judges do not know the user"
        )


def other_figures(test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Yields one user's figures of physics, variety and distance."""
    judge, sets, found = generated.verdict_judge, (generated, test), smallest_draw(test, generated)
    yield compare_means(PHYSICS, "plausible", "", [kinematics.is_plausible(s.physics) for s in sets], sets)
    yield compare_values(NOVELTY, "variety", "1 - NCC", measure_variety, sets, SINGLE_USER)
    yield next(distribution_figures(test, generated))
    measure, notes, lacking = distances.make_distance_measure(True, found)
    if notes:
        halves = compare_with_halves(lambda a, b: measure(a.features[judge], b.features[judge]), test, generated)
        for figure in mean_over_draws(FIDELITY, notes, *halves):
            yield figure._replace(judge=judge)
    for metric, needed in lacking.items():
        yield from leave_out(FIDELITY, [metric], needed, found, judge)
