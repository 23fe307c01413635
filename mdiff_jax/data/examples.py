"""Reading of windows one after the other: images and arrays alike, checked, at the working size."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from mdiff_jax.data import arrays, colormap, images, sources, spectrogram
from mdiff_jax.runtime.errors import InputError

Example = tuple[sources.WindowSource, np.ndarray, dict[str, Any]]  # window (F, T, C) in [-1, 1], metadata


class ReadOptions(NamedTuple):
    """Options that say how files become windows, and which files are accepted."""

    image_size: tuple[int, int]  # rows, frames of the windows that are returned
    channels: str = "scalar"  # or 'rgb'
    colormap: str = "auto"  # of the images; 'auto': the one found in the first image
    stft: arrays.Stft = arrays.DEFAULT_STFT
    native_frames: bool = False  # read images at the frames they had before they were stretched
    expected_sizes: tuple[tuple[int, int], ...] = ()  # (rows, columns) of files, the usual first; (): any, all alike


def read_examples(root: Path, items: list[sources.WindowSource], options: ReadOptions) -> Iterator[Example]:
    """Yields each window with its source and the metadata of the data set.

    InputError for a file that cannot be read, uses another colormap, or has another size than the first or than those
    expected.
    """
    name, scalar, size, first, velocities = options.colormap, options.channels == "scalar", None, "", None
    for item in tqdm(items, desc="reading", unit="window", mininterval=1):
        path = sources.file_path(root, item)
        if item.row >= 0:
            window, velocities = read_array_window(path, item.row, options)
            name = "jet"  # for plotting
        else:
            image = images.read_image(path)
            if scalar and name == "auto":
                name = "gray" if image.ndim == 2 else colormap.detect(image, f"'{path}'")
            window = images.to_scalar(image, name, path) if scalar else images.to_rgb(image) / np.float32(255)
        if size is None:
            size, first = window.shape[:2], item.file
        check_size(path, window.shape[:2], first, size, options.expected_sizes)
        if options.native_frames and item.row < 0:
            window = images.to_native_frames(window, options.image_size[1], path)
        metadata = {"colormap": name if scalar else None, "original_size": list(size)}
        metadata |= spectrogram.describe_velocity_axis(velocities, options.image_size[0])
        yield item, spectrogram.resize(window, options.image_size) * 2 - 1, metadata


def read_array_window(path: Path, row: int, options: ReadOptions) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads one window of an array file, (F, T, 1) in [0, 1], and the velocity of its rows where known."""
    if options.channels != "scalar":
        raise InputError(f"'{path}' is an array, not a colored image: give data.channels='scalar'")
    spectrograms, velocities = arrays.read_windows(path, options.stft)
    return (spectrograms[row][..., None] + 1) / 2, velocities


def check_size(
    path: Path, size: tuple[int, int], first: str, first_size: tuple[int, int], expected: tuple[tuple[int, int], ...]
) -> None:
    """InputError for a file of another size (rows, columns) than is expected, or than the first file has."""
    if expected and size not in expected:
        raise InputError(
            f"'{path}' is {size[1]}x{size[0]}, the model's recordings are {expected[0][1]}x{expected[0][0]}: "
            "plot it as the recordings were plotted"
        )
    if size != first_size:
        raise InputError(
            f"'{path}' is {size[1]}x{size[0]}, '{first}' is {first_size[1]}x{first_size[0]}: one size is needed, since "
            "rows and columns are velocities and times"
        )
