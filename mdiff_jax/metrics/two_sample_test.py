"""Classifier two-sample test: can a classifier tell generated windows from recorded ones (Lopez-Paz and Oquab 2017)?

Held-out AUC of logistic regressions on several kinds of features: 0.5 where nothing tells two sets apart, 1 where every
window gives itself away. Windows of a recording stay in one fold, so that what makes a recording recognizable does not
count, and each user weighs the same in both sets, so that who it is does not count either.
"""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

from mdiff_jax.data import spectrogram
from mdiff_jax.metrics import comparison
from mdiff_jax.metrics.reference import MeasuredSet
from mdiff_jax.runtime.array_types import Windows

FOLDS = 5
DRAWS = 10  # of generated windows and halves of the recorded ones
MIN_WINDOWS = 2 * FOLDS  # in each of the two sets
PENALTY = 0.1  # scikit-learn's C
LEVEL_BINS = 16
GRADIENT_SIZE, BLOCK_SIZE = 64, 8  # rows and columns that differences are taken at, and averaged over
AREA_SIZE = 16  # rows and columns of the averages
JUDGE_FEATURES = "judge features"
KINDS = ("row statistics", "levels", JUDGE_FEATURES, "gradients", "16x16 averages")
Features = Float[np.ndarray, "n dim"]
Others = Float[np.ndarray, "m dim"]


# ----------------------------------------------------------------------------- features


def window_features(windows: Windows) -> dict[str, Float[np.ndarray, "windows dim"]]:
    """Returns four kinds of features of windows (N, F, T) in [-1, 1]."""
    return {
        "row statistics": np.concatenate([windows.mean(2), windows.std(2)], axis=1),
        "levels": level_histogram(windows, LEVEL_BINS),
        "gradients": gradient_features(resize_windows(windows, GRADIENT_SIZE)),
        "16x16 averages": resize_windows(windows, AREA_SIZE).reshape(len(windows), -1),
    }


def level_histogram(windows: Windows, bins: int) -> Float[np.ndarray, "windows bins"]:
    """Returns the share of pixels in each of so many equal bands of levels, the lowest first."""
    band = np.clip((windows + 1) / 2 * bins, 0, bins - 1).astype(np.int64)
    band += bins * np.arange(len(windows))[:, None, None]
    counts = np.bincount(band.ravel(), minlength=bins * len(windows)).reshape(-1, bins)
    return (counts / windows[0].size).astype(np.float32)


def gradient_features(windows: Windows) -> Float[np.ndarray, "windows dim"]:
    """Returns mean absolute differences along both axes, of each row and of each block."""
    kinds = []
    for axis in (1, 2):
        size = abs(np.diff(windows, axis=axis))
        starts = [np.arange(0, n, BLOCK_SIZE) for n in size.shape[1:]]
        sums = np.add.reduceat(np.add.reduceat(size, starts[0], axis=1), starts[1], axis=2)
        kinds += [size.mean(2), sums.reshape(len(windows), -1)]
    return np.concatenate(kinds, axis=1)


def resize_windows(windows: Windows, most: int) -> Float[np.ndarray, "windows rows columns"]:
    """Averages windows down to at most so many rows and columns."""
    rows, columns = (min(most, n) for n in windows.shape[1:])
    return np.stack([spectrogram.resize(window, (rows, columns)) for window in windows])


# ----------------------------------------------------------------------------- the test


class Fold(NamedTuple):
    """Positions in two sets joined."""

    train: Int[np.ndarray, " train"]
    weights: Float[np.ndarray, " train"]  # of each of them
    test: Int[np.ndarray, " test"]


class Separability(NamedTuple):
    """AUC of each draw, by one kind of features."""

    generated: Float[np.ndarray, " draws"]  # generated windows against half of the recorded ones
    real: Float[np.ndarray, " draws"]  # the other half against this one
    rewritten: Float[np.ndarray, " draws"] | None  # the other half, read and written again; None where not measured


