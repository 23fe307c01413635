"""Doppler processing of a radar: slow-time samples → spectrograms in dB → model space.

Rows are Doppler, row 0 the highest velocity (towards the radar is positive); columns are time. Model space is [-1, 1]:
-1 is the floor, `span_db` below the top, and 1 the top; float32.
"""

import numpy as np
from jaxtyping import Complex, Float, Num
from scipy.signal import get_window

from mdiff_jax.runtime.array_types import Window
from mdiff_jax.runtime.errors import InputError

SPAN_DB = 45.0  # from the floor to the top of a spectrogram


def complex_noise(shape: tuple[int, ...], rng: np.random.Generator) -> Complex[np.ndarray, "..."]:
    """Draws real and imaginary parts of unit variance. Not as a product with [1, 1j]: after OpenBLAS's complex
    matrix-vector product everything else runs at half its speed for a while.
    """
    return rng.standard_normal((*shape, 2)).view(np.complex128)[..., 0]


def stft(
    iq: Complex[np.ndarray, " samples"],
    window: int,
    hop: int,
    rows_above_zero: int,
    taper: float = 1.0,
    rows: int | None = None,
) -> Complex[np.ndarray, "freq time"]:
    """Short-time Fourier transform with a Hann window of `window` samples, one every `hop`; frame m starts at sample
    m·hop. Of a frame the Hann window fills the share `taper`, in its middle; the rest is 0. Receding targets have
    falling phase, so that approach is positive. `rows_above_zero` is the row of zero Doppler; the axis wraps there.
    More `rows` than samples of a window interpolate between them. InputError for lengths that do not fit.
    """
    if not (hop > 0 and 2 <= window <= len(iq)):
        raise InputError(
            f"an STFT of {len(iq)} samples with window={window}, hop={hop}: give 2 <= window <= samples, hop > 0"
        )
    # scipy's ShortTimeFFT computes complex64 samples in double: 0.08 % of the walkers' stored values would change.
    frames = np.lib.stride_tricks.sliding_window_view(iq, window)[::hop]
    filled = round(window * taper)
    hann = np.zeros(window, np.float32)
    hann[(window - filled) // 2 :][:filled] = get_window("hann", filled)
    rows = rows or window
    spectrum = np.fft.fft(frames * hann, n=rows, axis=1).T / (filled / 2)
    return spectrum[(rows_above_zero - np.arange(rows)) % rows]


def row_velocities(window: int, prf: float, wavelength: float, rows_above_zero: int) -> Float[np.ndarray, " freq"]:
    """Velocity in m/s of each row of `stft`: steps of wavelength · prf / (2 window); wrapped where not symmetric."""
    return (rows_above_zero - np.arange(window)) * wavelength * prf / (2 * window)


def to_db(spectrum: Num[np.ndarray, "freq time"]) -> Float[np.ndarray, "freq time"]:
    """Converts a spectrum, or its amplitudes, to power in dB relative to 1; silence is -200."""
    return 20 * np.log10(np.abs(spectrum) + 1e-10)


def from_db(db: Float[np.ndarray, "freq time"], top_db: float, span_db: float = SPAN_DB) -> Window:
    """Converts dB to model space; values outside [top_db - span_db, top_db] are clipped."""
    return (np.clip((db - top_db) / span_db + 1, 0, 1) * 2 - 1).astype(np.float32)
