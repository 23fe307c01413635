"""Does adding it help? Judges taught by real windows, with and without others, on real windows of unseen walks.

Generated windows have to beat what costs nothing: shifted, noisy, masked and mixed copies of the real ones, in the same
number and with the same training of the judge.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from tqdm import tqdm

from mdiff_jax.metrics import bootstrap, identity
from mdiff_jax.metrics.identity import Judge, Users
from mdiff_jax.metrics.reference import WindowSet
from mdiff_jax.runtime.array_types import Windows

SHARES = (0.25, 0.5, 1.0, 2.0)  # of the real windows, added to them
BUDGETS = (10, 20, 50, 0)  # real windows a user; 0: all
SEEDS = 3
Rows = Int[np.ndarray, " rows"]
Others = Int[np.ndarray, " others"]
Fit = Callable[[Windows, Users, int], Judge]


class AugmentationPoint(NamedTuple):
    """One place on the curve: mean accuracy over seeds, the lowest and the highest."""

    budget: int  # real windows a user at most; 0: all
    source: str  # 'generated', or the name of a classical augmentation; 'real' with share 0
    share: float
    accuracy: float
    low: float
    high: float


# ----------------------------------------------------------------------------- classical augmentation


def shift_in_time(windows: Windows, rng: np.random.Generator) -> Windows:
    """Rolled along time."""
    by = rng.integers(windows.shape[2], size=len(windows))
    return np.stack([np.roll(w, k, 1) for w, k in zip(windows, by, strict=True)])


def add_noise(windows: Windows, rng: np.random.Generator) -> Windows:
    level = 0.1 * rng.uniform(size=(len(windows), 1, 1))
    return np.clip(windows + level * rng.standard_normal(windows.shape), -1, 1).astype(np.float32)


def mask_spans(windows: Windows, rng: np.random.Generator) -> Windows:
    """A span of an eighth of the frames and one of the rows at the floor (Park et al. 2019)."""
    out = windows.copy()
    for axis in (1, 2):
        size = windows.shape[axis]
        place = np.arange(size) - rng.integers(size, size=(len(windows), 1))
        hidden = (place >= 0) & (place < size // 8)
        out = np.where(np.expand_dims(hidden, 3 - axis), np.float32(-1), out)
    return out


def mixup(windows: Windows, users: Users, rows: Rows, rng: np.random.Generator) -> Float[np.ndarray, "rows freq time"]:
    """Each of these rows mixed with another window of the same user (Zhang et al. 2018, labels left as they are)."""
    other = bootstrap.pair_rows_by_user(users[rows], users, rng)
    weight = rng.beta(0.4, 0.4, size=(len(rows), 1, 1))
    return (weight * windows[rows] + (1 - weight) * windows[other]).astype(np.float32)


CLASSICAL = {"shift": shift_in_time, "noise": add_noise, "mask": mask_spans}


# ----------------------------------------------------------------------------- who is taught by what


def sample_like(wanted: Users, users: Others, rng: np.random.Generator, share: float = 1.0) -> Rows:
    """Rows of `users`: user after user `share` times as many as there are in `wanted`, each once more before any is
    taken again. What is not there is not taken.
    """
    rows = []
    for user in np.unique(wanted):
        pool = rng.permutation(np.flatnonzero(users == user))
        rows.append(np.resize(pool, round(share * (wanted == user).sum()) if len(pool) else 0))
    return np.concatenate(rows)


def augmentation_sources(
    real: WindowSet, generated: WindowSet, share: float, rng: np.random.Generator
) -> Iterator[tuple[str, Windows, Users]]:
    """From each source `share` times as many windows as are real, user by user; generated ones only where that many
    different ones are there.
    """
    rows = sample_like(real.users, generated.users, rng, share)
    if len(rows) == len(set(rows.tolist())) and set(real.users.tolist()) <= set(generated.users.tolist()):
        yield "generated", generated.windows[rows], generated.users[rows]
    rows = sample_like(real.users, real.users, rng, share)
    for name, change in CLASSICAL.items():
        yield name, change(real.windows[rows], rng), real.users[rows]
    yield "mixup", mixup(real.windows, real.users, rows, rng), real.users[rows]


def augmentation_curve(
    train: WindowSet,
    test: WindowSet,
    generated: WindowSet,
    fit: Fit,
    budgets: tuple[int, ...] = BUDGETS,
    shares: tuple[float, ...] = SHARES,
    seeds: int = SEEDS,
) -> list[AugmentationPoint]:
    """Accuracy on `test` of judges taught by real windows and so many others. A share for which there are not enough
    generated windows of each user has no point of theirs, nor has a budget that a user's windows fall short of.
    """
    found: dict[tuple[int, str, float], list[float]] = {}
    fewest = min(np.bincount(train.users)[np.unique(train.users)])
    for budget, seed in tqdm([(b, s) for b in budgets if b <= fewest for s in range(seeds)], desc="teaching judges"):
        rng = np.random.default_rng([seed, budget])
        real = train.pick(limit_per_user(train.users, budget, rng)) if budget else train
        found.setdefault((budget, "real", 0.0), []).append(accuracy(fit(real.windows, real.users, seed), test))
        for share in shares:
            for name, x, users in augmentation_sources(real, generated, share, rng):
                judge = fit(np.concatenate([real.windows, x]), np.concatenate([real.users, users]), seed)
                found.setdefault((budget, name, share), []).append(accuracy(judge, test))
    return [AugmentationPoint(*key, float(np.mean(v)), min(v), max(v)) for key, v in found.items()]


def limit_per_user(users: Users, count: int, rng: np.random.Generator) -> Rows:
    """At most `count` windows of each user."""
    return np.concatenate([rng.permutation(np.flatnonzero(users == u))[:count] for u in np.unique(users)])


def accuracy(judge: Judge, test: WindowSet) -> float:
    return float((judge.probabilities(test.windows).argmax(1) == test.users).mean())


def correct_mask(teacher: WindowSet, test: WindowSet) -> Bool[np.ndarray, " unseen"]:
    """Which unseen windows a linear judge taught by these names rightly."""
    judge = identity.fit_linear(teacher.windows, teacher.users, seed=0)
    return judge.probabilities(test.windows).argmax(1) == test.users
