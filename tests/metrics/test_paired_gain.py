"""Gains paired by seed and window: their intervals hold what they promise, and the power analysis is right."""

import numpy as np
import pytest

from mdiff_jax.metrics import paired_gain

WINDOWS = 12  # of each walk


def draw_pair(rng: np.random.Generator, walks: int, gain: float = 0.05, seeds: int = 4, spread: float = 0.1):
    """Correctness of two ways to train and the walk of each window; how much the first one gains differs by walk."""
    walk = np.repeat(np.arange(walks), WINDOWS)
    share = np.clip(0.7 + rng.normal(gain, spread, walks), 0, 1)[walk]
    first, second = rng.uniform(size=(seeds, len(walk))) < share, rng.uniform(size=(seeds, len(walk))) < 0.7
    return first, second, walk


def width(estimate: paired_gain.Estimate) -> float:
    return estimate.interval[1] - estimate.interval[0]


def test_the_interval_holds_the_true_gain_nine_times_in_ten_or_a_little_more_often():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        _, (low, high) = paired_gain.estimate_gain(*draw_pair(rng, 30, 0.05))
        held += low <= 0.05 <= high
    assert 0.87 <= held / 100 <= 0.98


def test_equal_rows_gain_nothing():
    first, _, walks = draw_pair(np.random.default_rng(0), 10)
    assert paired_gain.estimate_gain(first, first, walks) == (0.0, (0.0, 0.0))
    assert paired_gain.count_needed_walks(first, first, walks) is None


def test_the_other_way_round_the_gain_is_a_loss():
    first, second, walks = draw_pair(np.random.default_rng(0), 10)
    there, back = (paired_gain.estimate_gain(*pair, walks) for pair in ((first, second), (second, first)))
    np.testing.assert_allclose(there.value, -back.value)
    np.testing.assert_allclose(there.interval, np.negative(back.interval)[::-1])


def test_more_walks_narrow_the_interval_and_more_windows_of_a_walk_do_not():
    first, second, walks = draw_pair(np.random.default_rng(0), 80)
    few = walks < 20
    all_of_them = width(paired_gain.estimate_gain(first, second, walks))
    fewer = width(paired_gain.estimate_gain(first[:, few], second[:, few], walks[few]))
    copied = paired_gain.estimate_gain(*(np.repeat(x, 3, -1) for x in (first, second, walks)))
    assert fewer > 1.5 * all_of_them
    assert width(copied) == pytest.approx(all_of_them)


def test_neither_the_order_of_windows_nor_the_names_of_walks_matter():
    rng = np.random.default_rng(0)
    first, second, walks = draw_pair(rng, 10)
    order = rng.permutation(len(walks))
    expected = paired_gain.estimate_gain(first, second, walks)
    names = np.array([f"walk {k:02d}" for k in walks])
    mixed = paired_gain.estimate_gain(first[:, order], second[:, order], names[order])
    np.testing.assert_allclose([mixed.value, *mixed.interval], [expected.value, *expected.interval])


def test_pairing_takes_out_what_both_have_in_common():
    rng = np.random.default_rng(0)
    hard = rng.uniform(size=20)[np.repeat(np.arange(20), WINDOWS)]  # some walks are much harder than others
    walks = np.repeat(np.arange(20), WINDOWS)
    second = np.tile(np.linspace(0, 1, WINDOWS), 20)[None] > hard
    first = second | (rng.uniform(size=second.shape) < 0.1)
    assert width(paired_gain.estimate_gain(first, second, walks)) < 0.5 * width(
        paired_gain.estimate_accuracy(first, walks)
    )


def test_so_many_walks_as_are_needed_resolve_the_gain():
    rng = np.random.default_rng(0)
    needed = paired_gain.count_needed_walks(*draw_pair(rng, 400, seeds=30), gain=0.05)
    found = [paired_gain.estimate_gain(*draw_pair(rng, needed, 0.05, seeds=30)).interval[0] > 0 for _ in range(100)]
    assert 0.7 <= np.mean(found) <= 0.92
    assert paired_gain.count_needed_walks(*draw_pair(rng, 400), gain=0.01) > 20 * needed


def test_one_walk_has_no_interval():
    first, second, walks = draw_pair(np.random.default_rng(0), 1)
    assert paired_gain.estimate_gain(first, second, walks).interval is None
    assert paired_gain.count_needed_walks(first, second, walks) is None
