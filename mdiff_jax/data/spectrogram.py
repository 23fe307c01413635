"""Power in time and frequency: slow-time signal → dB → model space [-1, 1].

Row 0 is the highest velocity. Model space is linear in dB: 1 is the strongest return of a window, -1 is `RANGE_DB` below
it and everything weaker.
"""

import numpy as np
from jaxtyping import Complex, Float
from PIL import Image
from scipy.signal import get_window

from mdiff_jax.types import Window

RANGE_DB = 40.0
WINDOW_SECONDS = 0.038
HOP_SECONDS = 0.038
ROWS = 128


def stft(
    signal: Complex[np.ndarray, " samples"], rate: float, *, lowest: float, hertz_per_speed: float
) -> tuple[Float[np.ndarray, "freq time"], Float[np.ndarray, " freq"], Float[np.ndarray, " time"]]:
    """(dB, velocity of each row in m/s, centre of each frame in s) of complex slow time sampled at `rate` Hz.

    A Hann window of 38 ms moves on by 38 ms; 128 rows. Velocities lie from `lowest` up over a span of
    `rate / hertz_per_speed`; positive is towards the radar.
    """
    length, hop = round(WINDOW_SECONDS * rate), round(HOP_SECONDS * rate)
    starts = np.arange(0, len(signal) - length + 1, hop)
    frames = signal[starts[:, None] + np.arange(length)] * get_window("hann", length).astype(np.float32)
    frequency = (lowest + (np.arange(ROWS) + 0.5) * rate / hertz_per_speed / ROWS) * hertz_per_speed
    basis = np.exp(-2j * np.pi * np.outer(frequency / rate, np.arange(length))).astype(np.complex64)
    power = np.abs(basis @ frames.T) ** 2
    times = (starts + length / 2) / rate
    return 10 * np.log10(power[::-1] + 1e-20), frequency[::-1] / hertz_per_speed, times


def from_db(db: Float[np.ndarray, "freq time"]) -> Window:
    """dB → [-1, 1], float32, relative to the strongest return."""
    return np.clip(2 * (db - db.max() + RANGE_DB) / RANGE_DB - 1, -1, 1).astype(np.float32)


def to_db(window: Window) -> Window:
    """[-1, 1] → dB relative to the strongest return, -40 … 0."""
    return (window - 1) / 2 * np.float32(RANGE_DB)


def resize(window: Window, size: tuple[int, int]) -> Window:
    """To `size` (rows, frames): along each axis the mean over an area where it shrinks, else the nearest."""
    for axis, count in enumerate(size):
        how = Image.Resampling.BOX if count <= window.shape[axis] else Image.Resampling.NEAREST
        shape = (window.shape[1], count) if axis == 0 else (count, window.shape[0])
        window = np.asarray(Image.fromarray(window).resize(shape, how))
    return window
