"""Figures that answer five questions about generated windows, each beside the same figure of real windows.

Is it that person, is it physically possible, is it new, does adding it help, how far is it from real ones? The input is
what was measured of windows, no network of the model and no configuration. Every figure has a real value, from windows
that nothing was trained on, and a range where it can vary.
"""

from collections.abc import Iterator

import numpy as np
from scipy.stats import wasserstein_distance

from mdiff_jax.metrics import (
    augmentation_utility,
    bootstrap,
    comparison,
    distances,
    identity,
    kinematics,
    memorization,
    simulator_truth,
)
from mdiff_jax.metrics.comparison import Figure, compare_means, compare_with_halves, mean_over_draws, paired_draws
from mdiff_jax.metrics.reference import (
    LINEAR_JUDGE,
    OWN_FEATURES,
    MeasuredSet,
    Reference,
)
from mdiff_jax.metrics.simulator_truth import SimulatorTruth
from mdiff_jax.runtime.errors import InputError

IDENTITY, PHYSICS, NOVELTY, USEFULNESS, FIDELITY = (
    "Is it that person?",
    "Is it physically possible?",
    "Is it new?",
    "Does adding it help?",
    "How far from real ones?",
)
TRAINING_DRAWS = 3  # random choices of real training windows, as many as are generated


def all_figures(
    reference: Reference, test: MeasuredSet, generated: MeasuredSet, truth: SimulatorTruth | None = None
) -> list[Figure]:
    """Returns all figures of measured windows; `truth` is known of synthetic walkers. InputError where no user has two
    generated windows.
    """
    if max(np.bincount(generated.window_set.users)) < 2:
        raise InputError("no user has 2 generated windows, so variety cannot be judged: sample more with sample.py")
    return [
        *identity_figures(test, generated),
        *physics_figures(test, generated),
        *(truth_figures(truth, test, generated) if truth else ()),
        *novelty_figures(reference, test, generated),
        *usefulness_figures(reference, test, generated),
        *fidelity_figures(reference, test, generated),
    ]


def quick_figures(test: MeasuredSet, generated: MeasuredSet) -> dict[str, float]:
    """Returns the cheap figures, for a search: 'accuracy', 'recognised', 'kernel distance' by the judge whose verdict
    counts; 'plausible', 'variety', 'similarity', 'copies'.

    `test` are the real windows to compare with, validation windows in a search. `quick_figures(test, test)` is what
    real windows reach, but for the kernel distance, which is 0 between real ones.
    """
    judge = generated.verdict_judge
    return {
        "accuracy": float(generated.correct(judge).mean()),
        "recognised": float(generated.recognised(judge).mean()),
        "kernel distance": distances.kernel_distance(generated.features[judge], test.features[judge]),
        "plausible": float(kinematics.is_plausible(generated.physics).mean()),
        "variety": measure_variety(generated),
        "similarity": float(np.median(generated.similarity)),
        "copies": memorization.copy_share(generated.similarity, test.similarity),
    }


# ----------------------------------------------------------------------------- is it that person?


