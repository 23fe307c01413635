"""The reference made once from the training windows, and the measures taken once of each window against it.

All figures of the report, their intervals and the halves of real windows select from these measures by position.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from mdiff_jax.data import splits
from mdiff_jax.metrics import cnn_classifier, identity, kinematics, memorization
from mdiff_jax.runtime.array_types import Windows
from mdiff_jax.runtime.errors import InputError, one_line
from mdiff_jax.runtime.progress import doing

CHUNK_SIZE = 256  # windows
INDEPENDENT_DISTANCE = 2**20  # on the time axis, between windows that share no pixels
LINEAR_JUDGE, CONVOLUTIONAL_JUDGE, OWN_FEATURES = "linear judge", "convolutional judge", "own features"
NOT_MEASURED: dict[str, np.ndarray] = {}
FeatureExtractor = Callable[[Windows], Float[np.ndarray, "windows dim"]]


class WindowSet(NamedTuple):
    """Windows in [-1, 1] and the index of each one's user.

    `recordings` and `indices` say which walk a real window is from and where in it, and windows of a walk within `gap`
    indices share pixels; without them each window counts as independent, which holds for generated ones only.
    """

    windows: Windows
    users: Int[np.ndarray, " windows"]
    recordings: Shaped[np.ndarray, " windows"] | None = None
    indices: Int[np.ndarray, " windows"] | None = None
    files: Shaped[np.ndarray, " windows"] | None = None
    gap: int = splits.DEFAULT_GAP
    frames: Int[np.ndarray, " windows"] | None = None  # that each window had before it was brought to this size

    def independent_groups(self) -> Int[np.ndarray, " windows"]:
        """Returns a group number of each window; groups, a user's walk or the window itself, are independent."""
        if self.recordings is None:
            return np.arange(len(self.users))
        return np.unique(self.walk_names(), return_inverse=True)[1]

    def time_positions(self) -> Int[np.ndarray, " windows"]:
        """Returns positions on a time axis, where windows that are `gap` or less apart share pixels."""
        if self.recordings is None or self.indices is None or (self.indices < 0).any():
            return np.arange(len(self.users)) * INDEPENDENT_DISTANCE
        return splits.time_positions(self.walk_names(), self.indices, self.gap)

    def pick(self, rows: np.ndarray) -> "WindowSet":
        """Returns the windows at these positions, or where a mask is true."""
        fields = {name: field for name, field in self._asdict().items() if field is not None and name != "gap"}
        return WindowSet(**self._asdict() | {name: field[rows] for name, field in fields.items()})

    def sort_by_content(self) -> "WindowSet":
        """Returns the set ordered by its content, so that the order of files does not change random choices."""
        ramp = np.linspace(1, 2, self.windows[0].size, dtype=np.float32).reshape(self.windows.shape[1:])
        return self.pick(np.argsort((self.windows * ramp).sum((1, 2), dtype=np.float64), kind="stable"))

    def walk_names(self) -> Shaped[np.ndarray, " windows"]:
        """Returns a name of each real window's walk, the same in all sets of a data set."""
        return np.array([f"{u}/{r}" for u, r in zip(self.users, self.recordings, strict=True)])


class MeasuredSet(NamedTuple):
    """A set of windows and the measures of each.

    `files` and `rewritten` are those of `spectra.measure_files`, of the windows as their files hold them, and of the
    same windows read as the model reads them and written again; both are empty where they are not needed.
    """

    window_set: WindowSet
    verdict_judge: str  # of several judges the one whose verdict counts
    probabilities: dict[str, identity.Probabilities]  # of each judge
    features: dict[str, Float[np.ndarray, "windows dim"]]  # to take distances in
    physics: kinematics.Measures
    similarity: Float[np.ndarray, " windows"]  # to the training window most like it, by circular shifts
    nearest: Int[np.ndarray, " windows"]  # position of that window
    overlap_similarity: Float[np.ndarray, " windows"] | None  # the same over half of the columns or more
    overlap_nearest: Int[np.ndarray, " windows"] | None
    files: dict[str, Float[np.ndarray, "windows dim"]] = NOT_MEASURED
    rewritten: dict[str, Float[np.ndarray, "windows dim"]] = NOT_MEASURED

    def count(self) -> int:  # type: ignore[override]
        """Returns the number of windows."""
        return len(self.window_set.users)

    def pick(self, rows: np.ndarray) -> "MeasuredSet":
        """Returns the windows at these positions, or where a mask is true."""
        fields = self._asdict()
        for field, value in fields.items():
            if isinstance(value, Mapping):
                fields[field] = {name: v[rows] for name, v in value.items()}
            elif isinstance(value, np.ndarray):
                fields[field] = value[rows]
        return MeasuredSet(**fields | {"window_set": self.window_set.pick(rows)})

    def without_windows(self) -> "MeasuredSet":
        """Returns the set with empty windows, which is cheap to pick from."""
        return self._replace(window_set=self.window_set._replace(windows=self.window_set.windows[:, :0, :0]))

    def correct(self, judge: str) -> np.ndarray:
        """Returns where this judge names the user that the window is said to be of."""
        return self.probabilities[judge].argmax(1) == self.window_set.users

    def recognised(self, judge: str) -> np.ndarray:
        """Returns where this judge is correct with a probability above RECOGNITION_THRESHOLD."""
        return self.correct(judge) & (self.probabilities[judge].max(1) > identity.RECOGNITION_THRESHOLD)


