"""Reading of windows one after the other: images and arrays alike, checked, at the working size, on the same axes."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mdiff_jax.data import arrays, colormap, images, native_grid, sources, spectrogram
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.progress import Bar, doing

MAX_ROW_SHIFT = 0.5  # rows, by which velocity axes that count as the same may differ
MAX_STRETCH = 0.01  # share, by which durations of windows may


class Example(NamedTuple):
    """A window as it was read."""

    source: sources.WindowSource
    window: np.ndarray  # (F, T, C) in [-1, 1]
    frames: int  # columns that it fills, from the first on; the others are -1
    metadata: dict[str, Any]  # of the data set so far


class ReadOptions(NamedTuple):
    """Options that say how files become windows, and which files are accepted."""

    image_size: tuple[int, int]  # rows, frames of the windows that are returned
    channels: str = "scalar"  # or 'rgb'
    colormap: str = "auto"  # of the images; 'auto': the one found in the first image
    stft: arrays.Stft = arrays.DEFAULT_STFT
    native_frames: bool = False  # keep windows at their own frames, where the images of a data set show them
    grid: native_grid.Survey | None = None  # of the data set that windows must be like; None: seen in the images
    expected_sizes: tuple[tuple[int, int], ...] = ()  # (rows, columns) of files, the usual first; (): any, all alike
    expected_velocities: tuple[float, ...] = ()  # m/s of each row of `image_size`, where files say it; (): any
    strict_colors: bool = True  # refuse images whose colors are off the colormap


class Axes(NamedTuple):
    """Axes of the windows of an array file, where known."""

    velocities: np.ndarray | None  # m/s of each row of the file, the highest first
    seconds: float | None  # duration of a window
    reading: str = ""  # what was made of the array, where it is not as it was found


UNKNOWN_AXES = Axes(None, None)


def read_examples(root: Path, items: list[sources.WindowSource], options: ReadOptions) -> Iterator[Example]:
    """Yields each window with its source and the metadata of the data set.

    InputError for a file that cannot be read, uses another colormap, or has another size or other axes than the first
    or than those expected.
    """
    paths = [sources.file_path(root, item) for item in items if item.row < 0]
    with doing("looking at the recordings"):
        name = find_colormap(paths, options)
        grid = find_grid(paths, options, name)
    native = options.native_frames and grid.is_native
    size, first, common, counts = None, "", UNKNOWN_AXES, Counter[str]()
    readings: dict[Path, str] = {}
    for item in Bar(items, desc="reading", unit="window"):
        path = sources.file_path(root, item)
        if item.row >= 0:
            image, (window, axes) = None, read_array_window(path, item.row, options)
        else:
            image, axes = images.read_image(path), UNKNOWN_AXES
            if name:
                window = images.to_scalar(image, name, path, options.strict_colors)
            else:
                window = images.to_rgb(image) / np.float32(255)
        if size is None:
            size, first, common = window.shape[:2], item.file, axes
            native = native and options.image_size[1] < size[1]  # a canvas as wide as the image holds the image
        check_size(path, window.shape[:2], first, size, options.expected_sizes)
        check_axes(path, axes, first, common)
        check_expected_velocities(path, axes, options)
        readings |= {path: axes.reading} if axes.reading else {}
        if native:
            found = spectrogram.native_frames(window[..., 0])
            levels = read_native(path, image, window[..., 0], found, grid, name)
            counts += Counter(unseen=not found, reduced=levels.shape[1] > options.image_size[1])
            window, frames = native_grid.place_on_canvas(levels * 2 - 1, options.image_size)
            window = window[..., None]
        else:
            window, frames = spectrogram.resize(window, options.image_size) * 2 - 1, options.image_size[1]
        metadata: dict[str, Any] = {"colormap": name, "original_size": list(size), "native": native}
        metadata |= {
            "file_format": grid.file_format.to_json(),
            "notes": describe_reading(options, grid, counts) + describe_arrays(readings),
        }
        metadata |= spectrogram.describe_velocity_axis(common.velocities, options.image_size[0])
        yield Example(item, window, frames, metadata)


def find_colormap(paths: list[Path], options: ReadOptions) -> str | None:
    """The colormap of a data set with these images, or to plot its arrays in; None where colors are kept."""
    if options.channels != "scalar":
        return None
    if not paths:
        return "jet"
    if options.colormap != "auto":
        return options.colormap
    image = images.read_image(paths[0])
    return "gray" if image.ndim == 2 else colormap.detect(image, f"'{paths[0]}'")


def find_grid(paths: list[Path], options: ReadOptions, name: str | None) -> native_grid.Survey:
    """The native grid of a data set with these images, or what stands for it where there is none to be seen."""
    if options.grid is not None:
        return options.grid
    if not paths:
        return native_grid.Survey(0, (), native_grid.PLAIN)
    images.read_image(paths[0])  # refuses it, if it is none
    if options.native_frames and name:
        return native_grid.survey_files(paths, name)
    return native_grid.Survey(0, (), native_grid.read_file_format(paths[0]))


def read_native(
    path: Path, image: images.ImageArray | None, window: np.ndarray, frames: int, grid: native_grid.Survey, name: str
) -> np.ndarray:
    """Levels (F, N) of a window (F, T) in [0, 1] of an image, or of an array (None), that shows `frames`; at 0 the
    usual number of the data set.
    """
    if not frames:
        return spectrogram.resize(window, (len(window), grid.usual_frames))
    if image is None:
        return native_grid.average_blocks(window, frames, soft_edges=False)
    seen = grid.file_format
    file_format = native_grid.read_file_format(path)._replace(
        soft_edges=seen.soft_edges, lowest_level=seen.lowest_level
    )
    return native_grid.read_levels(image, window, frames, file_format, name)


def describe_reading(options: ReadOptions, grid: native_grid.Survey, counts: Counter[str]) -> list[str]:
    """Lines about windows that are not as they were in the files, or not as `data.native_frames` has them."""
    rows, columns = options.image_size
    notes = []
    if options.native_frames and grid.files and not grid.is_native:
        notes += [
            f"{len(grid.frames)} of {grid.files} files show their frames as blocks of equal columns, fewer than "
            f"{native_grid.MIN_NATIVE_SHARE:.0%}: windows are resized to {rows}x{columns}, as by native_frames=False"
        ]
    notes += describe_reduced(counts["reduced"], columns)
    if counts["unseen"]:
        notes += [f"windows that show no frames, resized to {grid.usual_frames}: {counts['unseen']}"]
    return notes


def describe_arrays(readings: dict[Path, str]) -> list[str]:
    """Lines about array files whose arrays were turned or cut."""
    return [f"{reading}: {count} files" for reading, count in Counter(readings.values()).items()]


def describe_reduced(count: int, columns: int) -> list[str]:
    """The line about windows with more frames than columns, if there are any."""
    return [f"windows of more than {columns} frames, reduced to {columns} by area mean: {count}"] if count else []


def read_array_window(path: Path, row: int, options: ReadOptions) -> tuple[np.ndarray, Axes]:
    """Reads one window of an array file, (F, T, 1) in [0, 1], and its axes."""
    if options.channels != "scalar":
        raise InputError(f"'{path}' is an array, not a colored image: give data.channels='scalar'")
    read = arrays.read_windows(path, options.stft)
    return (read.spectrograms[row][..., None] + 1) / 2, Axes(read.velocities, read.seconds, read.reading)


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
            "rows and columns are velocities and times (of arrays of whole recordings, give data.stft.array_axes)"
        )
