"""Usefulness of generated windows for training: accuracy on unseen walks of judges trained with and without them.

They are compared with classical augmentation, which costs nothing: shifted, noisy, masked and mixed copies of the real
windows, in the same number and with the same training of the judge.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from mdiff_jax.metrics import bootstrap, identity
from mdiff_jax.metrics.identity import Judge, Users
from mdiff_jax.metrics.reference import WindowSet
from mdiff_jax.runtime.array_types import Windows
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.progress import Bar

ADDED_SHARES = (0.25, 0.5, 1.0, 2.0)  # windows added, as a share of the real ones
BUDGETS = (10, 20, 50, 0)  # real windows per user; 0: all
NUM_SEEDS = 3
Rows = Int[np.ndarray, " rows"]
Others = Int[np.ndarray, " others"]
TrainJudge = Callable[[Windows, Users, int], Judge]


class AugmentationPoint(NamedTuple):
    """One point of the curve: mean accuracy over seeds, the lowest and the highest."""

    budget: int  # real windows per user at most; 0: all
    source: str  # 'generated', or the name of a classical augmentation; 'real' with share 0
    share: float
    accuracy: float
    low: float
    high: float


# ----------------------------------------------------------------------------- classical augmentation


def shift_in_time(windows: Windows, rng: np.random.Generator) -> Windows:
    """Rolls each window along time by a random number of frames."""
    shifts = rng.integers(windows.shape[2], size=len(windows))
    return np.stack([np.roll(w, k, 1) for w, k in zip(windows, shifts, strict=True)])


def add_noise(windows: Windows, rng: np.random.Generator) -> Windows:
    """Adds Gaussian noise of a random deviation up to 0.1."""
    level = 0.1 * rng.uniform(size=(len(windows), 1, 1))
    return np.clip(windows + level * rng.standard_normal(windows.shape), -1, 1).astype(np.float32)


def mask_spans(windows: Windows, rng: np.random.Generator) -> Windows:
    """Sets a random eighth of the frames and one of the rows to the floor (Park et al. 2019)."""
    out = windows.copy()
    for axis in (1, 2):
        size = windows.shape[axis]
        offset = np.arange(size) - rng.integers(size, size=(len(windows), 1))
        hidden = (offset >= 0) & (offset < size // 8)
        out = np.where(np.expand_dims(hidden, 3 - axis), np.float32(-1), out)
    return out


def mixup(windows: Windows, users: Users, rows: Rows, rng: np.random.Generator) -> Float[np.ndarray, "rows freq time"]:
    """Mixes each of these rows with another window of the same user (Zhang et al. 2018, labels left as they are)."""
    other = bootstrap.pair_rows_by_user(users[rows], users, rng)
    weight = rng.beta(0.4, 0.4, size=(len(rows), 1, 1))
    return (weight * windows[rows] + (1 - weight) * windows[other]).astype(np.float32)


CLASSICAL = {"shift": shift_in_time, "noise": add_noise, "mask": mask_spans}
CLASSICAL_NAMES = (*CLASSICAL, "mixup")


def change_classically(
    name: str, windows: Windows, users: Users, rows: Rows, rng: np.random.Generator
) -> Float[np.ndarray, "rows freq time"]:
    """Returns changed copies of these rows, by one of CLASSICAL_NAMES."""
    return mixup(windows, users, rows, rng) if name == "mixup" else CLASSICAL[name](windows[rows], rng)


# ----------------------------------------------------------------------------- training sets


def sample_like(wanted: Users, users: Others, rng: np.random.Generator, share: float = 1.0) -> Rows:
    """Returns rows of `users`, user after user, `share` times as many of each as in `wanted`; no row is repeated before
    all were taken, and a user without rows gets none.
    """
    rows = []
    for user in np.unique(wanted):
        pool = rng.permutation(np.flatnonzero(users == user))
        rows.append(np.resize(pool, round(share * (wanted == user).sum()) if len(pool) else 0))
    return np.concatenate(rows)


def augmentation_sources(
    real: WindowSet, generated: WindowSet, share: float, rng: np.random.Generator
) -> Iterator[tuple[str, Windows, Users]]:
    """Yields (name, windows, users) of each source, `share` times as many as real ones of each user; generated windows
    only if there are so many different ones.
    """
    rows = sample_like(real.users, generated.users, rng, share)
    if len(rows) == len(set(rows.tolist())) and set(real.users.tolist()) <= set(generated.users.tolist()):
        yield "generated", generated.windows[rows], generated.users[rows]
    rows = sample_like(real.users, real.users, rng, share)
    for name in CLASSICAL_NAMES:
        yield name, change_classically(name, real.windows, real.users, rows, rng), real.users[rows]


class TrainingSet(NamedTuple):
    """Windows to train a judge on, whose each is, and how much it counts.

    `users` are those that windows are recorded or drawn as, one each; `targets` are what the judge is to answer.
    """

    windows: Windows
    users: Users
    targets: identity.Targets
    weights: identity.Weights

    def pick(self, rows: np.ndarray) -> "TrainingSet":
        """Returns the windows at these positions, or where a mask is true."""
        return TrainingSet(*(field[rows] for field in self))


Source = Callable[[np.random.Generator], TrainingSet]  # windows that are added to recorded ones


def label_windows(windows: Windows, users: Users, num_users: int) -> TrainingSet:
    """Returns windows that are each of one user and count alike."""
    return TrainingSet(windows, users, np.eye(num_users, dtype=np.float32)[users], np.ones(len(users)))


def soften_labels(
    plain: TrainingSet,
    files: Sequence[str],
    labels: Mapping[str, tuple[float, Mapping[str, float]]],
    names: Sequence[str],
) -> TrainingSet:
    """Returns windows with the weights and soft labels (name of a user → share) that are told of their files; the
    others stay as they are. InputError for a user whom the judges do not know.
    """
    targets, weights = plain.targets.copy(), plain.weights.copy()
    for row, file in enumerate(files):
        if file not in labels:
            continue
        weights[row], shares = labels[file]
        if strangers := shares.keys() - set(names):
            raise InputError(
                f"the label of '{file}' names '{min(strangers)}', which is no user of this model: remove it"
            )
        targets[row] = [shares.get(name, 0.0) for name in names]
    return plain._replace(targets=targets, weights=weights)


def join_training_sets(*sets: TrainingSet) -> TrainingSet:
    """Returns the windows of all."""
    return TrainingSet(*(np.concatenate(fields) for fields in zip(*sets, strict=True)))


def classical_source(name: str, recorded: TrainingSet, share: float) -> Source:
    """Returns a source of changed copies, `share` times as many as recorded ones of each user."""

    def make(rng: np.random.Generator) -> TrainingSet:
        rows = sample_like(recorded.users, recorded.users, rng, share)
        changed = change_classically(name, recorded.windows, recorded.users, rows, rng)
        return recorded.pick(rows)._replace(windows=changed)

    return make


def pool_source(pool: TrainingSet, recorded: TrainingSet, share: float) -> Source:
    """Returns a source of windows of a pool, `share` times as many as recorded ones of each user; they repeat
    themselves where the pool has fewer.
    """
    return lambda rng: pool.pick(sample_like(recorded.users, pool.users, rng, share))


def augmentation_curve(
    train: WindowSet,
    test: WindowSet,
    generated: WindowSet,
    fit: TrainJudge,
    budgets: tuple[int, ...] = BUDGETS,
    shares: tuple[float, ...] = ADDED_SHARES,
    seeds: int = NUM_SEEDS,
) -> list[AugmentationPoint]:
    """Returns accuracies on `test` of judges trained on real windows and added ones.

    A share for which some user has too few generated windows has no point of 'generated'; a budget above a user's
    number of real windows has no points.
    """
    accuracies: dict[tuple[int, str, float], list[float]] = {}
    fewest = min(np.bincount(train.users)[np.unique(train.users)])
    for budget, seed in Bar([(b, s) for b in budgets if b <= fewest for s in range(seeds)], desc="training judges"):
        rng = np.random.default_rng([seed, budget])
        real = train.pick(limit_per_user(train.users, budget, rng)) if budget else train
        judge = fit(real.windows, real.users, seed)
        accuracies.setdefault((budget, "real", 0.0), []).append(measure_accuracy(judge, test))
        for share in shares:
            for name, x, users in augmentation_sources(real, generated, share, rng):
                judge = fit(np.concatenate([real.windows, x]), np.concatenate([real.users, users]), seed)
                accuracies.setdefault((budget, name, share), []).append(measure_accuracy(judge, test))
    return [AugmentationPoint(*key, float(np.mean(v)), min(v), max(v)) for key, v in accuracies.items()]


def limit_per_user(users: Users, count: int, rng: np.random.Generator) -> Rows:
    """Returns rows of at most `count` windows of each user, at random."""
    return np.concatenate([rng.permutation(np.flatnonzero(users == u))[:count] for u in np.unique(users)])


def measure_accuracy(judge: Judge, test: WindowSet) -> float:
    """Returns the share of windows whose user the judge names."""
    return float((judge.probabilities(test.windows).argmax(1) == test.users).mean())


def correct_mask(
    train: WindowSet, test: WindowSet, fit: TrainJudge = identity.fit_linear
) -> Bool[np.ndarray, " unseen"]:
    """Returns which test windows a judge trained on `train` names correctly."""
    judge = fit(train.windows, train.users, 0)
    return judge.probabilities(test.windows).argmax(1) == test.users
