"""Synthetic walkers as windows of a data set: at their own frames, or stretched to the columns of real images and then
resized.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from mdiff_jax.data import native_grid, sources, spectrogram
from mdiff_jax.data.examples import Example, describe_reduced
from mdiff_jax.runtime.array_types import Window
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.progress import Bar
from mdiff_jax.simulator import walkers

IMAGE_SIZE = (256, 256)  # rows, columns of real recordings, whose frames are blocks of equal columns


def make_windows(size: tuple[int, int], **options: Any) -> Iterator[walkers.SimulatedWindow]:
    """Yields the windows of `walkers.make_windows(**options)` at `size` (rows, frames), with its rows' velocities.

    InputError for a size or an option that cannot be.
    """
    if min(size) < 1:
        raise InputError(f"size={size}: give at least 1 row and 1 frame")
    for w in walkers.make_windows(**options):
        velocities = spectrogram.resize_velocity_axis(w.velocities, size[0])
        yield dataclasses.replace(w, spectrogram=draw(w.spectrogram, size), velocities=velocities)


def draw(window: Window, size: tuple[int, int]) -> Float[np.ndarray, "rows columns"]:
    """Stretches a window to the columns of real images, then resizes it."""
    return spectrogram.resize(spectrogram.stretch(window, IMAGE_SIZE[1]), size)


def read_examples(size: tuple[int, int], options: dict[str, Any], native: bool) -> Iterator[Example]:
    """Yields each window (F, T, 1), named as a file would be, and the metadata of the data set so far; `native`: at the
    simulator's own frames, and at rows like the recordings', which interpolate, where there are more than its own.
    """
    total = options["num_users"] * options["recordings_per_user"] * options["windows_per_recording"]
    seconds, reduced = 0.0, 0
    rows = max(size[0], walkers.ROWS) if native else walkers.ROWS
    made = walkers.make_windows(**options, rows=rows)
    windows = Bar(made, desc="walking", unit="window", total=total)
    for count, w in enumerate(windows, 1):
        seconds += w.seconds
        reduced += native and w.spectrogram.shape[1] > size[1]
        window, frames = native_grid.place_on_canvas(w.spectrogram if native else draw(w.spectrogram, size), size)
        item = sources.WindowSource(f"{w.user}/{w.recording}_{w.index:04d}", w.user, f"{w.recording}/1", w.index)
        common = {"colormap": "jet", "original_size": list(IMAGE_SIZE), "window_seconds": round(seconds / count, 4)}
        common |= {"native": native, "file_format": native_grid.PLAIN.to_json()}
        common |= {"notes": describe_reduced(reduced, size[1])}
        common |= spectrogram.describe_velocity_axis(w.velocities, size[0])
        yield Example(item, window[..., None], frames, common)
