"""A data set back to files, in layouts that `sources` reads: a folder of images per user, one .npz, or TFDS."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from mdiff_jax.data import builders, colormap, sources
from mdiff_jax.data.builders import Dataset
from mdiff_jax.errors import InputError

LAYOUTS = ("images", "npz", "tfds")


def write(dataset: Dataset, rows: Int[np.ndarray, " n"], target: Path, layout: str) -> None:
    """The windows at `rows`; `target` is a folder, for 'npz' a file. It must not be there yet."""
    if layout not in LAYOUTS:
        raise InputError(f"layout '{layout}' is not known: give one of {', '.join(LAYOUTS)}")
    if target.exists():
        raise InputError(f"'{target}' is there already: give another place")
    {"images": write_images, "npz": write_npz, "tfds": write_tfds}[layout](dataset, rows, target)


def write_images(dataset: Dataset, rows: np.ndarray, folder: Path) -> None:
    """FOLDER/USER/CONDITION_INDEX.png, in the data set's colour map and original size."""
    names = [name_of(dataset, int(row)) for row in rows]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(
            f"{len(twice)} windows would share a file name with another, such as {twice[0]}: give layout 'npz'"
        )
    for row, name in zip(rows, names, strict=True):
        image = to_image(dataset.load(np.array([row]))[0], dataset.metadata["colormap"])
        write_image(folder / name, image, tuple(dataset.metadata["original_size"]))


def name_of(dataset: Dataset, row: int) -> str:
    """USER/CONDITION_INDEX.png; the number at its end is the place in time."""
    user, index = dataset.users[dataset.user_ids[row]], int(dataset.indices[row])
    condition = dataset.recordings[row].rpartition("/")[0].replace("/", "_")
    return f"{user}/{condition}_{index:04d}.png" if index >= 0 else f"{user}/{condition}.png"


def to_image(window: Float[np.ndarray, "... channels"], name: str | None) -> UInt8[np.ndarray, "... 3"]:
    """Model space → colours; three channels are colours already."""
    unit = (np.clip(window, -1, 1) + 1) / 2
    return np.round(unit * 255).astype(np.uint8) if window.shape[-1] == 3 else colormap.to_rgb(unit[..., 0], name)


def write_image(path: Path, image: UInt8[np.ndarray, "freq time 3"], size: tuple[int, int]) -> None:
    """A PNG of `size` (rows, columns), whole or not at all: nearest neighbour, so that no colour is off the map."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    Image.fromarray(image).resize(size[::-1], Image.Resampling.NEAREST).save(temporary, format="png")
    temporary.replace(path)


def write_npz(dataset: Dataset, rows: np.ndarray, path: Path) -> None:
    """One file: spectrogram (n, F, T), user, recording, index, and velocity where known."""
    windows = dataset.load(rows)
    if windows.shape[-1] != 1:
        raise InputError("colours cannot be written as 'npz': give layout 'images'")
    columns: dict[str, Any] = {
        "spectrogram": windows[..., 0],
        "user": np.array([dataset.users[u] for u in dataset.user_ids[rows]]),
        "recording": np.array([dataset.recordings[row].rpartition("/")[0] for row in rows]),
        "index": dataset.indices[rows],
    }
    if dataset.metadata["velocity"] is not None:
        columns["velocity"] = np.array(dataset.metadata["velocity"])
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.npz")
    np.savez_compressed(temporary, **columns)
    temporary.replace(path)


def write_tfds(dataset: Dataset, rows: np.ndarray, folder: Path) -> None:
    """A prepared data set, for `builders.open_prepared`."""

    def examples() -> Iterator[tuple[sources.Item, np.ndarray, dict]]:
        for row in rows:
            user = dataset.users[dataset.user_ids[row]]
            item = sources.Item(dataset.files[row], user, dataset.recordings[row], int(dataset.indices[row]))
            yield item, dataset.load(np.array([row]))[0], dataset.metadata

    channels = "rgb" if dataset.metadata["colormap"] is None else "scalar"
    builders.write(folder, dataset.image_size, channels, dataset.fingerprint, len(rows), examples)