class Reference(NamedTuple):
    """Training windows, and the judges and feature extractors made from them."""

    train: WindowSet
    originals: WindowSet  # windows that can have been copied: these, and those that users were enrolled from
    zero_doppler: float
    judges: dict[str, identity.Judge]
    verdict_judge: str  # the one of them whose verdict counts
    extractors: dict[str, FeatureExtractor]

    @property
    def num_users(self) -> int:
        """Returns the number of users whom the judges know; users enrolled later have higher indices."""
        return int(self.train.users.max()) + 1

    def measure(self, windows: WindowSet, overlaps: bool = True) -> MeasuredSet:
        """Returns all measures; without `overlaps` copies of a part of a window are not looked for, to save time."""
        x, training = windows.windows, self.originals.windows
        return MeasuredSet(
            windows,
            self.verdict_judge,
            {name: judge.probabilities(x) for name, judge in self.judges.items()},
            {name: extract(x) for name, extract in self.extractors.items()},
            self.measure_physics(windows),
            *memorization.nearest_training_window(x, training),
            *(memorization.nearest_overlapping_window(x, training) if overlaps else (None, None)),
        )

    def measure_physics(self, windows: WindowSet) -> kinematics.Measures:
        """Returns kinematic measures; the frames are those that are known, if they are."""
        measures = measure_in_chunks(lambda few: kinematics.measure_kinematics(few, self.zero_doppler), windows.windows)
        return measures if windows.frames is None else measures | {"frames": windows.frames.astype(float)}


def to_grayscale(windows: np.ndarray) -> Windows:
    """Converts (N, F, T), or with colours (N, F, T, 3), to (N, F, T), the mean of the colours."""
    return windows.mean(-1) if windows.ndim == 4 else windows


def measure_in_chunks(measure: Callable[[Windows], kinematics.Measures], windows: Windows) -> kinematics.Measures:
    """Returns `measure` of all windows, a chunk at a time, since it needs several times their memory."""
    parts = [measure(windows[i : i + CHUNK_SIZE]) for i in range(0, len(windows), CHUNK_SIZE)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def make_reference(
    train: WindowSet,
    zero_doppler: float | None,
    convolutional: bool = True,
    own: FeatureExtractor | None = None,
    enrolled: WindowSet | None = None,
) -> Reference:
    """Trains the judges on `train`: a second for the linear one, a quarter of a minute for the convolutional one.

    `own` is a function of windows (N, F, T) in [-1, 1] to features (N, D), in which distances are then taken too, tried
    before anything is trained; `enrolled` are windows of users whom the judges are not to know.
    """
    extractors: dict[str, FeatureExtractor] = {}
    if own is not None:
        extractors[OWN_FEATURES] = check_features(own)
        extractors[OWN_FEATURES](train.windows[:2])
    zero = kinematics.ZERO_DOPPLER if zero_doppler is None else zero_doppler
    with doing("teaching a linear judge"):
        judges: dict[str, identity.Judge] = {LINEAR_JUDGE: identity.fit_linear(train.windows, train.users, seed=0)}
    if convolutional:
        judges[CONVOLUTIONAL_JUDGE] = cnn_classifier.fit_cnn(
            train.windows, train.users, seed=1, steps=cnn_classifier.choose_training_steps(len(train.users))
        )
    extractors = {name: judge.features for name, judge in judges.items()} | extractors
    originals = train if enrolled is None else join_sets(train, enrolled)
    return Reference(train, originals, zero, judges, CONVOLUTIONAL_JUDGE if convolutional else LINEAR_JUDGE, extractors)


def join_sets(first: WindowSet, second: WindowSet) -> WindowSet:
    """Returns the windows, users and files of two sets as one."""
    windows, users = (np.concatenate(pair) for pair in zip(first[:2], second[:2], strict=True))
    return WindowSet(windows, users, files=None if first.files is None else np.concatenate([first.files, second.files]))


def check_features(own: FeatureExtractor) -> FeatureExtractor:
    """Returns the caller's own function, with an InputError where it returns no features."""

    def extract(windows: Windows) -> np.ndarray:
        try:
            out = np.asarray(own(windows), np.float32)
        except Exception as error:  # of the caller's code: any
            raise InputError(f"the feature function failed ({one_line(error)}): correct it") from error
        if out.ndim != 2 or len(out) != len(windows) or not np.isfinite(out).all():
            raise InputError(
                f"the feature function returned {out.shape} for windows {windows.shape}: return finite numbers of "
                f"shape ({len(windows)}, D)"
            )
        return out

    return extract
