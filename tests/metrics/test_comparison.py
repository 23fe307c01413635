"""Halves of the unseen windows share no pixel, as far as the configured gap says which windows do."""

import numpy as np

from mdiff_jax.metrics import comparison
from mdiff_jax.metrics.reference import MeasuredSet, WindowSet


def measured(gap: int) -> MeasuredSet:
    """One walk of thirty windows, of which only times matter here."""
    x, users = np.zeros((30, 4, 4), np.float32), np.zeros(30, int)
    windows = WindowSet(x, users, np.array(["normal/walk_1"] * 30), np.arange(30), gap=gap)
    return MeasuredSet(windows, "linear judge", {}, {}, {}, np.zeros(30), users, None, None)


def test_the_gap_of_the_set_says_which_windows_share_pixels():
    for gap in (0, 3, 6):
        test = measured(gap)
        for _, one, other in comparison.paired_draws(test, test):
            assert np.abs(test.window_set.indices[one][:, None] - test.window_set.indices[other]).min() > gap
        assert not comparison.halves_overlap(test)
    assert comparison.halves_overlap(measured(29)), "with such a gap all windows share pixels, and halves are any"


def test_the_gap_stays_with_the_set():
    test = measured(5)
    assert test.pick(np.arange(4)).window_set.gap == test.window_set.sort_by_content().gap == 5
