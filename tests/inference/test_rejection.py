"""The checks pass real windows and refuse what they should."""

import numpy as np
import pytest

from mdiff_jax.inference import rejection
from mdiff_jax.inference.drawn_windows import DrawnWindows
from mdiff_jax.runtime.errors import InputError


def test_checks_pass_real_windows_and_refuse_copies_and_noise(trained):
    def drawn(x):
        return DrawnWindows(x, np.full(len(x), 16))

    validation, train = (drawn(trained.windows(name)[0]) for name in ("validation", "train"))
    noise = drawn(np.random.default_rng(0).uniform(-1, 1, (4, 16, 16)))
    passes = rejection.make_filter(trained, ["novelty"])
    assert passes(validation).all() and not passes(train).any()
    assert not rejection.make_filter(trained, ["physics"])(noise).any()
    with pytest.raises(InputError, match="filter 'identity' is not known"):
        rejection.make_filter(trained, ["identity"])
