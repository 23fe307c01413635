"""Synthetic walkers as windows of a data set: stretched to the columns of real images, then resized."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

from mdiff_jax.data import sources, spectrogram
from mdiff_jax.data.examples import Example
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.simulator import walkers

IMAGE_SIZE = (256, 256)  # rows, columns of real recordings, whose frames are blocks of equal columns


def make_windows(size: tuple[int, int], **options: Any) -> Iterator[walkers.SimulatedWindow]:
    """Yields the windows of `walkers.make_windows(**options)` at `size` (rows, frames), with its rows' velocities.

    InputError for a size or an option that cannot be.
    """
    if min(size) < 1:
        raise InputError(f"size={size}: give at least 1 row and 1 frame")
    for w in walkers.make_windows(**options):
        drawn = spectrogram.stretch(w.spectrogram, IMAGE_SIZE[1])
        velocities = spectrogram.resize_velocity_axis(w.velocities, size[0])
        yield dataclasses.replace(w, spectrogram=spectrogram.resize(drawn, size), velocities=velocities)


def read_examples(size: tuple[int, int], options: dict[str, Any]) -> Iterator[Example]:
    """Yields each window (F, T, 1), named as a file would be, and the metadata of the data set so far."""
    total = options["num_users"] * options["recordings_per_user"] * options["windows_per_recording"]
    seconds = 0.0
    windows = tqdm(make_windows(size, **options), desc="walking", unit="window", total=total, mininterval=1)
    for count, w in enumerate(windows, 1):
        seconds += w.seconds
        item = sources.WindowSource(f"{w.user}/{w.recording}_{w.index:04d}", w.user, f"{w.recording}/1", w.index)
        common = {"colormap": "jet", "original_size": list(IMAGE_SIZE), "window_seconds": round(seconds / count, 4)}
        common |= spectrogram.describe_velocity_axis(w.velocities, size[0])
        yield item, w.spectrogram[..., None], common
