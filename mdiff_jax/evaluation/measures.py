"""Four questions about generated windows, each answered beside the same figure for real windows.

Is it that person, is it physically possible, is it new, does adding it help? And: how far is it from real ones?
Measures of windows in, figures out: no network of the model, no configuration. Every figure has a real value, from
windows that nobody was trained on, and what can vary has a range.
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
    reference,
)
from mdiff_jax.metrics import simulator_truth as true
from mdiff_jax.metrics.comparison import Figure, compare_means, compare_with_halves, mean_over_draws, paired_draws
from mdiff_jax.metrics.reference import MeasuredSet, Reference, WindowSet
from mdiff_jax.metrics.simulator_truth import SimulatorTruth
from mdiff_jax.runtime.errors import InputError

IDENTITY, PHYSICS, NOVELTY, USEFUL, FIDELITY = (
    "Is it that person?",
    "Is it physically possible?",
    "Is it new?",
    "Does adding it help?",
    "How far from real ones?",
)
TEACHERS = 3  # draws of windows that a judge is taught by


def evaluate_windows(
    train: WindowSet,
    test: WindowSet,
    generated: WindowSet,
    zero_doppler: float | None,
    own: reference.FeatureExtractor | None = None,
) -> list[Figure]:
    """All figures. The judges and the scales come from `train`; `test` are real windows of unseen walks; distances are
    taken in the features of the judges and of the function `own`.
    """
    stick = reference.make_reference(train.in_order(), zero_doppler, own=own)
    return all_figures(stick, *(stick.measure(s.in_order()) for s in (test, generated)))


def all_figures(
    stick: Reference, test: MeasuredSet, generated: MeasuredSet, truth: SimulatorTruth | None = None
) -> list[Figure]:
    """All figures of windows that were measured before; `truth` is known of synthetic walkers."""
    if max(np.bincount(generated.set.users)) < 2:
        raise InputError("no user has 2 generated windows, so variety cannot be judged: make more with sample.py")
    return [
        *identity_figures(test, generated),
        *physics_figures(test, generated),
        *(truth_figures(truth, test, generated) if truth else ()),
        *novelty_figures(stick, test, generated),
        *usefulness_figures(stick, test, generated),
        *fidelity_figures(stick, test, generated),
    ]


def quick_figures(test: MeasuredSet, generated: MeasuredSet) -> dict[str, float]:
    """The cheap ones, for searching: 'accuracy', 'recognised', 'kernel distance', of the judge whose verdict counts;
    'plausible', 'variety', 'similarity', 'copies'.

    `test` are the real windows to compare with, validation windows in a search. What real windows reach:
    quick_figures(test, test), but for the kernel distance, which is 0 between real ones.
    """
    judge = generated.verdict_judge
    return {
        "accuracy": float(generated.right(judge).mean()),
        "recognised": float(generated.recognised(judge).mean()),
        "kernel distance": distances.kernel_distance(generated.features[judge], test.features[judge]),
        "plausible": float(kinematics.is_plausible(generated.physics).mean()),
        "variety": memorization.intra_user_diversity(generated.set.windows, generated.set.users),
        "similarity": float(np.median(generated.similarity)),
        "copies": memorization.copy_share(generated.similarity, test.similarity),
    }


# ----------------------------------------------------------------------------- is it that person?


def identity_figures(test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Each judge's figures; they are reliable where the judge recognises real unseen windows."""
    for judge in generated.probabilities:
        reliable = is_reliable(judge, test)
        for figure in judge_figures(judge, test, generated):
            yield figure._replace(judge=judge, reliable=reliable)


def is_reliable(judge: str, test: MeasuredSet) -> bool:
    """Whether a judge recognises real unseen windows well enough to decide anything."""
    users = test.probabilities[judge].shape[1]
    return not identity.is_too_weak(float(test.right(judge).mean()), users)


