"""Sizes of spectrograms: stretching in time, how it is recognized, and resizing of windows and velocity axes.

Rows are Doppler, row 0 the highest velocity (towards the radar is positive); columns are time.
"""

import functools

import numpy as np
from jaxtyping import Float, Int
from PIL import Image
from scipy.ndimage import uniform_filter1d

MIN_COLUMNS, MAX_COLUMNS = 32, 4096  # of windows whose frames are counted: in fewer columns chance looks like frames
MAX_BLOCK = 20  # columns of a frame, about
MAX_FRAMES = 512
# Recordings (JPEG, 49 to 82 frames in 256 columns) have a fit of 0.89 and a contrast of 6.5 at least, similar files of
# up to 110 frames 0.69 and 2.4. Pictures interpolated between frames reach 0.85 and 2.3, noise 0.5 and 1.1.
MIN_FIT = 0.6  # correlation of changes and edges
MIN_CONTRAST = 2.35  # change at an edge over change inside a block


def stretch(
    window: Float[np.ndarray, "freq time *channels"], frames: int
) -> Float[np.ndarray, "freq frames *channels"]:
    """More or fewer time frames by nearest neighbor: the blocks that images of spectrograms show."""
    return window[:, (np.arange(frames) * window.shape[1]) // frames]


def native_frames(window: Float[np.ndarray, "freq columns"]) -> int:
    """Number of time frames before `stretch`; 0 if no blocks of equal columns are seen.

    The changes from column to column, relative to those nearby, are compared with the edges of N blocks, for each N.
    The best N must explain them, and little may change inside its blocks.
    """
    width = window.shape[1]
    if not MIN_COLUMNS <= width <= MAX_COLUMNS:
        return 0
    counts, edges = edge_patterns(width)
    change = abs(np.diff(window, axis=1)).mean(0)
    change = change / np.maximum(uniform_filter1d(change, 5, mode="mirror"), 1e-5)
    off, pattern = change - change.mean(), edges - edges.mean(1, keepdims=True)
    fit = pattern @ off / np.maximum(np.linalg.norm(pattern, axis=1) * np.linalg.norm(off), 1e-9)
    best = int(fit.argmax())
    at_edge = pattern[best] @ off / (pattern[best] ** 2).sum()  # regression: change at an edge beyond that inside
    inside = change.mean() - at_edge * edges[best].mean()
    return int(counts[best]) if fit[best] >= MIN_FIT and at_edge >= (MIN_CONTRAST - 1) * inside else 0


@functools.lru_cache(maxsize=8)
def edge_patterns(width: int) -> tuple[Int[np.ndarray, " patterns"], Float[np.ndarray, "patterns changes"]]:
    """Numbers of frames, twice, and the edges among the changes from one of `width` columns to the next: sharp ones,
    and soft ones, which show on both sides of the column that they fall into.
    """
    counts = range(max(2, width // MAX_BLOCK), min(width // 2, MAX_FRAMES))
    edges = np.zeros((2, len(counts), width + 1), np.float32)
    for i, n in enumerate(counts):
        place = np.arange(1, n) * width / n
        edges[0, i, block_starts(n, width)[1:-1]] = 1
        np.add.at(edges[1, i], np.floor(place).astype(int), 1 - place % 1)
        np.add.at(edges[1, i], np.floor(place).astype(int) + 1, place % 1)
    return np.array([*counts, *counts]), edges[:, :, 1:-1].reshape(2 * len(counts), width - 1)


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
    beyond = 2 * velocities[[0, -1]] - velocities[[1, -2]]  # of more rows than there were, the outer halves
    return np.interp(places, np.arange(-1, len(velocities) + 1), np.r_[beyond[0], velocities, beyond[1]])


def describe_velocity_axis(velocities: np.ndarray | None, rows: int) -> dict[str, float | list[float] | None]:
    """Metadata of a velocity axis (highest first) at `rows` rows: 'velocity' of each in m/s, 'zero_doppler' as a share
    of the height from the top; None where it is unknown.
    """
    if velocities is None:
        return {"zero_doppler": None, "velocity": None}
    here = resize_velocity_axis(velocities, rows)
    zero = (float(np.interp(0.0, here[::-1], np.arange(rows)[::-1])) + 0.5) / rows
    return {"zero_doppler": round(zero, 4), "velocity": np.round(here, 4).tolist()}
