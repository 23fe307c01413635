"""Windows given by a user, read in the same way as the recordings that the model was trained on."""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mdiff_jax.data import array_files, arrays, images, sources
from mdiff_jax.data.examples import ReadOptions, read_examples
from mdiff_jax.data.files import check_regular, describe_ignored, list_visible
from mdiff_jax.inference.drawn_windows import from_image_axes
from mdiff_jax.inference.model import Model
from mdiff_jax.runtime.errors import InputError, one_line
from mdiff_jax.runtime.progress import Bar


class UserWindows(NamedTuple):
    """Windows with their files and users."""

    files: tuple[str, ...]
    users: tuple[str, ...]
    windows: Float[np.ndarray, "windows freq time channels"]
    frames: Int[np.ndarray, " windows"]  # of each window's own
    digest: str  # of the windows
    metadata: dict[str, Any]  # of a data set of these windows


def read_user_windows(model: Model, path: Path, user: str | None, options: ReadOptions | None = None) -> UserWindows:
    """Reads a file, a folder of one user's files, or a folder with a folder for each user.

    `user` is the user of all windows; None takes the name of the folder that each file lies in. `options` are those of
    the model's recordings by default. Raises InputError for files that cannot be read, and for windows of another size
    than the recordings.
    """
    root, items = scan_path(model, path.resolve())
    used = [file for item in items for file in sources.files_of(root, item)]
    if path.is_dir() and (ignored := describe_ignored(path.resolve(), used)):
        Bar.write(ignored, file=sys.stderr)
    if user is not None:
        items = [item._replace(user=user) for item in items]
    examples = list(read_examples(root, items, options or read_options(model)))
    for note in examples[-1].metadata["notes"]:
        Bar.write(note, file=sys.stderr)
    x = np.stack([example.window for example in examples]).astype(np.float32)
    frames, metadata = np.array([example.frames for example in examples]), examples[-1].metadata
    files, users = tuple(item.file for item in items), tuple(item.user for item in items)
    return UserWindows(files, users, x, frames, digest(x.tobytes()), metadata)


def take_user_windows(model: Model, by_user: Mapping[str, np.ndarray]) -> UserWindows:
    """Takes windows in memory, user → (n, F, T) in [-1, 1] as `Model.sample` returns them; USER/NNNN stands for their
    files. InputError for arrays of another shape, or with other values.
    """
    metadata, rgb = model.dataset.metadata, model.config.data.channels == "rgb"
    shape = (*(model.image_size() if metadata["native"] else model.dataset.image_size), *([3] if rgb else []))
    read = {user: check_windows(user, windows, shape) for user, windows in by_user.items()}
    if not sum(map(len, read.values())):
        raise InputError("there are no windows: give one at least")
    windows, frames = from_image_axes(np.concatenate([*read.values()]), metadata, model.dataset.image_size)
    windows = windows if rgb else windows[..., None]
    users = tuple(user for user, own in read.items() for _ in own)
    files = tuple(f"{user}/{i:04d}" for user, own in read.items() for i in range(len(own)))
    return UserWindows(files, users, windows, frames, digest(windows.tobytes()), metadata)


