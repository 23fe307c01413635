"""Classifier two-sample test: can a classifier tell generated windows from recorded ones (Lopez-Paz and Oquab 2017)?

Held-out AUC of logistic regressions on several kinds of features: 0.5 where nothing tells two sets apart, 1 where every
window gives itself away. Windows of a recording stay in one fold, so that what makes a recording recognizable does not
count; sets of one distribution then measure somewhat below 0.5, since what a fold lacks in one set is left over in the
other.
"""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mdiff_jax.data import spectrogram
from mdiff_jax.metrics import comparison
from mdiff_jax.metrics.reference import MeasuredSet
from mdiff_jax.runtime.array_types import Windows

FOLDS = 5
DRAWS = 10  # of generated windows and halves of the recorded ones
MIN_WINDOWS, MIN_GROUPS = 2 * FOLDS, 2  # in each of the two sets
PENALTY = 0.1  # scikit-learn's C
LEVEL_BINS = 16
GRADIENT_SIZE, BLOCK_SIZE = 64, 8  # rows and columns that differences are taken at, and averaged over
AREA_SIZE = 16  # rows and columns of the averages
JUDGE_FEATURES = "judge features"
KINDS = ("row statistics", "levels", JUDGE_FEATURES, "gradients", "16x16 averages")
Features = Float[np.ndarray, "n dim"]
Others = Float[np.ndarray, "m dim"]
Folds = list[tuple[np.ndarray, np.ndarray]]  # positions in two sets joined, to train and to test on


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


class Separability(NamedTuple):
    """AUC of each draw, by one kind of features."""

    generated: Float[np.ndarray, " draws"]  # generated windows against half of the recorded ones
    real: Float[np.ndarray, " draws"]  # the other half against this one
    rewritten: Float[np.ndarray, " draws"] | None  # the other half, read and written again; None where not measured


def tell_from_recorded(test: MeasuredSet, generated: MeasuredSet) -> dict[str, Separability] | None:
    """Returns how well each kind of features tells generated windows from recorded ones; None where a half of the
    recorded windows is of fewer than MIN_GROUPS recordings. Sets are as large as half of the recorded windows at most.
    """
    groups = test.window_set.independent_groups()
    alone = groups.max() + 1 + np.arange(generated.count())  # every generated window is a group of its own
    draws = list(itertools.islice(comparison.paired_draws(test, generated), DRAWS))
    if min(len(np.unique(groups[half])) for _, one, other in draws for half in (one, other)) < MIN_GROUPS:
        return None
    ones, others, chosen = ([draw[k] for draw in draws] for k in (1, 2, 0))
    real_folds, made_folds = (
        [make_folds(groups[one], second[rows], seed) for seed, (one, rows) in enumerate(zip(ones, drawn, strict=True))]
        for second, drawn in ((groups, others), (alone, chosen))
    )

    def measure(kind: str, second: Features, drawn: list[np.ndarray], folds: list[Folds]) -> np.ndarray:
        first = select_features(test, kind)
        each = zip(ones, drawn, folds, strict=True)
        return np.array([held_out_auc(first[one], second[rows], fold) for one, rows, fold in each])

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


def make_folds(first: Int[np.ndarray, " n"], second: Int[np.ndarray, " m"], seed: int) -> Folds:
    """Returns at most FOLDS folds of two sets with these groups; a group is never trained on and tested on."""
    kind = np.repeat([0, 1], [len(first), len(second)])
    folds = min(FOLDS, len(np.unique(first)), len(np.unique(second)))
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return [
        (train, test)
        for train, test in split.split(kind[:, None], kind, np.concatenate([first, second]))
        if len(np.unique(kind[train])) == len(np.unique(kind[test])) == 2
    ]


def held_out_auc(first: Features, second: Others, folds: Folds) -> float:
    """Returns the AUC of telling `second` from `first`, the mean over folds."""
    x, kind = np.concatenate([first, second]), np.repeat([0, 1], [len(first), len(second)])
    values = []
    for train, test in folds:
        # liblinear takes no threads, which cost more than sets of this size
        regression = LogisticRegression(C=PENALTY, solver="liblinear", random_state=0)
        model = make_pipeline(StandardScaler(), regression).fit(x[train], kind[train])
        values.append(roc_auc_score(kind[test], model.decision_function(x[test])))
    return float(np.mean(values))
