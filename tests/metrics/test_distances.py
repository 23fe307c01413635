"""Distances between sets of features, on points whose answer is known."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from mdiff_jax.metrics import distances

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("count", [200, 6], ids=["more windows than features", "fewer"])
def test_frechet_is_the_formula_of_the_paper(count):
    a, b = RNG.normal(size=(count, 8)), 1 + 2 * RNG.normal(size=(count, 8))
    A, B = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    shift = ((a.mean(0) - b.mean(0)) ** 2).sum()
    expected = shift + np.trace(A + B - 2 * sqrtm(A @ B + 1e-12 * np.eye(8)).real)
    assert distances.frechet_distance(a, b) == pytest.approx(expected, rel=1e-3)
    assert distances.frechet_distance(a, a) == pytest.approx(0, abs=1e-8)


def test_manifold_of_the_same_of_far_and_of_repeated_windows():
    real, other = RNG.normal(size=(2, 60, 4))
    same = distances.manifold_metrics(real, real, 5)
    assert same.precision == same.recall == same.coverage == 1
    assert distances.manifold_metrics(real + 50, real, 5) == (0, 0, 0, 0)
    fresh = distances.manifold_metrics(other, real, 5)
    one = distances.manifold_metrics(np.tile(other[np.abs(other).sum(1).argmin()], (60, 1)), real, 5)
    assert one.precision == 1 and one.recall < 0.1 and one.coverage < 0.5 * fresh.coverage


def test_density_and_coverage_by_hand():
    """Three real points on a line, k = 1: the balls are [-1, 1], [0, 2] and [-1, 5]."""
    real, made = np.array([[0.0], [1.0], [2.0]]), np.array([[-0.5], [9.0]])
    found = distances.manifold_metrics(np.repeat(made, 1, 0), real, 1)
    assert found.precision == 0.5 and found.density == 0.5 and found.coverage == pytest.approx(1 / 3)


def test_dimensions_count_the_directions():
    x = np.zeros((4000, 10))
    x[:, :3] = RNG.normal(size=(4000, 3))
    assert distances.effective_dimensions(x) == pytest.approx(3, abs=0.05)


def test_kernel_distance_by_hand_and_without_bias():
    rng = np.random.default_rng(0)
    values = [distances.kernel_distance(*rng.normal(size=(2, 20, 4))) for _ in range(300)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(300)
    far = distances.kernel_distance(rng.normal(size=(20, 4)), rng.normal(size=(20, 4)) + 2)
    assert far > np.max(values)


@pytest.mark.parametrize("count", range(1, 9))
def test_metrics_without_enough_windows_are_named_with_their_need(count):
    x, y = RNG.normal(size=(2, count, 3))
    for full in (False, True):
        measure, notes, lacking = distances.make_distance_measure(full, count)
        values = measure(x, y)
        assert len(values) == len(notes) and np.isfinite(values).all()
        assert len(notes) + len(lacking) == (7 if full else 1)
        assert all(needed > count for needed in lacking.values())
        assert ("coverage" in notes) == (full and count > 5) and ("kernel distance" in notes) == (count > 1)
