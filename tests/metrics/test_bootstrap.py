"""Walks are what is resampled and halved, not windows."""

import numpy as np

from mdiff_jax.metrics import bootstrap


def test_walks_that_agree_within_count_as_one():
    """100 windows of 5 walks, all alike within a walk, say no more than 5 windows do."""
    right = np.repeat([1.0, 0.0, 1.0, 1.0, 0.0], 20)
    wide = bootstrap.bootstrap_interval(right, np.repeat(np.arange(5), 20), seed=0)
    five = bootstrap.bootstrap_interval(right[::20], np.arange(5), seed=0)
    narrow = bootstrap.bootstrap_interval(right, np.arange(100), seed=0)
    assert wide == five and wide[1] - wide[0] > 3 * (narrow[1] - narrow[0])
    assert wide[0] < right.mean() < wide[1]


def test_halves_of_walks_share_no_pixel():
    """One user of a single walk, one of three."""
    users = np.repeat([0, 1], 30)
    units = np.concatenate([np.zeros(30, int), 1 + np.arange(30) // 10])
    places = np.tile(np.arange(30), 2) + 1000 * units
    for seed in range(20):
        a, b = bootstrap.split_halves(users, units, places, 3, np.random.default_rng(seed))
        assert not (a & b).any() and min(a.sum(), b.sum()) >= 20
        assert not bootstrap.share_pixels(a, b, places, 3) and bootstrap.share_pixels(a, ~a, places, 3)
        assert min(np.bincount(users[a], minlength=2)) > 0 < min(np.bincount(users[b], minlength=2))


def test_halves_of_next_to_nothing_share_pixels():
    places = np.arange(4)
    a, b = bootstrap.split_halves(np.zeros(4, int), np.zeros(4, int), places, 3, np.random.default_rng(0))
    assert a.sum() == b.sum() == 2 and bootstrap.share_pixels(a, b, places, 3)


def test_one_walk_has_no_interval():
    assert bootstrap.bootstrap_interval(np.array([1.0, 0.0]), np.zeros(2, int), seed=0) is None
