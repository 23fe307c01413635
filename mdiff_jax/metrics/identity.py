"""Independent judges of identity: they share neither weights nor features with the model's encoder.

A judge is trained on the training split alone, and is worth what it scores on real windows of unseen walks. Users are
0 … K-1, and column k of its probabilities is user k.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from mdiff_jax.runtime.array_types import Windows
from mdiff_jax.runtime.errors import InputError

DOPPLER_BANDS = 32  # Doppler rows are pooled to so many
TIME_FREQUENCIES = 16  # frequencies along time that are kept: 4 steps a window are the 4th
RECOGNITION_THRESHOLD = 0.8  # probability from which a user counts as recognised
Users = Int[np.ndarray, " windows"]
Probabilities = Float[np.ndarray, "windows users"]
Targets = Float[np.ndarray, "windows users"]  # whose a window is: shares of users, which add up to 1
Weights = Float[np.ndarray, " windows"]


@runtime_checkable
class Judge(Protocol):
    """A trained classifier of windows: the linear judge below, and the one in `cnn_classifier`."""

    def probabilities(self, windows: Windows) -> Probabilities: ...

    def features(self, windows: Windows) -> Float[np.ndarray, "windows dim"]: ...


class LinearJudge(NamedTuple):
    """Logistic regression on features that a shift in time does not change."""

    classifier: Pipeline

    def probabilities(self, windows: Windows) -> Probabilities:
        """Returns a column per user up to the highest index; a user without training windows gets 0."""
        seen = self.classifier.classes_
        out = np.zeros((len(windows), seen.max() + 1), np.float32)
        out[:, seen] = self.classifier.predict_proba(linear_features(windows))
        return out

    def features(self, windows: Windows) -> Float[np.ndarray, "windows dim"]:
        """Returns the judge's features, standardised on its training windows and clipped to ±3: outliers would dominate
        a kernel of third order.
        """
        return np.clip(self.classifier[0].transform(linear_features(windows)), -3.0, 3.0)


def linear_features(windows: Windows) -> Float[np.ndarray, "windows dim"]:
    """Returns |FFT| over time of pooled Doppler rows, on a logarithmic scale."""
    bands = np.array_split(windows, min(DOPPLER_BANDS, windows.shape[1]), axis=1)
    pooled = np.stack([band.mean(1) for band in bands], axis=1)
    spectrum = np.abs(np.fft.rfft(pooled, axis=2))[:, :, :TIME_FREQUENCIES]
    return np.log1p(spectrum).reshape(len(windows), -1).astype(np.float32)


def fit_linear(windows: Windows, users: Users, seed: int = 0) -> LinearJudge:
    """Trains a judge on these windows; InputError unless they are of two users at least."""
    return fit_linear_softly(windows, one_hot(users), np.ones(len(users)), seed)


def fit_linear_softly(windows: Windows, targets: Targets, weights: Weights, seed: int = 0) -> LinearJudge:
    """Trains a judge on windows that belong to several users in shares: each counts once for every one of them, with
    its weight times the share. InputError unless two users have a share.
    """
    rows, users = np.nonzero(targets * weights[:, None])
    check_users(users)
    parts = weights[rows] * targets[rows, users]
    regression = LogisticRegression(C=0.01, max_iter=1000, random_state=seed)
    judge = make_pipeline(StandardScaler(), regression)
    weighted = {"standardscaler__sample_weight": parts, "logisticregression__sample_weight": parts}
    with threadpool_limits(1, "blas"):  # products this small take 20 times as long where threads wait for busy cores
        return LinearJudge(judge.fit(linear_features(windows)[rows], users, **weighted))


def one_hot(users: Users) -> Targets:
    """Returns targets of windows that are each of one user, a column per user up to the highest index."""
    return np.eye(int(users.max()) + 1, dtype=np.float32)[users]


def check_users(users: Users) -> None:
    """Raises InputError unless there are two users."""
    if len(np.unique(users)) < 2:
        raise InputError(f"a judge of identity needs windows of 2 users, got {len(np.unique(users))}: add a user")


def score_identity(judge: Judge, windows: Windows, users: Users) -> dict[str, float]:
    """Returns 'accuracy'; 'recognised', the share named correctly with a probability above RECOGNITION_THRESHOLD;
    'balanced', the mean of the users' accuracies; 'calibration', the expected calibration error.
    """
    p = judge.probabilities(windows)
    correct = p.argmax(1) == users
    return {
        "accuracy": float(correct.mean()),
        "recognised": float((correct & (p.max(1) > RECOGNITION_THRESHOLD)).mean()),
        "balanced": balanced_accuracy(p, users),
        "calibration": calibration_error(p, users),
    }


def accuracy_by_user(p: Probabilities, users: Users) -> dict[int, float]:
    """Returns the accuracy for each user who has windows."""
    present = np.unique(users)
    recalls = metrics.recall_score(users, p.argmax(1), labels=present, average=None)
    return dict(zip(present.tolist(), recalls.tolist(), strict=True))


def balanced_accuracy(p: Probabilities, users: Users) -> float:
    """Returns the mean accuracy of the users who have windows."""
    return float(np.mean(list(accuracy_by_user(p, users).values())))


def worst_accuracy(p: Probabilities, users: Users) -> float:
    """Returns the lowest accuracy of the users who have windows."""
    return min(accuracy_by_user(p, users).values())


def confusion_matrix(p: Probabilities, users: Users) -> Int[np.ndarray, "users users"]:
    """Returns counts of windows: row the true user, column the user whom the judge names. Users whom the judge does not
    know have no row.
    """
    known = users < p.shape[1]
    table = np.zeros((p.shape[1], p.shape[1]), int)
    np.add.at(table, (users[known], p.argmax(1)[known]), 1)
    return table


def calibration_error(p: Probabilities, users: Users, bins: int = 10) -> float:
    """Returns the mean of |confidence - accuracy| over bins of confidence, weighted by windows (Guo et al. 2017,
    equation 3).
    """
    confidence, correct = p.max(1), p.argmax(1) == users
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    differences = np.bincount(bin_of, weights=confidence - correct, minlength=bins)
    return float(np.abs(differences).sum() / len(p))


def is_too_weak(accuracy: float, users: int) -> bool:
    """Returns whether a judge's accuracy on real windows is less than half-way from chance to certainty."""
    return accuracy < 0.5 * (1 + 1 / users)
