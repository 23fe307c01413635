"""Four questions about generated windows, each answered beside the same figure for real windows.

Is it that person, is it physically possible, is it new, does adding it help? And: how far is it from real ones?
Measures of windows in, figures out: no network of the model, no configuration. Every figure has a real value, from
windows that nobody was trained on, and what can vary has a range.
"""

from collections.abc import Callable, Iterator

import numpy as np
from scipy.stats import wasserstein_distance

from mdiff_jax.errors import InputError
from mdiff_jax.metrics import distances, identity, intervals, kinematics, novelty, usefulness, yardstick
from mdiff_jax.metrics import truth as true
from mdiff_jax.metrics.compare import Figure, against_halves, averaged, compared, draws
from mdiff_jax.metrics.truth import Truth
from mdiff_jax.metrics.yardstick import Measured, WindowSet, Yardstick

IDENTITY, PHYSICS, NOVELTY, USEFUL, FIDELITY = (
    "Is it that person?",
    "Is it physically possible?",
    "Is it new?",
    "Does adding it help?",
    "How far from real ones?",
)
NEIGHBOURS = 5  # of a ball
TEACHERS = 3  # draws of windows that a judge is taught by


def evaluate(
    train: WindowSet,
    test: WindowSet,
    generated: WindowSet,
    zero_doppler: float | None,
    own: yardstick.Extractor | None = None,
) -> list[Figure]:
    """All figures. The judges and the scales come from `train`; `test` are real windows of unseen walks; distances are
    taken in the features of the judges and of the function `own`.
    """
    stick = yardstick.make(train.in_order(), zero_doppler, own=own)
    return figures(stick, *(stick.measure(s.in_order()) for s in (test, generated)))


def figures(stick: Yardstick, test: Measured, generated: Measured, truth: Truth | None = None) -> list[Figure]:
    """All figures of windows that were measured before; `truth` is known of synthetic walkers."""
    if max(np.bincount(generated.set.users)) < 2:
        raise InputError("no user has 2 generated windows, so variety cannot be judged: make more with sample.py")
    return [
        *of_identity(test, generated),
        *of_physics(test, generated),
        *(of_truth(truth, test, generated) if truth else ()),
        *of_novelty(stick, test, generated),
        *of_usefulness(stick, test, generated),
        *of_fidelity(stick, test, generated),
    ]


def quick_figures(test: Measured, generated: Measured) -> dict[str, float]:
    """The cheap ones, for searching: 'accuracy', 'recognised', 'kernel distance', of the last judge if there are two;
    'plausible', 'variety', 'similarity', 'copies'.

    `test` are the real windows to compare with, validation windows in a search. What real windows reach:
    quick_figures(test, test), but for the kernel distance, which is 0 between real ones.
    """
    judge = list(generated.probabilities)[-1]
    return {
        "accuracy": float(generated.right(judge).mean()),
        "recognised": float(generated.recognised(judge).mean()),
        "kernel distance": distances.kernel_distance(generated.features[judge], test.features[judge]),
        "plausible": float(kinematics.plausible(generated.physics).mean()),
        "variety": spread(generated.set),
        "similarity": float(np.median(generated.similarity)),
        "copies": novelty.copies(generated.similarity, test.similarity),
    }


# ----------------------------------------------------------------------------- is it that person?


def of_identity(test: Measured, generated: Measured) -> Iterator[Figure]:
    """Each judge's figures, headed by what it is worth."""
    for judge in generated.probabilities:
        yield from of_judge(judge, test, generated)


