"""The reference takes features from the caller's own function only where they are features."""

import numpy as np
import pytest
from walker_sets import two_walkers

from mdiff_jax.metrics import reference
from mdiff_jax.runtime.errors import InputError


def test_a_feature_function_that_gives_no_features_is_refused():
    for wrong in (lambda x: x, lambda x: x.mean((1, 2)), lambda x: np.full((len(x), 2), np.nan)):
        with pytest.raises(InputError, match="feature function"):
            reference.check_features(wrong)(two_walkers()[0])
    assert reference.check_features(lambda x: x[:, :, 0])(two_walkers()[0]).shape == (48, 64)
