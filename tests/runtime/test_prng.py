"""Laws of numbers drawn on the host: even, and a function of seed and counters."""

import numpy as np

from mdiff_jax.runtime import prng


def test_numbers_depend_on_seed_and_counters_alone_and_are_even():
    rows, columns = np.arange(300)[:, None], np.arange(-1, 199)
    x = prng.uniform_numbers(7, rows, columns)
    assert x.shape == (300, 200) and x.min() >= 0 and x.max() < 1
    np.testing.assert_array_equal(prng.uniform_numbers(7, rows[40:50], columns[::-3]), x[40:50, ::-3])
    for other in (prng.uniform_numbers(8, rows, columns), x.T[:, :200], x[1:], x[:, 1:]):
        both = [a[: len(b), : b.shape[1]] for a, b in ((x, other), (other, x))]
        assert abs(np.corrcoef(both[0].ravel(), both[1].ravel())[0, 1]) < 0.02
    assert np.abs(np.bincount((16 * x).astype(int).ravel(), minlength=16) / x.size - 1 / 16).max() < 3e-3
    assert np.abs(x.mean(0) - 0.5).max() < 0.09 and np.abs(x.mean(1) - 0.5).max() < 0.11
