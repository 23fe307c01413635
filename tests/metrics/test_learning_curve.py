"""Learning curves: a power law is found again, and what would help is what differs most."""

import numpy as np
import pytest

from mdiff_jax.data.inspect import InspectedData
from mdiff_jax.metrics import learning_curve
from mdiff_jax.runtime.errors import InputError


def test_a_power_law_is_continued():
    sizes = (5, 10, 20, 40)
    errors = np.tile(0.8 * np.array(sizes) ** -0.5, (6, 1))
    for size in (80, 160):
        accuracy, (low, high) = learning_curve.extrapolate(sizes, errors, size, 1e-3)
        assert accuracy == low == high == pytest.approx(1 - 0.8 * size**-0.5)


def test_noise_widens_the_interval_and_no_error_stays_none():
    sizes, rng = (5, 10, 20, 40), np.random.default_rng(0)
    errors = 0.8 * np.array(sizes) ** -0.5 + 0.05 * rng.standard_normal((6, 4))
    accuracy, (low, high) = learning_curve.extrapolate(sizes, errors, 80, 1e-3)
    assert low < accuracy < high and high - low > 0.01
    assert learning_curve.extrapolate(sizes, np.zeros((6, 4)), 80, 1e-3)[0] == pytest.approx(0.999)


def test_a_curve_that_falls_is_not_continued_downwards():
    accuracy, _ = learning_curve.extrapolate((5, 10), np.array([[0.1, 0.2]]), 20, 1e-3)
    assert accuracy == pytest.approx(0.8)


def windows_of(users: int, walks: int, windows: int, by_walk: float, by_window: float) -> InspectedData:
    """Band levels of a user, changed by walk and by window, times noise."""
    rng = np.random.default_rng(0)
    shape = users, walks, windows
    level = 0.4 * rng.standard_normal((users, 1, 1, 32)) + by_walk * rng.standard_normal((users, walks, 1, 32))
    level = np.exp(level + by_window * rng.standard_normal((*shape, 32)))
    x = 0.1 * level[..., None] * rng.standard_normal((*shape, 32, 64))
    place = np.indices(shape).reshape(3, -1)
    names = [f"u{u}/w{w}_{i}" for u, w, i in place.T]
    recordings = tuple(f"c/{w}" for w in place[1])
    windows_ = x.reshape(-1, 32, 64).astype(np.float32)
    return InspectedData(
        tuple(names),
        tuple(f"u{u}" for u in range(users)),
        place[0],
        recordings,
        place[1] * windows + place[2],
        windows_,
    )


def test_more_walks_help_where_walks_differ():
    found = learning_curve.measure(windows_of(4, 12, 8, by_walk=1.0, by_window=0.05), gap=0, repeats=4)
    assert found.walks.sizes[0] == 1 and found.windows.sizes[0] == 5
    assert found.walks.accuracy[-1] > found.walks.accuracy[0] + 0.1
    assert found.walks.expected[2][0] >= found.walks.accuracy[-1] - 0.02
    said = learning_curve.advise(found)
    assert said[-1].startswith("enough data? more walks")
    assert any("of each user: 1:" in line for line in said)


def test_of_one_walk_there_is_no_curve_over_walks():
    found = learning_curve.measure(windows_of(3, 1, 40, by_walk=0.0, by_window=0.3), gap=1, repeats=3)
    assert found.walks is None and found.windows is not None
    assert not any("by walks" in line for line in learning_curve.advise(found))


def test_one_user_is_refused():
    with pytest.raises(InputError, match="2 users"):
        learning_curve.measure(windows_of(1, 8, 8, 0.1, 0.1), gap=0, repeats=2)
