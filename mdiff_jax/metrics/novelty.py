"""Is it new? The most similar training window of each generated one, under the best shift in time.

Similarity is the normalised cross-correlation (NCC) of windows averaged down to 64 x 64. Neighbouring real windows
share most of their pixels, so the scale for "similar" is that of real windows which share none.
"""

import numpy as np
from jaxtyping import Float, Int

from mdiff_jax.types import Windows

SIZE = 64
Queries = Float[np.ndarray, "queries freq time"]
References = Float[np.ndarray, "references freq time"]
CHUNK = 256  # windows compared at once on each side


def best_correlation(queries: Queries, references: References) -> Float[np.ndarray, "queries references"]:
    """Highest NCC over all circular shifts in time, by FFT along time: exact, -1 … 1."""
    a, b = spectrum(queries), spectrum(references)
    frames = min(SIZE, queries.shape[2])
    out = np.empty((len(queries), len(references)), np.float32)
    for i in range(0, len(a), CHUNK):
        for j in range(0, len(b), CHUNK):
            # one product over Doppler rows for each time frequency, then back to shifts
            cross = np.matmul(a[i : i + CHUNK].transpose(2, 0, 1), b[j : j + CHUNK].transpose(2, 1, 0).conj())
            out[i : i + CHUNK, j : j + CHUNK] = np.fft.irfft(cross, frames, axis=0).max(0)
    return out


def spectrum(windows: Windows) -> np.ndarray:
    """(N, rows, frequencies) FFT along time of windows of zero mean and unit norm."""
    x = pooled(windows)
    x = x - x.mean((1, 2), keepdims=True)
    x = x / np.maximum(np.linalg.norm(x, axis=(1, 2), keepdims=True), 1e-6)
    return np.fft.rfft(x, axis=2).astype(np.complex64)


def pooled(windows: Windows) -> Windows:
    """Means over areas, down to at most 64 x 64."""
    n, rows, frames = windows.shape
    r, f = max(1, rows // SIZE), max(1, frames // SIZE)
    cut = windows[:, : rows // r * r, : frames // f * f]
    return cut.reshape(n, rows // r, r, frames // f, f).mean((2, 4))


def nearest(
    generated: Queries, training: References
) -> tuple[Float[np.ndarray, " queries"], Int[np.ndarray, " queries"]]:
    """(NCC, position) of the training window most like each generated one."""
    correlation = best_correlation(generated, training)
    return correlation.max(1), correlation.argmax(1)


def copies(similarity: Float[np.ndarray, " n"], scale: Float[np.ndarray, " m"]) -> float:
    """Share of generated windows nearer to a training window than any real unseen one is."""
    return float((similarity > scale.max()).mean())