def judge_figures(judge: str, test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    sets = (generated, test)
    users = generated.probabilities[judge].shape[1]
    yield compare_means(IDENTITY, "accuracy", f"chance {1 / users:.2f}", [s.right(judge) for s in sets], sets)
    note = f"right, with confidence above {identity.RECOGNITION_THRESHOLD}"
    yield compare_means(IDENTITY, "recognised", note, [s.recognised(judge) for s in sets], sets)
    balanced = [identity.balanced_accuracy(s.probabilities[judge], s.set.users) for s in sets]
    yield Figure(IDENTITY, "balanced accuracy", *balanced, "mean of the users' accuracies")
    worst = [min(identity.accuracy_by_user(s.probabilities[judge], s.set.users).values()) for s in sets]
    yield Figure(IDENTITY, "accuracy of the worst user", *worst, "of those who are there")
    errors = [identity.calibration_error(s.probabilities[judge], s.set.users) for s in sets]
    yield Figure(IDENTITY, "calibration error", *errors, "how far confidence and accuracy are apart on average")


# ----------------------------------------------------------------------------- is it possible?


def physics_figures(test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    sets = (generated, test)
    low, high = kinematics.RATIO_RANGE
    note = f"highest/torso {low}-{high}, 3.5-4.5 steps, floor share"
    yield compare_means(PHYSICS, "plausible", note, [kinematics.is_plausible(s.physics) for s in sets], sets)
    note = "the envelope falls faster than it rises; few do if time runs backwards"
    yield compare_means(PHYSICS, "forward in time", note, [s.physics["arrow"] < 0 for s in sets], sets)
    for name, note in measure_notes(test).items():
        medians = [float(np.median(s.physics[name])) for s in sets]
        yield Figure(PHYSICS, f"median {name}", *medians, note)
    yield from distribution_figures(test, generated)


def truth_figures(truth: SimulatorTruth, test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Of synthetic walkers what is measured is held against what is true of the user."""
    sets = (generated, test)
    errors = [true.torso_speed_error(truth, s.physics, s.set.users) for s in sets]
    note = "mean share by which it is off the user's; walks of a person differ by 0.07 m/s"
    yield compare_means(PHYSICS, "torso speed off the truth", note, errors, sets)
    if min(len(np.unique(s.set.users)) for s in sets) < 3:
        return
    ours, theirs = (true.truth_correlation(truth, s.physics, s.set.users) for s in sets)
    for part, note in (("torso", "mean speed"), ("ankle", "highest speed, by the highest return")):
        metric = f"correlation with the truth, {part}"
        yield Figure(PHYSICS, metric, ours[part], theirs[part], f"over users, {note}")


def distribution_figures(test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Wasserstein distances of the measures' distributions, in deviations of the real ones."""
    names = list(measure_notes(test))
    deviation = {name: max(float(test.physics[name].std()), 1e-6) for name in names}

    def distance(a: MeasuredSet, b: MeasuredSet) -> np.ndarray:
        each = [wasserstein_distance(a.physics[k], b.physics[k]) / deviation[k] for k in names]
        return np.array([np.mean(each), *each])

    notes = {"distance of distributions": "Wasserstein, in real deviations, mean over all measures"}
    notes |= {f"distance of {name}": "Wasserstein, in real deviations" for name in names}
    for figure in mean_over_draws(PHYSICS, notes, *compare_with_halves(distance, test, generated)):
        yield figure._replace(detail=True)


def measure_notes(test: MeasuredSet) -> dict[str, str]:
    """The measures that windows of this size show, each with its note."""
    return {name: note for name, note in kinematics.NOTES.items() if name in test.physics}


# ----------------------------------------------------------------------------- is it new?


def novelty_figures(stick: Reference, test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    sets = (generated, test)
    medians = [float(np.median(s.similarity)) for s in sets]
    yield Figure(NOVELTY, "median similarity", *medians, "to the nearest training window: NCC, best shift")
    alarms = comparison.copy_false_alarms(test)
    note = "nearer to a training window than any real unseen one; real: of one half, by the scale of the other"
    made = comparison.suspected_copies(test, generated)
    for k, name in enumerate(("suspected copies", "suspected copies of a part")):
        alarm = alarms[:, k]
        ranges = (
            bootstrap.bootstrap_interval(made[k], generated.set.units(), seed=0),
            bootstrap.percentile_interval(alarm),
        )
        yield Figure(NOVELTY, name, float(made[k].mean()), float(alarm.mean()), note, *ranges)
        note = "half a window or more that is: finds what was moved on in time too"
    notes = {"membership gap": "nearer to training windows than to as many unseen ones, NCC; 0 betrays nothing"}
    yield from mean_over_draws(NOVELTY, notes, *comparison.membership_gap(stick.train, test, generated))
    variety = [memorization.intra_user_diversity(s.set.windows, s.set.users) for s in sets]
    yield Figure(NOVELTY, "median variety", *variety, "1 - NCC within a user")


# ----------------------------------------------------------------------------- does it help?


def usefulness_figures(stick: Reference, test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Judges taught by generated windows alone, and by as many real ones, on unseen real windows; and the reverse."""
    made, train = generated.set, stick.train
    if np.array_equal(np.unique(made.users), np.unique(train.users)):  # else the report says who is missing
        rngs = [np.random.default_rng(seed) for seed in range(TEACHERS)]
        equal = [train.pick(np.unique(augmentation_utility.sample_like(made.users, train.users, rng))) for rng in rngs]
        taught = [
            augmentation_utility.correct_mask(made, test.set),
            np.mean([augmentation_utility.correct_mask(s, test.set) for s in equal], axis=0),
        ]
        ranges = [bootstrap.bootstrap_interval(v, test.set.units(), seed=0) for v in taught]
        note = f"real: trained on as many real windows, or all; mean of {TEACHERS} draws; linear judge"
        yield Figure(USEFUL, "train on generated, test on real", *(float(v.mean()) for v in taught), note, *ranges)
    right = [s.right(reference.LINEAR_JUDGE) for s in (generated, test)]
    yield compare_means(USEFUL, "train on real, test on generated", "linear judge", right, (generated, test))


# ----------------------------------------------------------------------------- how far from real ones?


def fidelity_figures(stick: Reference, test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Distances to halves of the test windows; beside them those of the other halves, and those of training windows,
    which are what a model can learn. All in the features of the judge that the verdict asks and of somebody's own
    function; the kernel distance in all features.
    """
    full = generated.verdict_judge, reference.OWN_FEATURES
    rows = bootstrap.pair_rows_by_user(test.set.users, stick.train.users, np.random.default_rng(0))
    for name, extract in stick.extractors.items():
        measure, notes = distances.make_distance_measure(name in full, enough_for_manifold(test, generated))
        made, real, learnt = generated.features[name], test.features[name], extract(stick.train.windows)[rows]
        values = [
            (measure(made[few], real[one]), measure(real[other], real[one]), measure(learnt[other], real[one]))
            for few, one, other in paired_draws(test, generated)
        ]
        ours, theirs, training = (np.array(v) for v in zip(*values, strict=True))
        notes = {
            k: f"{note}; of training windows {v:.3f}"
            for (k, note), v in zip(notes.items(), training.mean(0), strict=True)
        }
        for figure in mean_over_draws(FIDELITY, notes, ours, theirs):
            yield figure._replace(judge=name)


def enough_for_manifold(test: MeasuredSet, generated: MeasuredSet) -> bool:
    """Whether halves of the test windows, and as many generated ones, are more than the neighbours of a ball."""
    return min(generated.count(), test.count() // 3) > distances.NEIGHBOURS


# ----------------------------------------------------------------------------- user by user


def figures_by_user(test: MeasuredSet, generated: MeasuredSet) -> dict[int, list[Figure]]:
    """A few figures for each user who has generated windows. What needs more windows than a user has is left out."""
    alike = np.logical_or(*comparison.suspected_copies(test, generated))
    reliable, found = is_reliable(test.verdict_judge, test), {}
    for user in np.unique(generated.set.users):
        real, made = (s.pick(s.set.users == user) for s in (test, generated))
        share = float(alike[generated.set.users == user].mean())
        found[int(user)] = [
            *(f._replace(reliable=reliable) if f.question == IDENTITY else f for f in user_figures(real, made)),
            Figure(NOVELTY, "suspected copies", share, 0.0, "whole or in part"),
        ]
    return found


def user_figures(test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    judge, sets = generated.verdict_judge, (generated, test)
    yield compare_means(IDENTITY, "accuracy", "", [s.right(judge) for s in sets], sets)._replace(judge=judge)
    recognised = [s.recognised(judge) for s in sets]
    yield compare_means(IDENTITY, "recognised", "", recognised, sets)._replace(judge=judge)
    yield compare_means(PHYSICS, "plausible", "", [kinematics.is_plausible(s.physics) for s in sets], sets)
    if generated.count() < 2 or test.count() < 4:
        return
    variety = [memorization.intra_user_diversity(s.set.windows, s.set.users) for s in sets]
    yield Figure(NOVELTY, "variety", *variety, "1 - NCC")
    yield next(distribution_figures(test, generated))
    measure, notes = distances.make_distance_measure(True, enough_for_manifold(test, generated))
    halves = compare_with_halves(lambda a, b: measure(a.features[judge], b.features[judge]), test, generated)
    for figure in mean_over_draws(FIDELITY, notes, *halves):
        yield figure._replace(judge=judge)
