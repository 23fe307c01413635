"""Windows as a model draws them, on the axes of the recordings' images, and on the grid where windows are compared."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from mdiff_jax.data import builders, native_grid, spectrogram
from mdiff_jax.data.native_grid import FileFormat

COMPARISON_GRID = (128, 64)  # rows, frames at which windows of native frames are compared


class DrawnWindows(NamedTuple):
    """Windows of a model's size; with native frames only the first `frames` columns of each are the window."""

    spectrograms: np.ndarray  # (n, F, T), RGB (n, F, T, 3), in [-1, 1]
    frames: Int[np.ndarray, " n"]

    def split(self) -> list["DrawnWindows"]:
        """Returns each window by itself."""
        return [DrawnWindows(*(x[i : i + 1] for x in self)) for i in range(len(self.frames))]


def close_gap(spectrograms: np.ndarray, metadata: Mapping[str, Any], floor_margin: float) -> np.ndarray:
    """Moves levels of the gap that recordings leave above the noise floor, which was lowered by `floor_margin` for the
    decoder, to its nearer end.
    """
    if not (lowest := FileFormat.from_json(metadata["file_format"]).lowest_level):
        return spectrograms
    return native_grid.close_gap((spectrograms + 1) / 2, lowest, -floor_margin / 2) * 2 - 1


def to_image_axes(windows: DrawnWindows, metadata: Mapping[str, Any], length: float = 1.0) -> np.ndarray:
    """Returns (n, F, T) on the axes of the recordings' images, frames repeated; as they are without native frames.

    `metadata` are the data set's; `length` is that of longer walks, in windows.
    """
    if not metadata["native"]:
        return windows.spectrograms
    rows, columns = metadata["original_size"]
    return native_grid.to_fixed_grid(*windows, (rows, round(columns * length)))


def from_image_axes(windows: np.ndarray, metadata: Mapping[str, Any], size: tuple[int, int]) -> DrawnWindows:
    """Inverts `to_image_axes` for a model of `size`: with native frames each window at as many as its blocks show, or
    at the most there are where it shows none.
    """
    if not metadata["native"]:
        return DrawnWindows(windows, np.full(len(windows), size[1]))
    placed = []
    for window in windows:
        frames = spectrogram.native_frames(window) or min(size[1], window.shape[1])
        placed.append(native_grid.place_on_canvas(native_grid.average_blocks(window, frames, False), size))
    return DrawnWindows(*map(np.array, zip(*placed, strict=True)))


def to_comparison_grid(windows: DrawnWindows, metadata: Mapping[str, Any]) -> np.ndarray:
    """Returns (n, F, T) as windows are compared and judged: the frames of each over the same number of columns."""
    return native_grid.to_fixed_grid(*windows, COMPARISON_GRID) if metadata["native"] else windows.spectrograms


def load_comparison_windows(dataset: builders.Dataset, rows: Int[np.ndarray, " n"]) -> np.ndarray:
    """Returns the windows (n, F, T) of a data set at these rows, as one channel, at the grid of comparisons."""
    windows = DrawnWindows(dataset.load(rows).mean(-1), dataset.frames[rows])
    return to_comparison_grid(windows, dataset.metadata)