def check_windows(user: str, windows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns windows as (n, *shape) float32; InputError for others, and for values that are not in [-1, 1]."""
    try:
        x = np.asarray(windows, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"the windows of '{user}' are no array of numbers ({one_line(error)})") from None
    if x.shape[1:] != shape:
        wanted = ", ".join(map(str, shape))
        raise InputError(f"the windows of '{user}' have the shape {x.shape}: give (n, {wanted}), as Model.sample does")
    if not (np.abs(x) <= 1).all():
        raise InputError(f"the windows of '{user}' are not all in [-1, 1]: -1 is the floor, 1 the strongest return")
    return x


def training_windows(model: Model, users: Sequence[str]) -> UserWindows:
    """Returns the windows that a model was trained on, of these users.

    Raises InputError for users who were enrolled, and for an exported model, which has none.
    """
    model.require_recordings()
    indices = [model.index(user) for user in users]
    if enrolled := [user for user in users if user not in model.users]:
        raise InputError(f"user '{enrolled[0]}' was enrolled and has no training windows: leave that user out")
    dataset = model.dataset
    rows = dataset.rows(model.split["train"])
    rows = rows[np.isin(dataset.user_ids[rows], indices)]
    owners = dataset.user_ids[rows].tolist()
    files, users = tuple(dataset.files[row] for row in rows.tolist()), tuple(model.users[i] for i in owners)
    content = digest_training_files(model, files)
    return UserWindows(files, users, dataset.load(rows), dataset.frames[rows], content, dataset.metadata)


def digest_training_files(model: Model, files: Sequence[str]) -> str:
    """Returns a digest of windows of the model's data set."""
    return digest("\n".join([model.dataset.fingerprint, *files]).encode(errors="surrogateescape"))


def digest(content: bytes) -> str:
    """Returns the SHA-256, 16 digits."""
    return hashlib.sha256(content).hexdigest()[:16]


def read_options(model: Model) -> ReadOptions:
    """Returns the options that the model's recordings were read by; files must have their size or the working size."""
    c, metadata = model.config.data, model.dataset.metadata
    return ReadOptions(
        image_size=model.dataset.image_size,
        channels=c.channels,
        colormap=metadata["colormap"] or "auto",
        stft=arrays.make_stft(dict(c.stft)),
        native_frames=metadata["native"],
        grid=model.dataset.grid if len(model.dataset) else None,
        expected_sizes=(tuple(metadata["original_size"]), model.dataset.image_size),
        expected_velocities=tuple(metadata["velocity"] or ()),
    )


def free_options(model: Model) -> ReadOptions:
    """Returns the options by which a model reads recordings of any size, colors and file type."""
    return ReadOptions(
        image_size=model.dataset.image_size,
        stft=arrays.make_stft(dict(model.config.data.stft)),
        native_frames=model.config.data.native_frames,
    )


def scan_path(model: Model, path: Path) -> tuple[Path, list[sources.WindowSource]]:
    """Returns the folder that the names of files are relative to, and the windows found at `path`: a file, a folder of
    users' folders, beside which other files may lie, or a user's folder.
    """
    stft = arrays.make_stft(dict(model.config.data.stft))
    if not path.exists():
        raise InputError(f"'{path}' does not exist: give a file of windows, or a folder of them")
    if check_regular(path).is_file():
        return path.parent, scan_single_file(path, stft)
    folders, suffixes = sources.user_folders(path), (*images.SUFFIXES, *array_files.SUFFIXES)
    if folders and not any(p.suffix.lower() in suffixes and not p.is_dir() for p in list_visible(path)):
        root, items = path, [item for folder in folders for item in sources.scan_user(path, folder, stft)]
    else:
        root, items = path.parent, sources.scan_user(path.parent, path, stft)
    if not items:
        raise InputError(f"'{path}' holds no windows: give a folder of images or arrays")
    return root, items


def scan_single_file(path: Path, stft: arrays.Stft) -> list[sources.WindowSource]:
    """Returns the windows of one image or array file."""
    user = path.parent.name
    if path.suffix.lower() in images.SUFFIXES:
        return [sources.WindowSource(path.name, user, "given/1", -1)]
    if path.suffix.lower() not in array_files.SUFFIXES:
        suffixes = ", ".join([*images.SUFFIXES, *array_files.SUFFIXES])
        raise InputError(f"'{path}' is neither an image nor an array: give a file that ends in one of {suffixes}")
    table = arrays.describe_file(path, stft)
    users = [user] * table.count if table.user is None else table.user
    return [sources.WindowSource(f"{path.name}#{i}", users[i], "given/1", -1, i) for i in range(table.count)]