def of_judge(judge: str, test: Measured, generated: Measured) -> Iterator[Figure]:
    sets = (generated, test)
    users = generated.probabilities[judge].shape[1]
    right = [s.right(judge) for s in sets]
    weak = identity.too_weak(float(right[1].mean()), users)
    note = f"chance {1 / users:.2f}" + (": THE JUDGE IS TOO WEAK to decide anything" if weak else "")
    yield compared(IDENTITY, f"accuracy, {judge}", note, right, sets)
    note = f"right, with confidence above {identity.SURE}"
    yield compared(IDENTITY, f"recognised, {judge}", note, [s.recognised(judge) for s in sets], sets)
    by_user = [identity.by_user(s.probabilities[judge], s.set.users) for s in sets]
    balanced = [float(np.mean(list(b.values()))) for b in by_user]
    yield Figure(IDENTITY, f"balanced accuracy, {judge}", *balanced, "mean of the users' accuracies")
    worst = [min(b.values()) for b in by_user]
    yield Figure(IDENTITY, f"accuracy of the worst user, {judge}", *worst, "of those who are there")
    errors = [identity.calibration_error(s.probabilities[judge], s.set.users) for s in sets]
    yield Figure(
        IDENTITY, f"calibration error, {judge}", *errors, "how far confidence and accuracy are apart on average"
    )


# ----------------------------------------------------------------------------- is it possible?


def of_physics(test: Measured, generated: Measured) -> Iterator[Figure]:
    sets = (generated, test)
    low, high = kinematics.RATIO
    note = f"highest/torso {low}-{high}, 3.5-4.5 steps, floor share"
    yield compared(PHYSICS, "plausible", note, [kinematics.plausible(s.physics) for s in sets], sets)
    note = "the envelope falls faster than it rises; few do if time runs backwards"
    yield compared(PHYSICS, "forward in time", note, [s.physics["arrow"] < 0 for s in sets], sets)
    for name, note in measured(test).items():
        medians = [float(np.median(s.physics[name])) for s in sets]
        yield Figure(PHYSICS, f"median {name}", *medians, note)
    yield from of_distributions(test, generated)


def of_truth(truth: Truth, test: Measured, generated: Measured) -> Iterator[Figure]:
    """Of synthetic walkers what is measured is held against what is true of the user."""
    sets = (generated, test)
    errors = [true.torso_error(truth, s.physics, s.set.users) for s in sets]
    note = "mean share by which it is off the user's; walks of a person differ by 0.07 m/s"
    yield compared(PHYSICS, "torso speed off the truth", note, errors, sets)
    if min(len(np.unique(s.set.users)) for s in sets) < 3:
        return
    ours, theirs = (true.follows(truth, s.physics, s.set.users) for s in sets)
    for part, note in (("torso", "mean speed"), ("ankle", "highest speed, by the highest return")):
        name = f"correlation with the truth, {part}"
        yield Figure(PHYSICS, name, ours[part], theirs[part], f"over users, {note}")


def of_distributions(test: Measured, generated: Measured) -> Iterator[Figure]:
    """Wasserstein distances of the measures' distributions, in deviations of the real ones."""
    names = list(measured(test))
    deviation = {name: max(float(test.physics[name].std()), 1e-6) for name in names}

    def distance(a: Measured, b: Measured) -> np.ndarray:
        each = [wasserstein_distance(a.physics[k], b.physics[k]) / deviation[k] for k in names]
        return np.array([np.mean(each), *each])

    notes = {"distance of distributions": "Wasserstein, in real deviations, mean over all measures"}
    notes |= {f"distance of {name}": "Wasserstein, in real deviations" for name in names}
    yield from averaged(PHYSICS, notes, *against_halves(distance, test, generated))


def measured(test: Measured) -> dict[str, str]:
    """The measures that windows of this size show, each with its note."""
    return {name: note for name, note in kinematics.NOTES.items() if name in test.physics}


# ----------------------------------------------------------------------------- is it new?


