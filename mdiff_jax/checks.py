"""Which generated windows to keep: those a walk could give, and those that copy no training window.

Never by who a judge takes them for: that figure would then say nothing.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool

from mdiff_jax.errors import InputError
from mdiff_jax.metrics import kinematics, novelty
from mdiff_jax.metrics.yardstick import grey
from mdiff_jax.model import Model

Passes = Callable[[np.ndarray], Bool[np.ndarray, " windows"]]


def make(model: Model, names: Sequence[str]) -> Passes:
    """Windows (n, F, T), or with colours, → which of them pass all of the named checks; none named: all pass."""
    makers = {"physics": physics, "novelty": new}
    if unknown := [name for name in names if name not in makers]:
        raise InputError(f"filter '{unknown[0]}' is not known: give {' or '.join(makers)}, or both by a comma")
    tests = [makers[name](model) for name in names]

    def passes(windows: np.ndarray) -> np.ndarray:
        return np.all([np.ones(len(windows), bool), *(test(grey(windows)) for test in tests)], axis=0)

    return passes


def physics(model: Model) -> Passes:
    """Ratio of highest return and torso, steps and floor share are those of a walk."""
    zero = model.dataset.metadata["zero_doppler"]
    zero = kinematics.ZERO_DOPPLER if zero is None else zero
    return lambda windows: kinematics.plausible(kinematics.measure(windows, zero))


def new(model: Model) -> Passes:
    """No nearer to a training window than the nearest real validation window is."""
    train, validation = (grey(model.windows(name)[0]) for name in ("train", "validation"))
    if not len(validation):
        raise InputError("filter 'novelty' needs validation windows for a scale, and the split has none: leave it out")
    most = novelty.nearest(validation, train)[0].max()
    return lambda windows: novelty.nearest(windows, train)[0] <= most
