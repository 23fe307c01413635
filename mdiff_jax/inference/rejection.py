"""Filters of generated windows: by physical plausibility, by the distance to the training windows, and by difficulty.

There is none that keeps recognised windows: the identity score of what it keeps would mean nothing. 'hard' keeps those
that are recognised least, by judges that score nothing else.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from mdiff_jax.data import splits
from mdiff_jax.inference.drawn_windows import DrawnWindows, load_comparison_windows, to_comparison_grid
from mdiff_jax.inference.model import Model
from mdiff_jax.metrics import identity, kinematics, memorization
from mdiff_jax.metrics.reference import to_grayscale
from mdiff_jax.runtime.errors import InputError

HARD_GROUP = 4  # draws of which 'hard' keeps one
Test = Callable[[np.ndarray], Bool[np.ndarray, " windows"]]  # of windows at the grid of comparisons
Certainty = Callable[[np.ndarray, Sequence[str]], Float[np.ndarray, " windows"]]  # of such windows and their users


class WindowFilter(NamedTuple):
    """Which windows to keep. Those of one user are decided on in groups of consecutive draws, of one or of more."""

    group: int
    keep: Callable[[DrawnWindows, Sequence[str]], Bool[np.ndarray, " windows"]]  # of whole groups and their users


def make_filter(model: Model, names: Sequence[str]) -> WindowFilter:
    """Returns the filter that keeps windows which pass all the named filters; without names, all windows.

    'hard' keeps, of every HARD_GROUP draws, the one of those that pass the others which judges are least certain of. It
    needs both others, since the least certain ones of all are broken. Raises InputError for an unknown name.
    """
    makers = {"physics": plausibility_filter, "novelty": novelty_filter}
    if unknown := [name for name in names if name not in (*makers, "hard")]:
        raise InputError(f"filter '{unknown[0]}' is not known: give any of {', '.join(makers)}, hard, by commas")
    if "hard" in names and not makers.keys() <= set(names):
        raise InputError("filter 'hard' alone keeps broken windows: give physics,novelty,hard")
    filters = [makers[name](model) for name in dict.fromkeys(names) if name in makers]
    certainty = half_judges(model) if "hard" in names else None

    def keep(windows: DrawnWindows, users: Sequence[str]) -> np.ndarray:
        results = [np.ones(len(windows.frames), bool)]
        x = to_grayscale(to_comparison_grid(windows, model.dataset.metadata)) if filters else None
        passed = np.all([*results, *(test(x) for test in filters)], axis=0)
        return keep_lowest(passed, certainty(x, users)) if certainty else passed

    return WindowFilter(HARD_GROUP if certainty else 1, keep)


def keep_lowest(
    passed: Bool[np.ndarray, " windows"], values: Float[np.ndarray, " windows"]
) -> Bool[np.ndarray, " windows"]:
    """Returns where each group of HARD_GROUP has the lowest value of those that passed."""
    groups = np.where(passed, values, np.inf).reshape(-1, HARD_GROUP)
    lowest = groups.argmin(1)[:, None] == np.arange(HARD_GROUP)
    return lowest.ravel() & passed


def half_judges(model: Model) -> Certainty:
    """Returns the mean probability of the intended user by two linear judges, each fitted on half of the walks of the
    training part: neither knows all, and neither scores anything else.

    Raises InputError for a user whose training windows do not divide, and in use for one that was enrolled.
    """
    model.require_recordings()
    rows = model.dataset.rows(model.split["train"])
    users, half = model.dataset.user_ids[rows], np.zeros(len(rows), int)
    recordings = np.array(model.dataset.recordings)[rows]
    for i, name in enumerate(model.users):
        own = np.flatnonzero(users == i)
        if len(own) < 2:
            raise InputError(f"filter 'hard' needs two training windows of each user, '{name}' has one: remove it")
        half[own] = splits.halve_walks(recordings[own])
    windows = load_comparison_windows(model.dataset, rows)
    judges = [identity.fit_linear(windows[half == side], users[half == side]) for side in (0, 1)]

    def certainty(x: np.ndarray, users: Sequence[str]) -> np.ndarray:
        if unknown := [user for user in users if user not in model.users]:
            raise InputError(f"filter 'hard' has no training windows of '{unknown[0]}', who was enrolled: remove it")
        columns = [model.users.index(user) for user in users]
        return np.mean([judge.probabilities(x)[np.arange(len(x)), columns] for judge in judges], axis=0)

    return certainty


def plausibility_filter(model: Model) -> Test:
    """Passes windows whose limb-to-torso ratio, steps and floor share are those of a walk."""
    zero = model.dataset.metadata["zero_doppler"]
    zero = kinematics.ZERO_DOPPLER if zero is None else zero
    return lambda windows: kinematics.is_plausible(kinematics.measure_kinematics(windows, zero))


def novelty_filter(model: Model) -> Test:
    """Passes windows that are no nearer to a training window, or one that a user was enrolled from, than the nearest
    validation window is to a training window.

    Raises InputError if the split has no validation windows.
    """
    if not model.split["validation"]:
        raise InputError("filter 'novelty' needs validation windows for a scale, and the split has none: remove it")
    parts = (model.dataset.rows(model.split[name]) for name in ("train", "validation"))
    train, validation = (load_comparison_windows(model.dataset, rows) for rows in parts)
    most = memorization.nearest_training_window(validation, train)[0].max()
    enrolled = [DrawnWindows(to_grayscale(user.windows), user.frames) for user in model.enrolled.values()]
    originals = np.concatenate([train, *(to_comparison_grid(x, model.dataset.metadata) for x in enrolled)])
    return lambda windows: memorization.nearest_training_window(windows, originals)[0] <= most
