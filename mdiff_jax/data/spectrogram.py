"""Sizes of spectrograms: stretching in time, its inverse, and resizing of windows and velocity axes.

Rows are Doppler, row 0 the highest velocity (towards the radar is positive); columns are time.
"""

import itertools

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from mdiff_jax.runtime.array_types import Window


def stretch(window: Window, frames: int) -> Float[np.ndarray, "freq frames"]:
    """More or fewer time frames by nearest neighbor: the blocks that images of spectrograms show."""
    return window[:, (np.arange(frames) * window.shape[1]) // frames]


def native_frames(window: Float[np.ndarray, "freq columns"]) -> int:
    """Number of time frames before `stretch`, found from where columns change; 0 if they were not stretched."""
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
    """Inverts `stretch`: means of the blocks without their outermost columns, into which JPEG mixes others."""
    blocks = itertools.pairwise(block_starts(frames, window.shape[1]))
    inner = [(start + 1, stop - 1) if stop - start > 2 else (start, stop) for start, stop in blocks]
    return np.stack([window[:, start:stop].mean(1) for start, stop in inner], axis=1)


def block_starts(frames: int, width: int) -> Int[np.ndarray, " edges"]:
    """First column of each block that `stretch` makes of a frame, and `width`."""
    return (np.arange(frames + 1) * width + frames - 1) // frames


def resize(
    window: Float[np.ndarray, "freq time *channels"], size: tuple[int, int]
) -> Float[np.ndarray, "rows frames *channels"]:
    """Resizes to `size` (rows, frames), rows first: each axis by the mean over the area if it shrinks, else nearest."""
    if window.ndim == 3:
        return np.stack([resize(window[..., c], size) for c in range(window.shape[2])], axis=-1)
    for axis in (0, 1):
        shape = (window.shape[1], size[0]) if axis == 0 else (size[1], window.shape[0])
        how = Image.Resampling.BOX if size[axis] < window.shape[axis] else Image.Resampling.NEAREST
        window = np.asarray(Image.fromarray(np.ascontiguousarray(window, np.float32)).resize(shape, how))
    return window


def resize_velocity_axis(velocities: Float[np.ndarray, " freq"], rows: int) -> Float[np.ndarray, " rows"]:
    """Velocity at the middle of each of `rows` rows that a spectrogram with these velocities is resized to."""
    places = (np.arange(rows) + 0.5) * len(velocities) / rows - 0.5
    return np.interp(places, np.arange(len(velocities)), velocities)


def describe_velocity_axis(velocities: np.ndarray | None, rows: int) -> dict[str, float | list[float] | None]:
    """Metadata of a velocity axis (highest first) at `rows` rows: 'velocity' of each in m/s, 'zero_doppler' as a share
    of the height from the top; None where it is unknown.
    """
    if velocities is None:
        return {"zero_doppler": None, "velocity": None}
    here = resize_velocity_axis(velocities, rows)
    zero = (float(np.interp(0.0, here[::-1], np.arange(rows)[::-1])) + 0.5) / rows
    return {"zero_doppler": round(zero, 4), "velocity": np.round(here, 4).tolist()}
