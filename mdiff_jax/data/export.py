"""Writing of windows to files: a folder of images per user or one .npz, which `sources` reads, or TFDS.

As a command it writes a folder of synthetic walkers as images like those of real recordings:

    python -m mdiff_jax.data.export --walkers=10 --output=FOLDER [--format=jpg] [--nuisances=1.0] [--seed=0]
"""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from mdiff_jax.data import builders, colormap, native_grid, simulated, sources, spectrogram
from mdiff_jax.data.builders import Dataset
from mdiff_jax.data.examples import Example
from mdiff_jax.data.native_grid import FileFormat
from mdiff_jax.runtime import cli
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import atomic_folder, atomic_write, write_json

LAYOUTS = ("images", "npz", "tfds")
FORMATS = ("png", "jpg")


def export_windows(
    dataset: Dataset, rows: Int[np.ndarray, " n"], target: Path, layout: str, image_format: str | None = None
) -> None:
    """Writes the windows at `rows` to `target`, a folder (a file for 'npz') that must not exist yet.

    `image_format` of layout 'images' is 'png' or 'jpg', None that of the data set. InputError for an unknown layout or
    format.
    """
    if layout not in LAYOUTS:
        raise InputError(f"layout '{layout}' is not known: give one of {', '.join(LAYOUTS)}")
    suffix = image_suffix(dataset.metadata, image_format)
    if target.exists():
        raise InputError(f"'{target}' exists already: give another path")
    if layout == "images":
        write_images(dataset, rows, target, suffix)
    else:
        {"npz": write_npz, "tfds": write_tfds}[layout](dataset, rows, target)


def image_suffix(metadata: dict[str, Any], image_format: str | None) -> str:
    """'png' or 'jpg': the format that is asked for, or else that of the data set's files; InputError for another."""
    suffix = image_format or metadata["file_format"]["suffix"]
    if suffix not in FORMATS:
        raise InputError(f"image format '{suffix}' is not known: give one of {', '.join(FORMATS)}")
    return suffix


def write_images(dataset: Dataset, rows: np.ndarray, folder: Path, suffix: str) -> None:
    """Writes FOLDER/USER/CONDITION_INDEX.SUFFIX as the files of the data set are."""
    names = [f"{file_name(dataset, int(row))}.{suffix}" for row in rows]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(
            f"several windows would get the same file name, such as {twice[0]} ({len(twice)} names): give layout 'npz'"
        )
    with atomic_folder(folder) as temporary:
        for row, name in zip(rows, names, strict=True):
            [window], frames = dataset.load(np.array([row])), int(dataset.frames[row])
            write_window(temporary / name, window, frames, dataset.metadata)


def file_name(dataset: Dataset, row: int) -> str:
    """USER/CONDITION_INDEX; the number at its end is the index in time."""
    user, index = dataset.users[dataset.user_ids[row]], int(dataset.indices[row])
    condition = dataset.recordings[row].rpartition("/")[0].replace("/", "_")
    return f"{user}/{condition}_{index:04d}" if index >= 0 else f"{user}/{condition}"


def to_image(window: Float[np.ndarray, "... channels"], name: str | None) -> UInt8[np.ndarray, "... 3"]:
    """Converts model space to colors of the named map; three channels are colors already."""
    unit = (np.clip(window, -1, 1) + 1) / 2
    return np.round(unit * 255).astype(np.uint8) if window.shape[-1] == 3 else colormap.to_rgb(unit[..., 0], name)


def write_window(
    path: Path,
    window: Float[np.ndarray, "freq time channels"],
    frames: int,
    metadata: dict[str, Any],
) -> None:
    """Writes a window that fills `frames` columns as a .png or .jpg like those of the data set with this `metadata`: in
    its colormap, size, blocks of columns and compression.
    """
    size, file_format = tuple(metadata["original_size"]), FileFormat.from_json(metadata["file_format"])
    if metadata["native"]:
        levels = (np.clip(window[:, :frames, 0], -1, 1) + 1) / 2
        image = native_grid.render(levels, size, file_format, metadata["colormap"])
    else:
        image = to_image(window, metadata["colormap"])
    write_image(path, image, size, file_format)


def write_image(
    path: Path,
    image: UInt8[np.ndarray, "freq time 3"],
    size: tuple[int, int],
    file_format: FileFormat = native_grid.PLAIN,
) -> None:
    """Writes a .png or .jpg of `size` (rows, columns) atomically; nearest neighbor, so that no color is off the map."""
    sized = Image.fromarray(image).resize(size[::-1], Image.Resampling.NEAREST)
    with atomic_write(path) as temporary:
        sized.save(temporary, **file_format.save_options(path.suffix[1:]))


def write_npz(dataset: Dataset, rows: np.ndarray, path: Path) -> None:
    """Writes one file: spectrogram (n, F, T), user, recording, index, and velocity where known; of windows at their own
    frames also their number, the windows being stretched to the columns of the recordings.
    """
    windows, frames, velocity = dataset.load(rows), dataset.frames[rows], dataset.metadata["velocity"]
    if windows.shape[-1] != 1:
        raise InputError("colors cannot be written as 'npz': give layout 'images'")
    windows, own = windows[..., 0], {}
    if dataset.metadata["native"]:
        size = tuple(dataset.metadata["original_size"])
        windows, own = native_grid.to_fixed_grid(windows, frames, size), {"frames": frames}
        velocity = velocity and spectrogram.resize_velocity_axis(np.array(velocity), size[0])
    columns: dict[str, Any] = {
        "spectrogram": windows,
        "user": np.array([dataset.users[u] for u in dataset.user_ids[rows]]),
        "recording": np.array([dataset.recordings[row].rpartition("/")[0] for row in rows]),
        "index": dataset.indices[rows],
    }
    if velocity is not None:
        columns["velocity"] = np.array(velocity)
    with atomic_write(path) as temporary:
        np.savez_compressed(temporary, **columns | own)


def write_tfds(dataset: Dataset, rows: np.ndarray, folder: Path) -> None:
    """Writes a prepared data set, for `builders.open_prepared`."""

    def examples() -> Iterator[Example]:
        for row in rows:
            user = dataset.users[dataset.user_ids[row]]
            item = sources.WindowSource(dataset.files[row], user, dataset.recordings[row], int(dataset.indices[row]))
            yield Example(item, dataset.load(np.array([row]))[0], int(dataset.frames[row]), dataset.metadata)

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
    parser.add_argument("--nuisances", type=float, default=1.0, help="starts, stops, echoes, haze …; 0: steady walks")
    parser.add_argument("--seed", type=int, default=0, help="seed of the people and their recordings")
    parser.add_argument("--format", choices=FORMATS, default="jpg", help="jpg: quality 75, 4:2:0, as real recordings")
    given = parser.parse_args(arguments)
    counts = {"num_users": given.walkers, "recordings_per_user": given.recordings}
    options = counts | {"windows_per_recording": given.windows, "difficulty": given.difficulty}
    options |= {"nuisances": given.nuisances, "seed": given.seed}
    count = write_walkers(given.output, given.format, **options)
    sys.stdout.write(f"{count} windows of {given.walkers} walkers in {given.output}\n")


if __name__ == "__main__":
    cli.guard(lambda: main(sys.argv[1:]))
