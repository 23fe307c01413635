"""Filters of generated windows: by physical plausibility, and by the distance to the training windows.

There is none by recognised user: the identity score of what it keeps would mean nothing.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool

from mdiff_jax.inference.model import Model
from mdiff_jax.metrics import kinematics, memorization
from mdiff_jax.metrics.reference import to_grayscale
from mdiff_jax.runtime.errors import InputError

WindowFilter = Callable[[np.ndarray], Bool[np.ndarray, " windows"]]


def make_filter(model: Model, names: Sequence[str]) -> WindowFilter:
    """Returns the filter that passes windows, (n, F, T) or (n, F, T, 3), which pass all the named filters.

    Without names all windows pass. Raises InputError for an unknown name.
    """
    makers = {"physics": plausibility_filter, "novelty": novelty_filter}
    if unknown := [name for name in names if name not in makers]:
        raise InputError(f"filter '{unknown[0]}' is not known: give {' or '.join(makers)}, or both, by a comma")
    filters = [makers[name](model) for name in names]

    def passes(windows: np.ndarray) -> np.ndarray:
        return np.all([np.ones(len(windows), bool), *(test(to_grayscale(windows)) for test in filters)], axis=0)

    return passes


def plausibility_filter(model: Model) -> WindowFilter:
    """Passes windows whose limb-to-torso ratio, steps and floor share are those of a walk."""
    zero = model.dataset.metadata["zero_doppler"]
    zero = kinematics.ZERO_DOPPLER if zero is None else zero
    return lambda windows: kinematics.is_plausible(kinematics.measure_kinematics(windows, zero))


def novelty_filter(model: Model) -> WindowFilter:
    """Passes windows that are no nearer to a training window, or one that a user was enrolled from, than the nearest
    validation window is to a training window.

    Raises InputError if the split has no validation windows.
    """
    if not model.split["validation"]:
        raise InputError("filter 'novelty' needs validation windows for a scale, and the split has none: remove it")
    train, validation = (to_grayscale(model.windows(name)[0]) for name in ("train", "validation"))
    most = memorization.nearest_training_window(validation, train)[0].max()
    originals = np.concatenate([train, *(to_grayscale(user.windows) for user in model.enrolled.values())])
    return lambda windows: memorization.nearest_training_window(windows, originals)[0] <= most
