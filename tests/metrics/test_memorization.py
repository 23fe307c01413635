"""Copies are found, whole or in part, however they were moved; correlations are those by hand."""

import io

import numpy as np
import pytest
from PIL import Image
from walker_sets import drawn_walks, two_walkers

from mdiff_jax.data import colormap
from mdiff_jax.metrics import memorization

RNG = np.random.default_rng(0)


def by_hand(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation of the columns in common, at the best lag that leaves half of them."""
    frames, best = a.shape[1], -1.0
    for lag in range(-(frames // 2), frames // 2 + 1):
        x = a[:, max(lag, 0) : frames + min(lag, 0)]
        y = b[:, max(-lag, 0) : frames + min(-lag, 0)]
        best = max(best, np.corrcoef(x.ravel(), y.ravel())[0, 1])
    return best


def test_correlation_of_a_part_is_the_correlation_by_hand():
    made, real = RNG.normal(size=(4, 6, 12)).astype(np.float32), RNG.normal(size=(5, 6, 12)).astype(np.float32)
    table = np.array([[by_hand(a, b) for b in real] for a in made])
    value, place = memorization.nearest_overlapping_window(made, real)
    np.testing.assert_allclose(value, table.max(1), atol=1e-5)
    np.testing.assert_array_equal(place, table.argmax(1))


def test_correlation_by_fft_is_the_correlation_by_hand():
    x = np.random.default_rng(0).normal(size=(3, 8, 12)).astype(np.float32)
    unit = x - x.mean((1, 2), keepdims=True)
    unit /= np.linalg.norm(unit, axis=(1, 2), keepdims=True)
    expected = [[max((np.roll(a, s, 1) * b).sum() for s in range(12)) for b in unit] for a in unit]
    np.testing.assert_allclose(memorization.best_correlation(x, x), expected, atol=1e-5)


def test_chunks_do_not_matter(monkeypatch):
    made, real = RNG.normal(size=(7, 6, 12)).astype(np.float32), RNG.normal(size=(5, 6, 12)).astype(np.float32)
    whole = memorization.nearest_overlapping_window(made, real)
    monkeypatch.setattr(memorization, "CHUNK_SIZE", 3)
    for a, b in zip(whole, memorization.nearest_overlapping_window(made, real), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("by", [5, 32, 50])
def test_rolled_and_moved_on_windows_are_found(by):
    long = drawn_walks(6, 0, np.random.default_rng(2), 128)
    training = np.ascontiguousarray(long[:, :, :64])
    rolled = np.roll(training, by, axis=2)
    np.testing.assert_allclose(memorization.nearest_overlapping_window(rolled, training)[0], 1, atol=1e-4)
    moved = np.ascontiguousarray(long[:, :, min(by, 32) : min(by, 32) + 64])
    value, place = memorization.nearest_overlapping_window(moved, training)
    np.testing.assert_allclose(value, 1, atol=1e-4)
    np.testing.assert_array_equal(place, np.arange(6))


def test_a_copy_is_shown_where_it_was_rolled_to():
    rolled = np.stack([np.roll(window, 5 * k, 1) for k, window in enumerate(two_walkers()[0][:4])])
    np.testing.assert_array_equal(memorization.align_in_time(rolled, two_walkers()[0][:4]), rolled)


def test_a_copy_is_found_after_jet_and_jpeg():
    training, unseen = two_walkers()[0][:12], two_walkers()[0][12:24]
    buffer, out = io.BytesIO(), []
    for window in np.roll(training, 11, axis=2):
        Image.fromarray(colormap.to_rgb(np.kron((window + 1) / 2, np.ones((4, 4))), "jet")).save(buffer, "JPEG")
        out.append(colormap.to_scalar(np.asarray(Image.open(buffer).convert("RGB")), "jet") * 2 - 1)
        buffer = io.BytesIO()
    found, scale = (
        memorization.nearest_overlapping_window(made, training)[0]
        for made in (memorization.pool_windows(np.stack(out)), unseen)
    )
    assert memorization.copy_share(found, scale) == 1 and memorization.copy_share(scale, scale) == 0