def identity_figures(test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Yields each judge's figures; they are reliable where the judge recognises real unseen windows."""
    for judge in generated.probabilities:
        reliable = is_reliable(judge, test)
        for figure in judge_figures(judge, test, generated):
            yield figure._replace(judge=judge, reliable=reliable)


def is_reliable(judge: str, test: MeasuredSet) -> bool:
    """Returns whether a judge recognises real unseen windows well enough to decide anything."""
    users = test.probabilities[judge].shape[1]
    return not identity.is_too_weak(float(test.correct(judge).mean()), users)


def judge_figures(judge: str, test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Yields one judge's figures of identity."""
    sets = (generated, test)
    users = generated.probabilities[judge].shape[1]
    yield compare_means(IDENTITY, "accuracy", f"chance {1 / users:.2f}", [s.correct(judge) for s in sets], sets)
    note = f"correct, with probability above {identity.RECOGNITION_THRESHOLD}"
    yield compare_means(IDENTITY, "recognised", note, [s.recognised(judge) for s in sets], sets)
    balanced = [identity.balanced_accuracy(s.probabilities[judge], s.window_set.users) for s in sets]
    yield Figure(IDENTITY, "balanced accuracy", *balanced, "mean of the users' accuracies")
    worst = [min(identity.accuracy_by_user(s.probabilities[judge], s.window_set.users).values()) for s in sets]
    yield Figure(IDENTITY, "accuracy of the worst user", *worst, "of those who are there")
    errors = [identity.calibration_error(s.probabilities[judge], s.window_set.users) for s in sets]
    yield Figure(IDENTITY, "calibration error", *errors, "mean difference of confidence and accuracy")


# ----------------------------------------------------------------------------- is it possible?


def physics_figures(test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Yields figures of plausibility, of the direction of time, and of each kinematic measure."""
    sets = (generated, test)
    low, high = kinematics.RATIO_RANGE
    note = f"highest/torso {low}-{high}, 3.5-4.5 steps, floor share"
    yield compare_means(PHYSICS, "plausible", note, [kinematics.is_plausible(s.physics) for s in sets], sets)
    note = "the envelope falls faster than it rises; few do if time runs backwards"
    yield compare_means(PHYSICS, "forward in time", note, [s.physics["arrow"] < 0 for s in sets], sets)
    for name, note in kinematics.select_notes(test.physics).items():
        medians = [float(np.median(s.physics[name])) for s in sets]
        yield Figure(PHYSICS, f"median {name}", *medians, note)
    yield from distribution_figures(test, generated)


def truth_figures(truth: SimulatorTruth, test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Yields figures of measured against true speeds, for synthetic walkers."""
    sets = (generated, test)
    errors = [simulator_truth.torso_speed_error(truth, s.physics, s.window_set.users) for s in sets]
    note = "mean relative error; walks of a user differ by 0.07 m/s"
    yield compare_means(PHYSICS, "torso speed off the truth", note, errors, sets)
    if min(len(np.unique(s.window_set.users)) for s in sets) < 3:
        return
    generated_correlation, real_correlation = (
        simulator_truth.truth_correlation(truth, s.physics, s.window_set.users) for s in sets
    )
    for part, note in (("torso", "mean speed"), ("ankle", "highest speed, by the highest return")):
        values = generated_correlation[part], real_correlation[part]
        yield Figure(PHYSICS, f"correlation with the truth, {part}", *values, f"over users, {note}")


def distribution_figures(test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Yields Wasserstein distances of the measures' distributions, in standard deviations of the real ones."""
    names = list(kinematics.select_notes(test.physics))
    deviation = {name: max(float(test.physics[name].std()), 1e-6) for name in names}

    def distance(a: MeasuredSet, b: MeasuredSet) -> np.ndarray:
        each = [wasserstein_distance(a.physics[k], b.physics[k]) / deviation[k] for k in names]
        return np.array([np.mean(each), *each])

    notes = {"distance of distributions": "Wasserstein, in real deviations, mean over all measures"}
    notes |= {f"distance of {name}": "Wasserstein, in real deviations" for name in names}
    for figure in mean_over_draws(PHYSICS, notes, *compare_with_halves(distance, test, generated)):
        yield figure._replace(detail=True)


# ----------------------------------------------------------------------------- is it new?


def novelty_figures(reference: Reference, test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Yields figures of similarity to training windows, of suspected copies, and of variety within a user."""
    sets = (generated, test)
    medians = [float(np.median(s.similarity)) for s in sets]
    yield Figure(NOVELTY, "median similarity", *medians, "to the nearest training window: NCC, best shift")
    false_alarms = comparison.copy_false_alarms(test)
    note = "nearer to a training window than any real unseen one; real: of one half, by the scale of the other"
    suspected = comparison.suspected_copies(test, generated)
    for k, metric in enumerate(("suspected copies", "suspected copies of a part")):
        alarm = false_alarms[:, k]
        ranges = (
            bootstrap.bootstrap_interval(suspected[k], generated.window_set.independent_groups(), seed=0),
            bootstrap.percentile_interval(alarm),
        )
        yield Figure(NOVELTY, metric, float(suspected[k].mean()), float(alarm.mean()), note, *ranges)
        note = "the same for half a window or more, also moved in time"
    notes = {"membership gap": "nearer to training windows than to as many unseen ones, NCC; 0: no trace of membership"}
    yield from mean_over_draws(NOVELTY, notes, *comparison.membership_gap(reference.train, test, generated))
    yield Figure(NOVELTY, "median variety", *map(measure_variety, sets), "1 - NCC within a user")


def measure_variety(windows: MeasuredSet) -> float:
    """Returns the median of 1 - NCC between windows of the same user."""
    return memorization.intra_user_diversity(windows.window_set.windows, windows.window_set.users)


# ----------------------------------------------------------------------------- does it help?


def usefulness_figures(reference: Reference, test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Yields the accuracy on unseen real windows of judges trained on generated windows alone, beside that of judges
    trained on as many real ones; and the accuracy on generated windows of the judge trained on real ones.
    """
    train, users = reference.train, generated.window_set.users
    if np.array_equal(np.unique(users), np.unique(train.users)):  # else the report says which user is missing
        rngs = [np.random.default_rng(seed) for seed in range(TRAINING_DRAWS)]
        equal = [train.pick(np.unique(augmentation_utility.sample_like(users, train.users, rng))) for rng in rngs]
        correct = [
            augmentation_utility.correct_mask(generated.window_set, test.window_set),
            np.mean([augmentation_utility.correct_mask(s, test.window_set) for s in equal], axis=0),
        ]
        ranges = [bootstrap.bootstrap_interval(v, test.window_set.independent_groups(), seed=0) for v in correct]
        note = f"real: trained on as many real windows, or all; mean of {TRAINING_DRAWS} draws; linear judge"
        yield Figure(USEFULNESS, "train on generated, test on real", *(float(v.mean()) for v in correct), note, *ranges)
    sets = (generated, test)
    correct = [s.correct(LINEAR_JUDGE) for s in sets]
    yield compare_means(USEFULNESS, "train on real, test on generated", "linear judge", correct, sets)


# ----------------------------------------------------------------------------- how far from real ones?


def fidelity_figures(reference: Reference, test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Yields distances to halves of the test windows; beside them those of the other halves, and those of training
    windows, the best that a model could learn. All metrics in the features of the judge whose verdict counts and of the
    caller's own function; the kernel distance in all features.
    """
    full = generated.verdict_judge, OWN_FEATURES
    rows = bootstrap.pair_rows_by_user(test.window_set.users, reference.train.users, np.random.default_rng(0))
    for name, extract in reference.extractors.items():
        measure, notes = distances.make_distance_measure(name in full, enough_for_manifold(test, generated))
        real, learnt = test.features[name], extract(reference.train.windows)[rows]
        values = [
            [measure(x, real[half]) for x in (generated.features[name][chosen], real[other], learnt[other])]
            for chosen, half, other in paired_draws(test, generated)
        ]
        of_generated, of_real, of_training = (np.array(v) for v in zip(*values, strict=True))
        notes = {
            metric: f"{note}; of training windows {v:.3f}"
            for (metric, note), v in zip(notes.items(), of_training.mean(0), strict=True)
        }
        for figure in mean_over_draws(FIDELITY, notes, of_generated, of_real):
            yield figure._replace(judge=name)


def enough_for_manifold(test: MeasuredSet, generated: MeasuredSet) -> bool:
    """Returns whether the sets that distances are taken of hold more windows than a ball has neighbours."""
    return min(generated.count(), test.count() // 3) > distances.MANIFOLD_NEIGHBOURS


# ----------------------------------------------------------------------------- user by user


def figures_by_user(test: MeasuredSet, generated: MeasuredSet) -> dict[int, list[Figure]]:
    """Returns a few figures for each user who has generated windows, without those that need more windows than there
    are.
    """
    suspected = np.logical_or(*comparison.suspected_copies(test, generated))
    reliable, figures = is_reliable(test.verdict_judge, test), {}
    for user in np.unique(generated.window_set.users):
        of_user = user_figures(*(s.pick(s.window_set.users == user) for s in (test, generated)))
        share = float(suspected[generated.window_set.users == user].mean())
        figures[int(user)] = [
            *(f._replace(reliable=reliable) if f.question == IDENTITY else f for f in of_user),
            Figure(NOVELTY, "suspected copies", share, 0.0, "whole or in part"),
        ]
    return figures


def user_figures(test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Yields figures of windows of one user, by the judge whose verdict counts."""
    judge, sets = generated.verdict_judge, (generated, test)
    yield compare_means(IDENTITY, "accuracy", "", [s.correct(judge) for s in sets], sets)._replace(judge=judge)
    recognised = [s.recognised(judge) for s in sets]
    yield compare_means(IDENTITY, "recognised", "", recognised, sets)._replace(judge=judge)
    yield compare_means(PHYSICS, "plausible", "", [kinematics.is_plausible(s.physics) for s in sets], sets)
    if generated.count() < 2 or test.count() < 4:
        return
    yield Figure(NOVELTY, "variety", *map(measure_variety, sets), "1 - NCC")
    yield next(distribution_figures(test, generated))
    measure, notes = distances.make_distance_measure(True, enough_for_manifold(test, generated))
    halves = compare_with_halves(lambda a, b: measure(a.features[judge], b.features[judge]), test, generated)
    for figure in mean_over_draws(FIDELITY, notes, *halves):
        yield figure._replace(judge=judge)
