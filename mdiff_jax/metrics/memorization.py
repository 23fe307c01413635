"""Memorization: the most similar training window of each generated one, under the best shift in time.

Similarity is the normalised cross-correlation (NCC) of windows averaged down to 64 x 64. Neighbouring real windows
share most of their pixels, so the scale for "similar" is that of real windows which share none.

Two forms. A window that was rolled round is found by circular shifts. One that was moved on, with new columns at its
end as in the next window of a walk, is found where the two overlap: NCC over the columns in common, half of them at
least. Both are exact: products of spectra along time, and back to shifts by the matrix of the inverse transform, which
for so few frames costs less than an FFT.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mdiff_jax.runtime.array_types import Windows

COMPARISON_SIZE = 64  # rows and frames that windows are averaged down to
Queries = Float[np.ndarray, "queries freq time"]
References = Float[np.ndarray, "references freq time"]
Similarity = Float[np.ndarray, " queries"]
Position = Int[np.ndarray, " queries"]
CHUNK_SIZE = 128  # windows compared at once on each side: tables of 10 MB
Correlations = Float[np.ndarray, "n m"]  # of all pairs, -1 … 1
# a comparison of windows: (prepare, correlate); what is prepared, `Any`, belongs to the comparison
Comparison = tuple[Callable[[Windows, bool], Any], Callable[[Any, Any], Correlations]]
MakeComparison = Callable[[int], Comparison]  # for windows of so many frames


def nearest_training_window(generated: Queries, training: References) -> tuple[Similarity, Position]:
    """Returns (NCC, position) of the training window most like each generated one, under any circular shift."""
    return find_most_similar(circular_comparison, generated, training)


def nearest_overlapping_window(generated: Queries, training: References) -> tuple[Similarity, Position]:
    """Returns (NCC, position) of the training window most like half or more of each generated one."""
    return find_most_similar(overlap_comparison, generated, training)


def find_most_similar(
    make_comparison: MakeComparison, generated: Queries, training: References
) -> tuple[Similarity, Position]:
    """Returns (NCC, position) of the training window most like each generated one, by a comparison."""
    best, position = np.full(len(generated), -np.inf, np.float32), np.zeros(len(generated), np.int64)
    for rows, columns, block in correlation_blocks(make_comparison, generated, training):
        value, column = block.max(1), columns.start + block.argmax(1)
        position[rows] = np.where(value > best[rows], column, position[rows])
        best[rows] = np.maximum(value, best[rows])
    return best, position


def best_correlation(queries: Queries, references: References) -> Float[np.ndarray, "queries references"]:
    """Returns the highest NCC over all circular shifts in time, -1 … 1."""
    out = np.empty((len(queries), len(references)), np.float32)
    for rows, columns, block in correlation_blocks(circular_comparison, queries, references):
        out[rows, columns] = block
    return out


def align_in_time(generated: Windows, training: Windows) -> Windows:
    """Rolls each training window to where it is most like the generated one of the same position."""
    a, b = (np.fft.rfft(x - x.mean((1, 2), keepdims=True), axis=2) for x in (generated, training))
    shifts = np.fft.irfft((a * b.conj()).sum(1), generated.shape[2], axis=1).argmax(1)
    return np.stack([np.roll(window, shift, 1) for window, shift in zip(training, shifts, strict=True)])


def correlation_blocks(
    make_comparison: MakeComparison, queries: Queries, references: References
) -> Iterator[tuple[slice, slice, Correlations]]:
    """Yields (rows, columns, NCC of these) for all pairs, a chunk of each side at a time."""
    prepare, correlate = make_comparison(pool_windows(queries[:1]).shape[2])
    pieces = [slice(i, min(i + CHUNK_SIZE, len(queries))) for i in range(0, len(queries), CHUNK_SIZE)]
    prepared = [prepare(queries[rows], False) for rows in pieces]
    for j in range(0, len(references), CHUNK_SIZE):
        columns = slice(j, min(j + CHUNK_SIZE, len(references)))
        real = prepare(references[columns], True)
        for rows, a in zip(pieces, prepared, strict=True):
            yield rows, columns, correlate(a, real)


# ----------------------------------------------------------------------------- circular shifts


def circular_comparison(frames: int) -> Comparison:
    """Returns the comparison of windows under circular shifts."""
    back = inverse_dft_matrix(frames)

    def prepare(windows: Windows, second: bool) -> np.ndarray:
        x = center_windows(windows)
        return packed_spectrum(x / np.maximum(np.linalg.norm(x, axis=(1, 2), keepdims=True), 1e-6), frames, second)

    return prepare, lambda a, b: correlate_shifts(a, b, back).max(0)


def packed_spectrum(x: Windows, length: int, second: bool) -> Float[np.ndarray, "frequencies n parts"]:
    """Returns the FFT along time, arranged for products in real numbers: of the first factor [Re Im] and below it
    [Im -Re], of the second [Re Im], so that one product holds the real and the imaginary part of a · conj(b).
    """
    z = np.fft.rfft(x, length, axis=2).transpose(2, 0, 1).astype(np.complex64)
    upper = np.concatenate([z.real, z.imag], 2)
    return upper if second else np.concatenate([upper, np.concatenate([z.imag, -z.real], 2)], 1)


def inverse_dft_matrix(length: int, shift: slice | np.ndarray = slice(None)) -> Float[np.ndarray, "shifts parts"]:
    """Returns the matrix of irfft for (frequency, real or imaginary) at these shifts."""
    unit = np.eye(length // 2 + 1)
    both = np.stack([np.fft.irfft(unit, length), np.fft.irfft(1j * unit, length)], 1)
    return np.ascontiguousarray(both.reshape(-1, length).T[shift], np.float32)


def correlate_shifts(a: np.ndarray, b: np.ndarray, back: np.ndarray) -> Float[np.ndarray, "shifts n m"]:
    """Returns Σ a(f, t + shift) b(f, t) for each pair."""
    products = np.matmul(a, b.transpose(0, 2, 1))  # (frequencies, 2 n, m)
    n, m = products.shape[1] // 2, products.shape[2]
    return (back @ products.reshape(-1, n * m)).reshape(-1, n, m)


# ----------------------------------------------------------------------------- columns in common


class OverlapOperand(NamedTuple):
    """Prepared windows: their spectra, and mean and deviation of the columns in common at each lag."""

    spectrum: np.ndarray  # zero-padded to twice the frames
    mean: Float[np.ndarray, "lags n"]  # of the columns in common, times √pixels, over the deviation
    inverse: Float[np.ndarray, "lags n"]  # 1 / (deviation times √pixels)


def overlap_comparison(frames: int) -> Comparison:
    """Returns the comparison of windows over the columns they have in common: NCC at a lag is
    (Σab - n·mean(a)·mean(b)) / (n·σ(a)·σ(b)) over the n pixels that both windows have there.
    """
    lags = np.arange(-(frames // 2), frames // 2 + 1)
    back = inverse_dft_matrix(2 * frames, lags)

    def prepare(windows: Windows, second: bool) -> OverlapOperand:
        x = center_windows(windows)
        return OverlapOperand(packed_spectrum(x, 2 * frames, second), *overlap_statistics(x, -lags if second else lags))

    def correlate(a: OverlapOperand, b: OverlapOperand) -> Float[np.ndarray, "n m"]:
        cross = correlate_shifts(a.spectrum, b.spectrum, back)
        cross *= a.inverse[:, :, None]
        cross *= b.inverse[:, None, :]
        cross -= a.mean[:, :, None] * b.mean[:, None, :]
        return cross.max(0)

    return prepare, correlate


def overlap_statistics(x: Windows, lags: Int[np.ndarray, " lags"]) -> tuple[np.ndarray, np.ndarray]:
    """Returns `mean` and `inverse` of an operand: at lag l its columns l … T are compared (0 … T+l for l below 0)."""
    n, rows, frames = x.shape
    start, stop = np.maximum(lags, 0), np.minimum(frames + lags, frames)
    sums, squares = (
        np.concatenate([np.zeros((n, 1)), v.sum(1, dtype=np.float64).cumsum(1)], 1) for v in (x, x.astype(float) ** 2)
    )
    total, power = ((c[:, stop] - c[:, start]).T for c in (sums, squares))
    pixels = ((stop - start) * rows)[:, None]
    inverse = 1 / np.sqrt(np.maximum(power - total**2 / pixels, 1e-9))
    return (total / np.sqrt(pixels) * inverse).astype(np.float32), inverse.astype(np.float32)


# ----------------------------------------------------------------------------- windows


def center_windows(windows: Windows) -> Float[np.ndarray, "windows rows frames"]:
    """Returns pooled windows without their means."""
    x = pool_windows(windows)
    return x - x.mean((1, 2), keepdims=True)


def pool_windows(windows: Windows) -> Float[np.ndarray, "windows rows frames"]:
    """Returns means over areas, which leave 64 to 127 rows and frames of larger windows."""
    n, rows, frames = windows.shape
    r, f = max(1, rows // COMPARISON_SIZE), max(1, frames // COMPARISON_SIZE)
    cut = windows[:, : rows // r * r, : frames // f * f]
    return cut.reshape(n, rows // r, r, frames // f, f).mean((2, 4))


def copy_share(similarity: Float[np.ndarray, " n"], scale: Float[np.ndarray, " m"]) -> float:
    """Returns the share of generated windows more like a training window than any real unseen one, `scale`, is."""
    return float((similarity > scale.max()).mean())


def intra_user_diversity(windows: Windows, users: Int[np.ndarray, " windows"]) -> float:
    """Returns the median of 1 - NCC between windows of the same user."""
    values = []
    for user in np.unique(users):
        mine = windows[users == user]
        correlation = best_correlation(mine, mine)
        values.append(1 - correlation[np.triu_indices(len(mine), 1)])
    return float(np.median(np.concatenate(values)))
