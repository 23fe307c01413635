"""The native grid of image files: the frames that a window had before it was drawn, how files are read at them, and how
windows are written as such files.

A picture of N frames is wider than N columns: each frame is a block of equal columns. Blocks have sharp edges, or soft
ones where the picture was drawn larger and then resized. In the model a window of N frames fills the first N columns
of a canvas, the others are -1.
"""

import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, JpegImagePlugin
from scipy import sparse

from mdiff_jax.data import colormap, images, spectrogram
from mdiff_jax.runtime.array_types import Window

MIN_NATIVE_SHARE = 0.9  # of the files looked at, in which blocks are seen, from which on a data set counts as native
SURVEYED_FILES = 20  # that are looked at
EDGE_COLUMNS = 0.8  # beside the edge of a block, that hold something of the next one where edges are soft
DRAWN_WIDTH = 4  # times the width of the file, that pictures with soft edges were drawn at
REFINEMENTS, REFINEMENT_STEP = 4, 0.8  # of levels read from JPEG; more and other ones read no better
FLOOR = 0.045  # below which levels read from JPEG are the noise floor; at 0.025 files written again are noisier
LEVEL_BINS, RARE = 50, 0.25  # of the levels of a survey; share of the usual count of a bin, below which it is empty
USUAL_BINS, LOW_BINS = slice(17, 45), 17  # bins that the usual count is the median of, and among which a gap is seen
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
Levels = Float[np.ndarray, "freq frames"]  # of a window in [0, 1]
Pixels = Float[np.ndarray, "freq time"]  # levels of each pixel of an image
Colors = UInt8[np.ndarray, "rows columns 3"]


class FileFormat(NamedTuple):
    """How the image files of a data set are written."""

    suffix: str = "png"  # or 'jpg'
    quantization: tuple[tuple[int, ...], ...] = ()  # tables of JPEG files, 64 numbers each
    subsampling: str = ""  # of the colors of JPEG files: '4:4:4', '4:2:2', '4:2:0'
    soft_edges: bool = False  # of the blocks of columns
    row_blocks: bool = True  # rows that are fewer than those of a file are repeated, not interpolated
    lowest_level: float = 0.0  # of what is drawn above the noise floor, which is 0; there is nothing between them

    def to_json(self) -> dict[str, Any]:
        """Values for JSON."""
        return self._asdict() | {"quantization": [list(table) for table in self.quantization]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "FileFormat":
        """Inverts `to_json`; ValueError (or another) for values that no file has."""
        found = cls(**values)._replace(quantization=tuple(map(tuple, values["quantization"])))
        sound = (
            found.suffix in ("png", "jpg")
            and found.subsampling in (SUBSAMPLINGS if found.quantization else ("",))
            and len(found.quantization) <= 4
            and all(len(t) == 64 and all(type(n) is int and 0 < n < 256 for n in t) for t in found.quantization)
            and all(type(flag) is bool for flag in (found.soft_edges, found.row_blocks))
            and 0 <= float(found.lowest_level) < 1
        )
        if not sound:
            raise ValueError("its file format is none")
        return found

    def save_options(self, suffix: str) -> dict[str, Any]:
        """What Pillow's `save` is given for 'png' or 'jpg'; without tables that is quality 75, 4:2:0."""
        if suffix == "png":
            return {"format": "png"}
        if not self.quantization:
            return {"format": "jpeg", "quality": 75, "subsampling": "4:2:0"}
        return {"format": "jpeg", "qtables": list(map(list, self.quantization)), "subsampling": self.subsampling}


PLAIN = FileFormat()


def read_file_format(path: Path) -> FileFormat:
    """The compression of one image file; edges and rows are not looked at."""
    with Image.open(path, formats=images.FORMATS) as image:
        if image.format != "JPEG":
            return PLAIN
        assert isinstance(image, JpegImagePlugin.JpegImageFile)
        tables = tuple(tuple(min(n, 255) for n in image.quantization[key]) for key in sorted(image.quantization))
        sampling = JpegImagePlugin.get_sampling(image)  # -1 for gray and for kinds that Pillow does not write
        return FileFormat("jpg", tables, SUBSAMPLINGS[sampling])


# ----------------------------------------------------------------------------- what a data set is


class Survey(NamedTuple):
    """What some files of a data set show."""

    files: int  # looked at
    frames: tuple[int, ...]  # of those in which blocks are seen
    file_format: FileFormat

    @property
    def is_native(self) -> bool:
        """Whether the files show their frames."""
        return len(self.frames) >= max(1, MIN_NATIVE_SHARE * self.files)

    @property
    def usual_frames(self) -> int:
        """Median of the frames."""
        return int(np.median(self.frames))


def survey_files(paths: Sequence[Path], name: str) -> Survey:
    """Looks at up to `SURVEYED_FILES` files, spread over all, in the colormap `name`."""
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, min(SURVEYED_FILES, len(paths))).astype(int)]
    found = read_file_format(paths[0])
    frames, errors, rows, counts = [], np.zeros(2), np.zeros(2), np.zeros(LEVEL_BINS, int)
    for path in chosen:
        image = images.read_image(path)
        levels = images.to_scalar(image, name, path)[..., 0]
        rows += measure_row_changes(levels)
        if n := spectrogram.native_frames(levels):
            frames.append(n)
            counts += np.histogram(average_blocks(levels, n, soft_edges=True), LEVEL_BINS, (0, 1))[0]
            both = [found._replace(soft_edges=soft) for soft in (False, True)]
            errors += [reproduction_error(image, levels, n, kind, name) for kind in both]
    found = found._replace(soft_edges=bool(errors[1] < errors[0]), row_blocks=bool(rows[0] <= 0.5 * rows[1]))
    return Survey(len(chosen), tuple(frames), found._replace(lowest_level=find_lowest_level(counts)))


