"""Filters of generated windows: by physical plausibility, and by the distance to the training windows.

There is none by recognised user: the identity score of what it keeps would mean nothing.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool

from mdiff_jax.inference.drawn_windows import DrawnWindows, load_comparison_windows, to_comparison_grid
from mdiff_jax.inference.model import Model
from mdiff_jax.metrics import kinematics, memorization
from mdiff_jax.metrics.reference import to_grayscale
from mdiff_jax.runtime.errors import InputError

WindowFilter = Callable[[DrawnWindows], Bool[np.ndarray, " windows"]]
Test = Callable[[np.ndarray], Bool[np.ndarray, " windows"]]  # of windows at the grid of comparisons


def make_filter(model: Model, names: Sequence[str]) -> WindowFilter:
    """Returns the filter that passes windows which pass all the named filters.

    Without names all windows pass. Raises InputError for an unknown name.
    """
    makers = {"physics": plausibility_filter, "novelty": novelty_filter}
    if unknown := [name for name in names if name not in makers]:
        raise InputError(f"filter '{unknown[0]}' is not known: give {' or '.join(makers)}, or both, by a comma")
    filters = [makers[name](model) for name in names]

    def passes(windows: DrawnWindows) -> np.ndarray:
        results = [np.ones(len(windows.frames), bool)]
        x = to_grayscale(to_comparison_grid(windows, model.dataset.metadata)) if filters else None
        return np.all([*results, *(test(x) for test in filters)], axis=0)

    return passes


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
