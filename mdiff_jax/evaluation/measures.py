"""Figures that answer five questions about generated windows, each beside the same figure of real windows.

Is it that person, is it physically possible, is it new, does adding it help, how far is it from real ones? The input is
what was measured of windows, no network of the model and no configuration. Every figure has a real value, from windows
that nothing was trained on, and a range where it can vary; where there are too few windows for it, it is left out and
says why.
"""

import functools
from collections.abc import Callable, Iterator

import numpy as np
from scipy.stats import wasserstein_distance

from mdiff_jax.evaluation import fidelity_measures
from mdiff_jax.metrics import (
    augmentation_utility,
    bootstrap,
    cnn_classifier,
    comparison,
    distances,
    identity,
    kinematics,
    memorization,
    simulator_truth,
)
from mdiff_jax.metrics.comparison import (
    IDENTITY,
    NOVELTY,
    PHYSICS,
    USEFULNESS,
    Figure,
    compare_means,
    compare_values,
    compare_with_halves,
    leave_out,
    mean_over_draws,
    note_of_values,
    smallest_draw,
)
from mdiff_jax.metrics.reference import (
    CONVOLUTIONAL_JUDGE,
    LINEAR_JUDGE,
    MeasuredSet,
    Reference,
    WindowSet,
)
from mdiff_jax.metrics.simulator_truth import SimulatorTruth

TRAINING_DRAWS = 3  # random choices of real training windows, as many as are generated
SHORT_TRAINING = 200  # steps of a convolutional judge that is trained on generated windows: seconds
SINGLE_USER = "2 windows of one user"


def all_figures(
    reference: Reference, test: MeasuredSet, generated: MeasuredSet, truth: SimulatorTruth | None = None
) -> list[Figure]:
    """Returns all figures of measured windows; `truth` is known of synthetic walkers.

    Users enrolled after training have no unseen windows, and the judges do not know them: their windows count where the
    user does not matter, and in figures of their own.
    """
    known = generated.pick(generated.window_set.users < reference.num_users)
    newcomers = generated.pick(generated.window_set.users >= reference.num_users)
    return [
        *identity_figures(test, known),
        *(newcomer_figures(reference, test, newcomers) if newcomers.count() else ()),
        *physics_figures(test, generated),
        *(truth_figures(truth, test, known) if truth else ()),
        *novelty_figures(reference, test, generated),
        *usefulness_figures(reference, test, known),
        *fidelity_measures.fidelity_figures(reference, test, known),
    ]


def quick_figures(test: MeasuredSet, generated: MeasuredSet) -> dict[str, float]:
    """Returns the cheap figures, for a search: 'accuracy', 'recognised', 'kernel distance' by the judge whose verdict
    counts; 'plausible', 'variety', 'similarity', 'copies'. Those that need more windows than there are are absent.

    `test` are the real windows to compare with, validation windows in a search. `quick_figures(test, test)` is what
    real windows reach, but for the kernel distance, which is 0 between real ones.
    """
    judge = generated.verdict_judge
    enough = min(generated.count(), test.count()) >= distances.KERNEL.windows
    figures = {
        "accuracy": float(generated.correct(judge).mean()),
        "recognised": float(generated.recognised(judge).mean()),
        "kernel distance": distances.kernel_distance(*(s.features[judge] for s in (generated, test)))
        if enough
        else None,
        "plausible": float(kinematics.is_plausible(generated.physics).mean()),
        "variety": measure_variety(generated),
        "similarity": float(np.median(generated.similarity)),
        "copies": memorization.copy_share(generated.similarity, test.similarity),
    }
    return {name: value for name, value in figures.items() if value is not None}


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
    for metric, note, measure in (
        ("balanced accuracy", "mean of the users' accuracies", identity.balanced_accuracy),
        ("accuracy of the worst user", "of those who are there", identity.worst_accuracy),
        ("calibration error", "mean difference of confidence and accuracy", identity.calibration_error),
    ):
        of_set = of_judge(measure, judge)
        yield compare_values(IDENTITY, metric, note, of_set, sets)