def of_novelty(stick: Yardstick, test: Measured, generated: Measured) -> Iterator[Figure]:
    sets = (generated, test)
    medians = [float(np.median(s.similarity)) for s in sets]
    yield Figure(NOVELTY, "median similarity", *medians, "to the nearest training window: NCC, best shift")
    alarms = false_alarms(test)
    note = "nearer to a training window than any real unseen one; real: of one half, by the scale of the other"
    made = copied(test, generated)
    for k, name in enumerate(("suspected copies", "suspected copies of a part")):
        alarm = alarms[:, k]
        ranges = intervals.interval(made[k], generated.set.units(), seed=0), intervals.percentiles(alarm)
        yield Figure(NOVELTY, name, float(made[k].mean()), float(alarm.mean()), note, *ranges)
        note = "half a window or more that is: finds what was moved on in time too"
    notes = {"membership gap": "nearer to training windows than to as many unseen ones, NCC; 0 betrays nothing"}
    yield from averaged(NOVELTY, notes, *membership(stick.train, test, generated))
    yield Figure(NOVELTY, "median variety", spread(generated.set), spread(test.set), "1 - NCC within a user")


def copied(test: Measured, generated: Measured) -> tuple[np.ndarray, np.ndarray]:
    """Which windows are nearer to a training window than any unseen one is: whole, or a half or more of them."""
    return generated.similarity > test.similarity.max(), generated.part > test.part.max()


def false_alarms(test: Measured) -> np.ndarray:
    """(draws, 2): share of a half of the unseen windows that the scale of the other half calls copies."""

    def measure(a: Measured, b: Measured) -> np.ndarray:
        return np.array([novelty.copies(a.similarity, b.similarity), novelty.copies(a.part, b.part)])

    return against_halves(measure, test, test)[1]


def membership(train: WindowSet, test: Measured, generated: Measured) -> tuple[np.ndarray, np.ndarray]:
    """Median of how much more alike windows are to training windows than to unseen ones, as many and of the same users;
    of generated windows and of the other half of the unseen ones.
    """
    rows = paired(test.set.users, train.users, np.random.default_rng(0))
    gaps = []
    tables = [
        [novelty.best_correlation(s.set.windows, x) for x in (train.windows[rows], test.set.windows)]
        for s in (generated, test)
    ]
    for made, one, other in draws(test, generated):
        gaps.append(
            [
                np.median(seen[np.ix_(who, one)].max(1) - unseen[np.ix_(who, one)].max(1))
                for who, (seen, unseen) in zip((made, other), tables, strict=True)
            ]
        )
    ours, theirs = np.array(gaps).T
    return ours[:, None], theirs[:, None]