def tell_from_recorded(test: MeasuredSet, generated: MeasuredSet) -> dict[str, Separability] | None:
    """Returns how well each kind of features tells generated windows from recorded ones; None where there are too few
    recordings for that. Sets are as large as half of the recorded windows at most.
    """
    known = test.window_set.independent_groups()
    alone = known.max() + 1 + np.arange(generated.count())  # every generated window is a group of its own
    recorded, made = (test.window_set.users, known), (generated.window_set.users, alone)
    draws = list(itertools.islice(comparison.paired_draws(test, generated), DRAWS))
    firsts, chosen, others = ([draw[k] for draw in draws] for k in (1, 0, 2))
    made_folds, real_folds = (
        [
            make_folds(recorded[0][first], recorded[1][first], labels[0][rows], labels[1][rows], seed)
            for seed, (first, rows) in enumerate(zip(firsts, drawn, strict=True))
        ]
        for labels, drawn in ((made, chosen), (recorded, others))
    )
    if not all((*made_folds, *real_folds)):
        return None

    def measure(kind: str, second: Features, drawn: list[np.ndarray], folds: list[list[Fold]]) -> np.ndarray:
        real, each = select_features(test, kind), zip(firsts, drawn, folds, strict=True)
        return np.array([held_out_auc(real[first], second[rows], fold) for first, rows, fold in each])

    return {
        kind: Separability(
            measure(kind, select_features(generated, kind), chosen, made_folds),
            measure(kind, select_features(test, kind), others, real_folds),
            measure(kind, test.rewritten[kind], others, real_folds) if kind in test.rewritten else None,
        )
        for kind in KINDS
    }


def select_features(windows: MeasuredSet, kind: str) -> Features:
    return windows.features[windows.verdict_judge] if kind == JUDGE_FEATURES else windows.files[kind]


def make_folds(
    first_users: Int[np.ndarray, " n"],
    first_groups: Int[np.ndarray, " n"],
    second_users: Int[np.ndarray, " m"],
    second_groups: Int[np.ndarray, " m"],
    seed: int,
) -> list[Fold]:
    """Returns at most FOLDS folds of two sets; no group is trained on and tested on.

    Both sets weigh the same in each user's windows to train on, and a user who is in one of them only is left out:
    where a user's windows of one set are held out, who it is would say which set a window is from, and wrongly.
    """
    users, groups = np.concatenate([first_users, second_users]), np.concatenate([first_groups, second_groups])
    kind = np.repeat([0, 1], [len(first_users), len(second_users)])
    count = min(FOLDS, len(np.unique(first_groups)), len(np.unique(second_groups)))
    if count < 2:
        return []
    folds = []
    for train, test in StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(groups, kind, groups):
        weights = np.zeros(len(train))
        for user in np.unique(users):
            mine = [(users[train] == user) & (kind[train] == k) for k in (0, 1)]
            if all(part.any() for part in mine):
                for part in mine:
                    weights[part] = np.sum(mine) / (2 * part.sum())
        if weights.any() and len(np.unique(kind[test])) == 2:
            folds.append(Fold(train[weights > 0], weights[weights > 0], test))
    return folds


def held_out_auc(first: Features, second: Others, folds: list[Fold]) -> float:
    """Returns the AUC of telling `second` from `first`, the mean over folds."""
    x, kind = np.concatenate([first, second]), np.repeat([0, 1], [len(first), len(second)])
    values = []
    for train, weights, test in folds:
        scale = StandardScaler().fit(x[train])
        # liblinear takes no threads, which cost more than sets of this size
        model = LogisticRegression(C=PENALTY, solver="liblinear", random_state=0)
        model.fit(scale.transform(x[train]), kind[train], sample_weight=weights)
        values.append(roc_auc_score(kind[test], model.decision_function(scale.transform(x[test]))))
    return float(np.mean(values))