def of_judge(measure: Callable[..., float], judge: str) -> Callable[[MeasuredSet], float]:
    """Returns a measure of probabilities and users as one of a set, by this judge."""
    return lambda s: measure(s.probabilities[judge], s.window_set.users)


def newcomer_figures(reference: Reference, test: MeasuredSet, newcomers: MeasuredSet) -> Iterator[Figure]:
    """Yields how often windows of enrolled users are nearer to their own real windows than to anyone else's, which the
    judges, taught before, cannot say; beside it the same of unseen windows of the trained users.
    """
    judge, users, original = newcomers.verdict_judge, np.unique(reference.originals.users), reference.originals
    features = reference.extractors[judge](original.windows)
    centres = np.stack([features[original.users == user].mean(0) for user in users])
    sets = (newcomers, test)
    nearest = [users[distances.squared_distances(s.features[judge], centres).argmin(1)] for s in sets]
    values = [name == s.window_set.users for name, s in zip(nearest, sets, strict=True)]
    note = "of enrolled users, to the mean of the windows they were enrolled from; real: of trained users"
    yield compare_means(IDENTITY, "nearest to their own real windows", note, values, sets)._replace(judge=judge)


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

        def median(s: MeasuredSet, name: str = name) -> float:
            return float(np.median(s.physics[name]))

        yield compare_values(PHYSICS, f"median {name}", note, median, sets)
    yield from distribution_figures(test, generated)


