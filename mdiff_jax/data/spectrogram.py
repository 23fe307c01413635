"""Slow-time radar samples → spectrograms in dB → model space, and the sizes they are worked at.

Rows are Doppler, row 0 the highest velocity (towards the radar is positive); columns are time. Model space is [-1, 1]:
-1 is the floor, `span_db` below the top, and 1 the top; float32.
"""

import itertools

import numpy as np
from jaxtyping import Complex, Float, Int
from PIL import Image
from scipy.signal import get_window

from mdiff_jax.runtime.array_types import Window
from mdiff_jax.runtime.errors import InputError

SPAN_DB = 45.0  # from the floor to the top of a picture


def stft(
    iq: Complex[np.ndarray, " samples"], window: int, hop: int, rows_above_zero: int
) -> Complex[np.ndarray, "freq time"]:
    """Hann frames of `window` samples, one every `hop`; frame m starts at sample m·hop. Receding targets have
    falling phase, so that approach is positive. `rows_above_zero` is the row of zero Doppler; the axis wraps there.
    """
    if not (hop > 0 and 2 <= window <= len(iq)):
        raise InputError(
            f"an STFT of {len(iq)} samples with window={window}, hop={hop}: give 2 <= window <= samples, hop > 0"
        )
    frames = np.lib.stride_tricks.sliding_window_view(iq, window)[::hop]
    spectrum = np.fft.fft(frames * get_window("hann", window).astype(np.float32), axis=1).T / (window / 2)
    return spectrum[(rows_above_zero - np.arange(window)) % window]


def row_velocities(window: int, prf: float, wavelength: float, rows_above_zero: int) -> Float[np.ndarray, " freq"]:
    """m/s of each row of `stft`: steps of wavelength · prf / (2 window); a wrapped axis where it is not symmetric."""
    return (rows_above_zero - np.arange(window)) * wavelength * prf / (2 * window)


def to_db(spectrum: Complex[np.ndarray, "freq time"]) -> Float[np.ndarray, "freq time"]:
    """Power in dB relative to 1; silence is -200."""
    return 20 * np.log10(np.abs(spectrum) + 1e-10)


def from_db(db: Float[np.ndarray, "freq time"], top_db: float, span_db: float = SPAN_DB) -> Window:
    """dB → model space; what lies outside [top_db - span_db, top_db] is clipped."""
    return (np.clip((db - top_db) / span_db + 1, 0, 1) * 2 - 1).astype(np.float32)


def model_to_db(window: Window, top_db: float, span_db: float = SPAN_DB) -> Float[np.ndarray, "freq time"]:
    """Model space → dB; the floor comes back as top_db - span_db."""
    return ((window + 1) / 2 - 1) * span_db + top_db


def stretch(window: Window, frames: int) -> Float[np.ndarray, "freq frames"]:
    """More or fewer time frames by nearest neighbour: the blocks that pictures of spectrograms show."""
    return window[:, (np.arange(frames) * window.shape[1]) // frames]


def native_frames(window: Float[np.ndarray, "freq columns"]) -> int:
    """Time frames before they were stretched by nearest neighbour, from where columns change; 0 if they were not."""
    width = window.shape[1]
    change = abs(np.diff(window, axis=1)).mean(0)
    best, score = 0, 1.5
    for n in range(width // 8, width // 2):
        edge = np.zeros(width - 1, bool)
        edge[block_starts(n, width)[1:-1] - 1] = True
        ratio = change[edge].mean() / max(float(change[~edge].mean()), 1e-6)
        best, score = (n, ratio) if ratio > score else (best, score)
    return best


def unstretch(window: Float[np.ndarray, "freq columns"], frames: int) -> Float[np.ndarray, "freq frames"]:
    """The inverse of `stretch`: means of the blocks without their outermost columns, into which JPEG mixes others."""
    blocks = itertools.pairwise(block_starts(frames, window.shape[1]))
    inner = [(start + 1, stop - 1) if stop - start > 2 else (start, stop) for start, stop in blocks]
    return np.stack([window[:, start:stop].mean(1) for start, stop in inner], axis=1)


def block_starts(frames: int, width: int) -> Int[np.ndarray, " edges"]:
    """The first column of each block that `stretch` makes of a frame, and `width`."""
    return (np.arange(frames + 1) * width + frames - 1) // frames


def resize(window: Window, size: tuple[int, int]) -> Float[np.ndarray, "rows frames"]:
    """To `size` (rows, frames): along each axis the mean over the area where it shrinks, else nearest."""
    for axis in (0, 1):
        shape = (window.shape[1], size[0]) if axis == 0 else (size[1], window.shape[0])
        how = Image.Resampling.BOX if size[axis] < window.shape[axis] else Image.Resampling.NEAREST
        window = np.asarray(Image.fromarray(np.ascontiguousarray(window, np.float32)).resize(shape, how))
    return window