def paired(users: np.ndarray, train_users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each unseen window a training window of the same user, another one as long as there are others."""
    rows = np.zeros(len(users), int)
    for user in np.unique(users):
        mine = users == user
        rows[mine] = np.resize(rng.permutation(np.flatnonzero(train_users == user)), mine.sum())
    return rows


def spread(windows: WindowSet) -> float:
    """Median of 1 - NCC between windows of the same user."""
    values = []
    for user in np.unique(windows.users):
        mine = windows.windows[windows.users == user]
        correlation = novelty.best_correlation(mine, mine)
        values.append(1 - correlation[np.triu_indices(len(mine), 1)])
    return float(np.median(np.concatenate(values)))


# ----------------------------------------------------------------------------- does it help?


def of_usefulness(stick: Yardstick, test: Measured, generated: Measured) -> Iterator[Figure]:
    """Judges taught by generated windows alone, and by as many real ones, on unseen real windows; and the reverse."""
    made, train = generated.set, stick.train
    if np.array_equal(np.unique(made.users), np.unique(train.users)):  # else the report says who is missing
        rngs = [np.random.default_rng(seed) for seed in range(TEACHERS)]
        equal = [train.pick(np.unique(usefulness.like(made.users, train.users, rng))) for rng in rngs]
        taught = [usefulness.rightly(made, test.set), np.mean([usefulness.rightly(s, test.set) for s in equal], axis=0)]
        ranges = [intervals.interval(v, test.set.units(), seed=0) for v in taught]
        note = f"real: trained on as many real windows, or all; mean of {TEACHERS} draws; linear judge"
        yield Figure(USEFUL, "train on generated, test on real", *(float(v.mean()) for v in taught), note, *ranges)
    right = [s.right(yardstick.LINEAR) for s in (generated, test)]
    yield compared(USEFUL, "train on real, test on generated", "linear judge", right, (generated, test))


# ----------------------------------------------------------------------------- how far from real ones?


def of_fidelity(stick: Yardstick, test: Measured, generated: Measured) -> Iterator[Figure]:
    """Distances to halves of the test windows; beside them those of the other halves, and those of training windows,
    which are what a model can learn. All in the features of the judge that the verdict asks and of somebody's own
    function; the kernel distance in all features.
    """
    full = list(generated.probabilities)[-1], yardstick.OWN
    rows = paired(test.set.users, stick.train.users, np.random.default_rng(0))
    for name, extract in stick.extractors.items():
        measure, notes = distances_in(name, name in full, min(generated.count(), test.count() // 3) > NEIGHBOURS)
        made, real, learnt = generated.features[name], test.features[name], extract(stick.train.windows)[rows]
        values = [
            (measure(made[few], real[one]), measure(real[other], real[one]), measure(learnt[other], real[one]))
            for few, one, other in draws(test, generated)
        ]
        ours, theirs, training = (np.array(v) for v in zip(*values, strict=True))
        notes = {
            k: f"{note}; of training windows {v:.3f}"
            for (k, note), v in zip(notes.items(), training.mean(0), strict=True)
        }
        yield from averaged(FIDELITY, notes, ours, theirs)


def distances_in(name: str, full: bool, enough: bool) -> tuple[Callable, dict[str, str]]:
    """The measure, and a note for each of its values. Balls need more windows than neighbours."""
    notes = {f"kernel distance, {name}": "squared, unbiased: about 0 where nothing differs"}
    if full:
        notes[f"Fréchet distance, {name}"] = "large at small numbers, so only beside the real value"
        notes[f"effective dimensions, {name}"] = "directions over which windows are spread"
    if full and enough:
        notes |= {
            f"precision, {name}": "share inside the real cloud",
            f"recall, {name}": "share of the real cloud that is reached",
            f"density, {name}": "how crowded around real ones; above 1: too typical",
            f"coverage, {name}": "share of real windows with one nearby",
        }

    def measure(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        values = [distances.kernel_distance(x, y)]
        if full:
            values += [distances.frechet_distance(x, y), distances.effective_dimensions(x)]
        return np.array(values + (list(distances.manifold(x, y, NEIGHBOURS)) if full and enough else []))

    return measure, notes


# ----------------------------------------------------------------------------- user by user


def of_users(test: Measured, generated: Measured) -> dict[int, list[Figure]]:
    """A few figures for each user who has generated windows. What needs more windows than a user has is left out."""
    alike = np.logical_or(*copied(test, generated))
    found = {}
    for user in np.unique(generated.set.users):
        real, made = (s.pick(s.set.users == user) for s in (test, generated))
        share = float(alike[generated.set.users == user].mean())
        found[int(user)] = [*of_user(real, made), Figure(NOVELTY, "suspected copies", share, 0.0, "whole or in part")]
    return found


def of_user(test: Measured, generated: Measured) -> Iterator[Figure]:
    judge, sets = list(generated.probabilities)[-1], (generated, test)
    yield compared(IDENTITY, "accuracy", judge, [s.right(judge) for s in sets], sets)
    yield compared(IDENTITY, "recognised", judge, [s.recognised(judge) for s in sets], sets)
    yield compared(PHYSICS, "plausible", "", [kinematics.plausible(s.physics) for s in sets], sets)
    if generated.count() < 2 or test.count() < 4:
        return
    yield Figure(NOVELTY, "variety", spread(generated.set), spread(test.set), "1 - NCC")
    yield next(of_distributions(test, generated))
    enough = min(generated.count(), test.count() // 3) > NEIGHBOURS
    measure, notes = distances_in(judge, True, enough)
    halves = against_halves(lambda a, b: measure(a.features[judge], b.features[judge]), test, generated)
    for figure in averaged(FIDELITY, notes, *halves):
        yield figure._replace(name=figure.name.removesuffix(f", {judge}"))
