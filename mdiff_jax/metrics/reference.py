"""What windows are held against, made once from the training windows; and what is then measured of each window, once.

All figures of the report, their intervals and the halves of real windows are picked from these measures by position.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from mdiff_jax.data import splits
from mdiff_jax.metrics import cnn_classifier, identity, kinematics, memorization
from mdiff_jax.runtime.array_types import Windows
from mdiff_jax.runtime.errors import InputError

CHUNK = 256  # windows
INDEPENDENT_DISTANCE = 2**20  # between places on the time axis of windows that surely share nothing
LINEAR_JUDGE, CONVOLUTIONAL_JUDGE, OWN_FEATURES = "linear judge", "convolutional judge", "own features"
FeatureExtractor = Callable[[Windows], Float[np.ndarray, "windows dim"]]


class WindowSet(NamedTuple):
    """Windows in [-1, 1] and the index of each one's user. `recordings` and `indices` say which walk a real window is
    from and where in it, and windows of a walk within `gap` indices share pixels; without them each window counts as
    independent, which holds for generated ones only.
    """

    windows: Windows
    users: Int[np.ndarray, " windows"]
    recordings: Shaped[np.ndarray, " windows"] | None = None
    indices: Int[np.ndarray, " windows"] | None = None
    files: Shaped[np.ndarray, " windows"] | None = None
    gap: int = splits.DEFAULT_GAP

    def units(self) -> Int[np.ndarray, " windows"]:
        """A number for what is independent of each other: a user's walk, or the window itself."""
        if self.recordings is None:
            return np.arange(len(self.users))
        return np.unique(self._owners(), return_inverse=True)[1]

    def places(self) -> Int[np.ndarray, " windows"]:
        """Places on a time axis, where windows that are `gap` or less apart share pixels."""
        if self.recordings is None or self.indices is None or (self.indices < 0).any():
            return np.arange(len(self.users)) * INDEPENDENT_DISTANCE
        return splits.time_positions(self._owners(), self.indices, self.gap)

    def pick(self, rows: np.ndarray) -> "WindowSet":
        """These windows, by positions or by a mask."""
        return WindowSet(*(None if field is None else field[rows] for field in self[:-1]), self.gap)

    def in_order(self) -> "WindowSet":
        """The same set in an order of its own: that of files then changes nothing that is drawn at random."""
        ramp = np.linspace(1, 2, self.windows[0].size, dtype=np.float32).reshape(self.windows.shape[1:])
        return self.pick(np.argsort((self.windows * ramp).sum((1, 2), dtype=np.float64), kind="stable"))

    def _owners(self) -> np.ndarray:
        return np.array([f"{u}/{r}" for u, r in zip(self.users, self.recordings, strict=True)])


class MeasuredSet(NamedTuple):
    """A set of windows and what was measured of each."""

    set: WindowSet
    verdict_judge: str  # of several judges the one whose verdict counts
    probabilities: dict[str, identity.Probabilities]  # of each judge
    features: dict[str, Float[np.ndarray, "windows dim"]]  # to take distances in
    physics: kinematics.Measures
    similarity: Float[np.ndarray, " windows"]  # to the nearest training window, whole
    nearest: Int[np.ndarray, " windows"]  # its position
    part: Float[np.ndarray, " windows"] | None  # to the nearest half, or more, of a training window
    nearest_part: Int[np.ndarray, " windows"] | None

    def count(self) -> int:
        """How many windows."""
        return len(self.set.users)

    def pick(self, rows: np.ndarray) -> "Measured":
        """These windows, by positions or by a mask."""
        tables = [{name: v[rows] for name, v in table.items()} for table in self[2:5]]
        similarities = (None if v is None else v[rows] for v in self[5:])
        return MeasuredSet(self.set.pick(rows), self.verdict_judge, *tables, *similarities)

    def light(self) -> "Measured":
        """The same without the windows, to be picked from many times."""
        return self._replace(set=self.set._replace(windows=self.set.windows[:, :0, :0]))

    def right(self, judge: str) -> np.ndarray:
        """Where this judge names the user that the window is said to be of."""
        return self.probabilities[judge].argmax(1) == self.set.users

    def recognised(self, judge: str) -> np.ndarray:
        """Right, and sure of it."""
        return self.right(judge) & (self.probabilities[judge].max(1) > identity.RECOGNITION_THRESHOLD)


class Reference(NamedTuple):
    """Judges and training windows."""

    train: WindowSet
    zero_doppler: float
    judges: dict[str, identity.Judge]
    verdict_judge: str  # the one of them whose verdict counts
    extractors: dict[str, FeatureExtractor]

    def measure(self, windows: WindowSet, parts: bool = True) -> MeasuredSet:
        """All measures; without `parts` what would be a copy of half a window is not looked for, which saves time."""
        x, training = windows.windows, self.train.windows
        return MeasuredSet(
            windows,
            self.verdict_judge,
            {name: judge.probabilities(x) for name, judge in self.judges.items()},
            {name: extract(x) for name, extract in self.extractors.items()},
            measure_in_chunks(lambda few: kinematics.measure_kinematics(few, self.zero_doppler), x),
            *memorization.nearest_training_window(x, training),
            *(memorization.nearest_overlapping_window(x, training) if parts else (None, None)),
        )


def to_grayscale(windows: np.ndarray) -> Windows:
    """(N, F, T), or with colours (N, F, T, 3), → (N, F, T), the mean of the colours."""
    return windows.mean(-1) if windows.ndim == 4 else windows


def measure_in_chunks(measure: Callable[[Windows], kinematics.Measures], windows: Windows) -> kinematics.Measures:
    """`measure` of all windows, of few at once: it needs several times their memory."""
    parts = [measure(windows[i : i + CHUNK]) for i in range(0, len(windows), CHUNK)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def make_reference(
    train: WindowSet, zero_doppler: float | None, convolutional: bool = True, own: FeatureExtractor | None = None
) -> Reference:
    """Trains the judges on `train`: a second for the linear one, a quarter of a minute for the convolutional one.

    `own` is a function of windows (N, F, T) in [-1, 1] to features (N, D), in which distances are then taken too.
    """
    zero = kinematics.ZERO_DOPPLER if zero_doppler is None else zero_doppler
    judges: dict[str, identity.Judge] = {LINEAR_JUDGE: identity.fit_linear(train.windows, train.users, seed=0)}
    if convolutional:
        judges[CONVOLUTIONAL_JUDGE] = cnn_classifier.fit_cnn(
            train.windows, train.users, seed=1, steps=cnn_classifier.choose_training_steps(len(train.users))
        )
    extractors: dict[str, FeatureExtractor] = {name: judge.features for name, judge in judges.items()}
    if own is not None:
        extractors[OWN_FEATURES] = check_features(own)
    return Reference(train, zero, judges, CONVOLUTIONAL_JUDGE if convolutional else LINEAR_JUDGE, extractors)


def check_features(own: FeatureExtractor) -> FeatureExtractor:
    """InputError where somebody's own function gives no features."""

    def extract(windows: Windows) -> np.ndarray:
        out = np.asarray(own(windows), np.float32)
        if out.ndim != 2 or len(out) != len(windows) or not np.isfinite(out).all():
            raise InputError(
                f"the feature function made {out.shape} of windows {windows.shape}: it has to make finite numbers of "
                f"shape ({len(windows)}, D)"
            )
        return out

    return extract
