"""Reading of windows one after the other: images and arrays alike, checked, at the working size, on the same axes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from mdiff_jax.data import arrays, colormap, images, sources, spectrogram
from mdiff_jax.runtime.errors import InputError

MAX_ROW_SHIFT = 0.5  # rows, by which velocity axes that count as the same may differ
MAX_STRETCH = 0.01  # share, by which durations of windows may
Example = tuple[sources.WindowSource, np.ndarray, dict[str, Any]]  # window (F, T, C) in [-1, 1], metadata


class ReadOptions(NamedTuple):
    """Options that say how files become windows, and which files are accepted."""

    image_size: tuple[int, int]  # rows, frames of the windows that are returned
    channels: str = "scalar"  # or 'rgb'
    colormap: str = "auto"  # of the images; 'auto': the one found in the first image
    stft: arrays.Stft = arrays.DEFAULT_STFT
    native_frames: bool = False  # read images at the frames they had before they were stretched
    expected_sizes: tuple[tuple[int, int], ...] = ()  # (rows, columns) of files, the usual first; (): any, all alike
    expected_velocities: tuple[float, ...] = ()  # m/s of each row of `image_size`, where files say it; (): any


class Axes(NamedTuple):
    """Axes of the windows of an array file, where known."""

    velocities: np.ndarray | None  # m/s of each row of the file, the highest first
    seconds: float | None  # duration of a window


UNKNOWN_AXES = Axes(None, None)


def read_examples(root: Path, items: list[sources.WindowSource], options: ReadOptions) -> Iterator[Example]:
    """Yields each window with its source and the metadata of the data set.

    InputError for a file that cannot be read, uses another colormap, or has another size or other axes than the first
    or than those expected.
    """
    name, scalar, size, first, common = options.colormap, options.channels == "scalar", None, "", UNKNOWN_AXES
    for item in tqdm(items, desc="reading", unit="window", mininterval=1):
        path = sources.file_path(root, item)
        if item.row >= 0:
            window, axes = read_array_window(path, item.row, options)
            name = "jet"  # for plotting
        else:
            image, axes = images.read_image(path), UNKNOWN_AXES
            if scalar and name == "auto":
                name = "gray" if image.ndim == 2 else colormap.detect(image, f"'{path}'")
            window = images.to_scalar(image, name, path) if scalar else images.to_rgb(image) / np.float32(255)
        if size is None:
            size, first, common = window.shape[:2], item.file, axes
        check_size(path, window.shape[:2], first, size, options.expected_sizes)
        check_axes(path, axes, first, common)
        check_expected_velocities(path, axes, options)
        if options.native_frames and item.row < 0:
            window = images.to_native_frames(window, options.image_size[1], path)
        metadata = {"colormap": name if scalar else None, "original_size": list(size)}
        metadata |= spectrogram.describe_velocity_axis(common.velocities, options.image_size[0])
        yield item, spectrogram.resize(window, options.image_size) * 2 - 1, metadata


def read_array_window(path: Path, row: int, options: ReadOptions) -> tuple[np.ndarray, Axes]:
    """Reads one window of an array file, (F, T, 1) in [0, 1], and its axes."""
    if options.channels != "scalar":
        raise InputError(f"'{path}' is an array, not a colored image: give data.channels='scalar'")
    read = arrays.read_windows(path, options.stft)
    return (read.spectrograms[row][..., None] + 1) / 2, Axes(read.velocities, read.seconds)


def check_axes(path: Path, axes: Axes, first: str, common: Axes) -> None:
    """InputError for a file whose rows are other velocities, or whose windows last longer, than those of the first."""
    here, there = axes.velocities, common.velocities
    if (here is None) != (there is None):
        with_axis, without = (first, path) if here is None else (path, first)
        raise InputError(
            f"'{with_axis}' says the velocity of its rows, '{without}' does not: give all files 'velocity'"
        )
    if here is not None and not is_same_axis(here, there):
        raise InputError(
            f"the rows of '{path}' are {here[0]:.4g} to {here[-1]:.4g} m/s, those of '{first}' {there[0]:.4g} to "
            f"{there[-1]:.4g}: resample them to the same velocities"
        )
    if (axes.seconds or 0) and abs(axes.seconds - (common.seconds or 0)) > MAX_STRETCH * axes.seconds:
        raise InputError(
            f"the windows of '{path}' last {axes.seconds:.4g} s, those of '{first}' "
            f"{f'{common.seconds:.4g} s' if common.seconds else 'an unknown time'}: resample them to the same rate"
        )


def check_expected_velocities(path: Path, axes: Axes, options: ReadOptions) -> None:
    """InputError for a file whose rows are other velocities than expected."""
    if axes.velocities is None or not options.expected_velocities:
        return
    expected = np.array(options.expected_velocities)
    if not is_same_axis(here := spectrogram.resize_velocity_axis(axes.velocities, len(expected)), expected):
        raise InputError(
            f"the rows of '{path}' are {here[0]:.4g} to {here[-1]:.4g} m/s, those of the model {expected[0]:.4g} to "
            f"{expected[-1]:.4g}: resample them to the same velocities"
        )


def is_same_axis(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the rows of two axes are the same velocities, as far as can be told from one row to the next."""
    return len(one) == len(other) and bool((abs(one - other) <= MAX_ROW_SHIFT * abs(np.gradient(one))).all())


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
