"""Writing of windows to files: a folder of images per user or one .npz, which `sources` reads, or TFDS.

As a command it writes a folder of synthetic walkers as images like those of real recordings:
python -m mdiff_jax.data.export --walkers=10 --output=FOLDER [--format=jpg] [--seed=0]
"""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from mdiff_jax.data import builders, colormap, simulated, sources
from mdiff_jax.data.builders import Dataset
from mdiff_jax.data.examples import Example
from mdiff_jax.runtime import cli
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import atomic_folder, atomic_write, write_json

LAYOUTS = ("images", "npz", "tfds")
FORMATS = {"png": {}, "jpg": {"format": "jpeg", "quality": 75, "subsampling": "4:2:0"}}  # jpg: as real recordings are


def export_windows(
    dataset: Dataset, rows: Int[np.ndarray, " n"], target: Path, layout: str, image_format: str = "png"
) -> None:
    """Writes the windows at `rows` to `target`, a folder (a file for 'npz') that must not exist yet.

    `image_format` of layout 'images' is 'png' or 'jpg'. InputError for an unknown layout or format.
    """
    if layout not in LAYOUTS:
        raise InputError(f"layout '{layout}' is not known: give one of {', '.join(LAYOUTS)}")
    if image_format not in FORMATS:
        raise InputError(f"image format '{image_format}' is not known: give one of {', '.join(FORMATS)}")
    if target.exists():
        raise InputError(f"'{target}' exists already: give another path")
    if layout == "images":
        write_images(dataset, rows, target, image_format)
    else:
        {"npz": write_npz, "tfds": write_tfds}[layout](dataset, rows, target)


def write_images(dataset: Dataset, rows: np.ndarray, folder: Path, image_format: str) -> None:
    """Writes FOLDER/USER/CONDITION_INDEX.FORMAT in the colormap and original size of the data set."""
    names = [f"{file_name(dataset, int(row))}.{image_format}" for row in rows]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(
            f"several windows would get the same file name, such as {twice[0]} ({len(twice)} names): give layout 'npz'"
        )
    with atomic_folder(folder) as temporary:
        for row, name in zip(rows, names, strict=True):
            image = to_image(dataset.load(np.array([row]))[0], dataset.metadata["colormap"])
            write_image(temporary / name, image, tuple(dataset.metadata["original_size"]))


def file_name(dataset: Dataset, row: int) -> str:
    """USER/CONDITION_INDEX; the number at its end is the index in time."""
    user, index = dataset.users[dataset.user_ids[row]], int(dataset.indices[row])
    condition = dataset.recordings[row].rpartition("/")[0].replace("/", "_")
    return f"{user}/{condition}_{index:04d}" if index >= 0 else f"{user}/{condition}"


def to_image(window: Float[np.ndarray, "... channels"], name: str | None) -> UInt8[np.ndarray, "... 3"]:
    """Converts model space to colors of the named map; three channels are colors already."""
    unit = (np.clip(window, -1, 1) + 1) / 2
    return np.round(unit * 255).astype(np.uint8) if window.shape[-1] == 3 else colormap.to_rgb(unit[..., 0], name)


def write_image(path: Path, image: UInt8[np.ndarray, "freq time 3"], size: tuple[int, int]) -> None:
    """Writes a .png or .jpg of `size` (rows, columns) atomically; nearest neighbor, so that no color is off the map."""
    sized = Image.fromarray(image).resize(size[::-1], Image.Resampling.NEAREST)
    with atomic_write(path) as temporary:
        sized.save(temporary, **({"format": "png"} | FORMATS[path.suffix[1:]]))


def write_npz(dataset: Dataset, rows: np.ndarray, path: Path) -> None:
    """Writes one file: spectrogram (n, F, T), user, recording, index, and velocity where known."""
    windows = dataset.load(rows)
    if windows.shape[-1] != 1:
        raise InputError("colors cannot be written as 'npz': give layout 'images'")
    columns: dict[str, Any] = {
        "spectrogram": windows[..., 0],
        "user": np.array([dataset.users[u] for u in dataset.user_ids[rows]]),
        "recording": np.array([dataset.recordings[row].rpartition("/")[0] for row in rows]),
        "index": dataset.indices[rows],
    }
    if dataset.metadata["velocity"] is not None:
        columns["velocity"] = np.array(dataset.metadata["velocity"])
    with atomic_write(path) as temporary:
        np.savez_compressed(temporary, **columns)


def write_tfds(dataset: Dataset, rows: np.ndarray, folder: Path) -> None:
    """Writes a prepared data set, for `builders.open_prepared`."""

    def examples() -> Iterator[Example]:
        for row in rows:
            user = dataset.users[dataset.user_ids[row]]
            item = sources.WindowSource(dataset.files[row], user, dataset.recordings[row], int(dataset.indices[row]))
            yield item, dataset.load(np.array([row]))[0], dataset.metadata

    channels = "rgb" if dataset.metadata["colormap"] is None else "scalar"
    builders.write_prepared(folder, dataset.image_size, channels, dataset.fingerprint, len(rows), examples)


# ----------------------------------------------------------------------------- walkers


def write_walkers(folder: Path, image_format: str, **options: Any) -> int:
    """Writes a folder of walkers (jet, 256 x 256) with truth.json (the simulated values by file); returns the number of
    windows. `options` are those of `walkers.make_windows`.
    """
    if folder.exists():
        raise InputError(f"'{folder}' exists already: give another path")
    truth = {}
    with atomic_folder(folder) as temporary:
        for w in simulated.make_windows(simulated.IMAGE_SIZE, **options):
            name = f"{w.user}/{w.recording}_{w.index:04d}.{image_format}"
            write_image(temporary / name, to_image(w.spectrogram[..., None], "jet"), simulated.IMAGE_SIZE)
            truth[name] = w.truth | {"seconds": w.seconds}
        write_json(temporary / "truth.json", truth)
    return len(truth)


def main(arguments: list[str]) -> None:
    parser = cli.ArgumentParser(description="Write a folder of synthetic walkers, laid out as real recordings.")
    parser.add_argument("--output", type=cli.given_path, required=True, help="new folder")
    parser.add_argument("--walkers", type=int, required=True, help="number of users")
    parser.add_argument("--recordings", type=int, default=14, help="recordings per user")
    parser.add_argument("--windows", type=int, default=8, help="windows per recording, overlapping by three quarters")
    parser.add_argument("--difficulty", type=float, default=1.0, help="how much the recordings of a person differ")
    parser.add_argument("--seed", type=int, default=0, help="seed of the people and their recordings")
    parser.add_argument("--format", choices=FORMATS, default="jpg", help="jpg: quality 75, 4:2:0, as real recordings")
    given = parser.parse_args(arguments)
    counts = {"num_users": given.walkers, "recordings_per_user": given.recordings}
    counts |= {"windows_per_recording": given.windows}
    count = write_walkers(given.output, given.format, **counts, difficulty=given.difficulty, seed=given.seed)
    sys.stdout.write(f"{count} windows of {given.walkers} walkers in {given.output}\n")


if __name__ == "__main__":
    cli.guard(lambda: main(sys.argv[1:]))