def truth_figures(truth: SimulatorTruth, test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Yields figures of measured against true speeds, for synthetic walkers."""
    sets = (generated, test)
    errors = [simulator_truth.torso_speed_error(truth, s.physics, s.window_set.users) for s in sets]
    note = "mean relative error; walks of a user differ by 0.07 m/s"
    yield compare_means(PHYSICS, "torso speed off the truth", note, errors, sets)
    for part, note in (("torso", "mean speed"), ("ankle", "highest speed, by the highest return")):

        def correlation(s: MeasuredSet, part: str = part) -> float | None:
            return simulator_truth.truth_correlation(truth, s.physics, s.window_set.users)[part]

        needs = f"{simulator_truth.MIN_USERS} users who differ"
        metric = f"correlation with the truth, {part}"
        yield compare_values(PHYSICS, metric, f"over users, {note}", correlation, sets, needs)


def distribution_figures(test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Yields Wasserstein distances of the measures' distributions, in standard deviations of the real ones: first the
    mean over all measures in which real windows differ, then each of these.
    """
    deviation = {
        name: float(test.physics[name].std()) for name in kinematics.select_notes(test.physics) if test.count()
    }
    deviation = {name: value for name, value in deviation.items() if value > 1e-6}
    notes = {"distance of distributions": "Wasserstein, in real deviations, mean over all measures"}
    notes |= {f"distance of {name}": "Wasserstein, in real deviations" for name in deviation}
    if (found := smallest_draw(test, generated)) < 1 or not deviation:
        yield from leave_out(PHYSICS, notes, 1, found)
        return

    def distance(a: MeasuredSet, b: MeasuredSet) -> np.ndarray:
        each = [wasserstein_distance(a.physics[k], b.physics[k]) / deviation[k] for k in deviation]
        return np.array([np.mean(each), *each])

    for figure in mean_over_draws(PHYSICS, notes, *compare_with_halves(distance, test, generated)):
        yield figure._replace(detail=True)


# ----------------------------------------------------------------------------- is it new?


def novelty_figures(reference: Reference, test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Yields figures of similarity to training windows, of suspected copies, and of variety within a user."""
    sets = (generated, test)
    note = "to the nearest training window: NCC, best shift"
    yield compare_values(NOVELTY, "median similarity", note, lambda s: float(np.median(s.similarity)), sets)
    yield from copy_figures(test, generated)
    notes = {"membership gap": "nearer to training windows than to as many unseen ones, NCC; 0: no trace of membership"}
    if found := smallest_draw(test, generated):
        yield from mean_over_draws(NOVELTY, notes, *comparison.membership_gap(reference.train, test, generated))
    else:
        yield from leave_out(NOVELTY, notes, 1, found)
    yield compare_values(NOVELTY, "median variety", "1 - NCC within a user", measure_variety, sets, SINGLE_USER)


def copy_figures(test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Yields the shares of suspected copies, whole and in part; that of real windows needs two, one for the scale."""
    alarms = comparison.copy_false_alarms(test) if smallest_draw(test, test) else None
    note = "nearer to a training window than any real unseen one; real: of one half, by the scale of the other"
    suspected = comparison.suspected_copies(test, generated)
    for k, metric in enumerate(("suspected copies", "suspected copies of a part")):
        values = float(suspected[k].mean()), None if alarms is None else float(alarms[:, k].mean())
        ranges = (
            bootstrap.bootstrap_interval(suspected[k], generated.window_set.independent_groups(), seed=0),
            None if alarms is None else bootstrap.percentile_interval(alarms[:, k]),
        )
        yield Figure(NOVELTY, metric, *values, note_of_values(note, values, "2 windows"), *ranges)
        note = "the same for half a window or more, also moved in time"


def measure_variety(windows: MeasuredSet) -> float | None:
    """Returns the median of 1 - NCC between windows of the same user; None where no user has two."""
    if max(np.bincount(windows.window_set.users), default=0) < 2:
        return None
    return memorization.intra_user_diversity(windows.window_set.windows, windows.window_set.users)


# ----------------------------------------------------------------------------- does it help?


def usefulness_figures(reference: Reference, test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Yields the accuracy on unseen real windows of judges trained on generated windows alone, beside that of judges
    trained on as many real ones; and the accuracy on generated windows of the judge trained on real ones.
    """
    train, users = reference.train, generated.window_set.users
    metric = "train on generated, test on real"
    if not np.array_equal(np.unique(users), np.unique(train.users)):
        missing = len(set(train.users.tolist()) - set(users.tolist()))
        yield Figure(USEFULNESS, metric, None, None, f"left out: needs windows of all users, {missing} have none")
    else:
        rngs = [np.random.default_rng(seed) for seed in range(TRAINING_DRAWS)]
        equal = [train.pick(np.unique(augmentation_utility.sample_like(users, train.users, rng))) for rng in rngs]
        note = "real: trained on as many real windows, or all"
        trainers: list[tuple[str | None, Callable[..., identity.Judge], list[WindowSet], str]] = [
            (None, identity.fit_linear, equal, f"{note}; mean of {TRAINING_DRAWS} draws; linear judge")
        ]
        if CONVOLUTIONAL_JUDGE in reference.judges:
            fit_short = functools.partial(cnn_classifier.fit_cnn, steps=SHORT_TRAINING)
            trainers.append((CONVOLUTIONAL_JUDGE, fit_short, equal[:1], f"{note}; {SHORT_TRAINING} steps each"))
        for judge, fit, draws, note in trainers:
            correct = [
                augmentation_utility.correct_mask(generated.window_set, test.window_set, fit),
                np.mean([augmentation_utility.correct_mask(s, test.window_set, fit) for s in draws], axis=0),
            ]
            ranges = [bootstrap.bootstrap_interval(v, test.window_set.independent_groups(), seed=0) for v in correct]
            means = [float(v.mean()) for v in correct]
            yield Figure(USEFULNESS, metric, means[0], means[1], note, ranges[0], ranges[1], judge)
    sets = (generated, test)
    correct = [s.correct(LINEAR_JUDGE) for s in sets]
    yield compare_means(USEFULNESS, "train on real, test on generated", "linear judge", correct, sets)