def find_lowest_level(counts: Int[np.ndarray, " bins"]) -> float:
    """The level from which on levels are usual, where there are hardly any between it and the noise floor; else 0.

    Recordings are often drawn from a threshold on, which leaves a gap that JPEG fills in part.
    """
    rare = np.flatnonzero(counts[1:LOW_BINS] < RARE * np.median(counts[USUAL_BINS]))
    return float(rare[-1] + 1.5) / len(counts) if len(rare) else 0.0  # the middle of a bin, for what JPEG has blurred


def describe_files(paths: Sequence[Path], name: str) -> dict[str, Any]:
    """How image files are written, and where they show their frames the lowest, median and highest number of these, and
    the size (rows, frames) that keeps them; None for what is not seen.
    """
    report: dict[str, Any] = dict.fromkeys(("file_format", "native_frames", "image_size"))
    if not paths:
        return report
    survey = survey_files(paths, name)
    report["file_format"] = survey.file_format.to_json()
    if survey.is_native:
        levels = (images.to_scalar(images.read_image(path), name, path)[..., 0] for path in paths)
        frames = sorted(n for n in map(spectrogram.native_frames, levels) if n)
        rows = len(images.read_image(paths[0])) // (2 if survey.file_format.row_blocks else 1)
        report["native_frames"] = [frames[0], frames[len(frames) // 2], frames[-1]]
        report["image_size"] = [rows, -8 * (-frames[-1] // 8)]
    return report


def measure_row_changes(levels: Pixels) -> Float[np.ndarray, "2"]:
    """Mean change from row to row within pairs, and from pair to pair; pairs are equal where rows were repeated."""
    change = abs(np.diff(levels, axis=0)).mean(1)
    return np.array([change[0::2].mean(), change[1::2].mean()])


def reproduction_error(image: np.ndarray, levels: Pixels, frames: int, file_format: FileFormat, name: str) -> float:
    """Mean difference between an image and the one that is drawn from what is read of it."""
    drawn = render(average_blocks(levels, frames, file_format.soft_edges), levels.shape, file_format, name)
    return float(abs(compress(drawn, file_format).astype(np.float32) - images.to_rgb(image)).mean())


# ----------------------------------------------------------------------------- reading


def read_levels(image: images.ImageArray, levels: Pixels, frames: int, file_format: FileFormat, name: str) -> Levels:
    """Levels (F, `frames`) of an image whose pixels have these `levels` (F, T).

    JPEG bends levels near strong changes. They are therefore corrected until the file that would be written of them is
    read as the image is, which halves their error. What is then below `FLOOR`, or in the gap that the data set leaves
    above the noise floor, is noise.
    """
    soft = file_format.soft_edges
    read = average_blocks(levels, frames, soft)
    if not file_format.quantization:
        return read
    refined = read
    if image.ndim == 3:
        used = used_columns(frames, levels.shape[1], soft)
        for _ in range(REFINEMENTS):
            drawn = compress(render(refined, levels.shape, file_format, name), file_format)
            again = np.zeros_like(levels)
            again[:, used] = colormap.to_scalar(drawn[:, used], name)
            off = read - average_blocks(again, frames, soft)
            refined = np.clip(refined + np.float32(REFINEMENT_STEP) * off, 0, 1)
    return close_gap(np.where(refined < FLOOR, np.float32(0), refined), file_format.lowest_level)


def close_gap(levels: Float[np.ndarray, "..."], lowest: float, floor: float = 0.0) -> Float[np.ndarray, "..."]:
    """Moves levels below `lowest` to it, or to 0 where they are nearer to the noise floor, which was at `floor`."""
    empty = (levels <= 0) | (levels < (floor + lowest) / 2)
    return np.where(empty, np.float32(0), np.maximum(levels, np.float32(lowest)))


def compress(image: Colors, file_format: FileFormat) -> Colors:
    """An image as it is read after it was written."""
    if not file_format.quantization:
        return image
    file = io.BytesIO()
    Image.fromarray(image).save(file, **file_format.save_options("jpg"))
    with Image.open(file, formats=("JPEG",)) as written:
        return np.asarray(written.convert("RGB"))


def average_blocks(levels: Pixels, frames: int, soft_edges: bool) -> Levels:
    """Means of the blocks without the columns at their edges, into which others are mixed."""
    means = averaging_matrix(frames, levels.shape[1], soft_edges) @ levels.T
    return np.ascontiguousarray(means.T, np.float32)


@functools.lru_cache(maxsize=256)
def averaging_matrix(frames: int, width: int, soft_edges: bool) -> sparse.csr_array:
    """Weights (frames, width) of `average_blocks`."""
    if soft_edges:
        start = np.ceil(np.arange(frames) * width / frames + EDGE_COLUMNS).astype(int)
        stop = np.floor((np.arange(frames) + 1) * width / frames - EDGE_COLUMNS).astype(int)
        start = np.where(stop > start, start, ((np.arange(frames) + 0.5) * width / frames).astype(int))
        stop = np.maximum(stop, start + 1)
    else:
        edges = spectrogram.block_starts(frames, width)
        inner = (np.diff(edges) > 2).astype(int)
        start, stop = edges[:-1] + inner, edges[1:] - inner
    column = np.arange(width)
    weights = ((column >= start[:, None]) & (column < stop[:, None])) / (stop - start)[:, None]
    return sparse.csr_array(weights.astype(np.float32))


@functools.lru_cache(maxsize=256)
def used_columns(frames: int, width: int, soft_edges: bool) -> Int[np.ndarray, " columns"]:
    """Columns that `average_blocks` reads."""
    return np.unique(averaging_matrix(frames, width, soft_edges).indices)


# ----------------------------------------------------------------------------- writing


def render(levels: Levels, size: tuple[int, int], file_format: FileFormat, name: str) -> Colors:
    """Draws levels in [0, 1] as the image files of a data set of `size` (rows, columns) are drawn."""
    rows, width = size
    if levels.shape[0] < rows and not file_format.row_blocks:
        drawn = Image.fromarray(np.ascontiguousarray(levels, np.float32))
        levels = np.asarray(drawn.resize((levels.shape[1], rows), Image.Resampling.BICUBIC))
    levels = spectrogram.resize(levels, (rows, levels.shape[1]))
    colors = colormap.to_rgb(levels.T, name)  # (frames, rows, 3)
    if file_format.soft_edges:
        mixed = drawing_matrix(len(colors), width) @ colors.reshape(len(colors), -1).astype(np.float32)
        colors = (mixed + np.float32(0.5)).clip(0, 255).astype(np.uint8).reshape(width, rows, 3)
    else:
        colors = colors[(np.arange(width) * len(colors)) // width]
    return np.ascontiguousarray(colors.transpose(1, 0, 2))


@functools.lru_cache(maxsize=256)
def drawing_matrix(frames: int, width: int) -> sparse.csr_array:
    """Weights (width, frames) with which the colors of frames are mixed where a picture was drawn wider and resized."""
    wide = np.eye(frames, dtype=np.float32)[(np.arange(DRAWN_WIDTH * width) * frames) // (DRAWN_WIDTH * width)]
    return sparse.csr_array(np.asarray(Image.fromarray(wide).resize((frames, width), Image.Resampling.BICUBIC)))


# ----------------------------------------------------------------------------- canvas


def place_on_canvas(window: Window, size: tuple[int, int]) -> tuple[Float[np.ndarray, "rows columns"], int]:
    """Puts a window (F, N) into the first N columns of `size`, -1 in the others; returns it and the columns it fills.

    Rows are resized where they differ. Only a window of more frames than there are columns is reduced, by area mean.
    """
    frames = min(window.shape[1], size[1])
    canvas = np.full(size, -1, np.float32)
    canvas[:, :frames] = spectrogram.resize(window, (size[0], frames))
    return canvas, frames


def to_fixed_grid(
    windows: Float[np.ndarray, "n freq time *channels"], frames: Int[np.ndarray, " n"], size: tuple[int, int]
) -> Float[np.ndarray, "n rows columns *channels"]:
    """Brings the frames of each window to all columns of `size`: repeated where they are fewer, else by area mean."""
    return np.stack([to_data_axes(window, int(n), size) for window, n in zip(windows, frames, strict=True)])


def to_data_axes(
    window: Float[np.ndarray, "freq time *channels"], frames: int, size: tuple[int, int]
) -> Float[np.ndarray, "rows columns *channels"]:
    """Levels of a window at the rows and columns of the data set's files, `size`: its frames as blocks of columns."""
    own = window[:, :frames]
    return spectrogram.resize(spectrogram.stretch(own, size[1]) if frames <= size[1] else own, size)
