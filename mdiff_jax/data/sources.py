"""Scanning of a folder or file of recordings: which windows it holds, of which user, recording and index in time.

Three layouts: a folder per user, with files or a folder per recording in it; `images/` with `metadata.json`; one array
file with one entry per window. Files are images (`images.py`) or arrays (`arrays.py`).

The number at the end of a file name is the window's index in time, the text before it the condition; a gap in the
numbering starts a new recording. Where no name ends in a number, the order is unknown.
"""

import contextlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mdiff_jax.data import array_files, arrays, images
from mdiff_jax.data.files import check_file, check_regular, describe_ignored, list_visible, natural_sort_key
from mdiff_jax.runtime.errors import InputError, one_line
from mdiff_jax.runtime.user_names import check_user_names, holds_control_characters, shorten

MIN_WINDOWS = 2  # of a user
MAX_RECORDING_BYTES = 500  # of a recording's name
MAX_LISTING_BYTES = 2**28  # of metadata.json


class WindowSource(NamedTuple):
    """Place of a window in a data set; nothing is read yet."""

    file: str  # relative to the folder, with '/'; 'walk.npz#12' is window 12 of a file
    user: str
    recording: str  # condition/number
    index: int  # type: ignore[assignment]  # in time; -1 where it is unknown
    row: int = -1  # in its array file; -1 where the file is one image


def scan_windows(root: Path, stft: arrays.Stft = arrays.DEFAULT_STFT, min_users: int = 2) -> list[WindowSource]:
    """Lists all windows of `root`, users and indices in natural order; InputError for anything that cannot be used."""
    if not root.exists():
        raise InputError(f"data.path '{root}' does not exist: give a folder that holds a folder per user")
    with refuse_os_errors(root):
        check_regular(root.absolute())
        if root.is_file():
            items = scan_single_file(root, stft)
        elif (root / "metadata.json").exists():
            items = scan_listed(root)
        else:
            items = scan_folders(root, stft)
        check_recordings(items, root)
        check_users(items, root, min_users)
    return items


def scan_people_or_one(path: Path, stft: arrays.Stft) -> tuple[Path, list[WindowSource]]:
    """As `scan_windows`, of one user or more, or of the files in one user's folder; with the folder that the names of
    files are relative to.
    """
    if not path.is_dir() or (path / "metadata.json").exists() or user_folders(path) or not list_visible(path):
        return path, scan_windows(path, stft, min_users=1)
    root, folder = path.resolve().parent, path.resolve()
    with refuse_os_errors(folder):
        items = scan_user(root, folder, stft)
        check_recordings(items, root)
    check_user_names([folder.name], root)
    check_window_count(folder.name, len(items))
    return root, items


@contextlib.contextmanager
def refuse_os_errors(root: Path) -> Iterator[None]:
    """Turns what the system says about reading a folder into one line."""
    try:
        yield
    except OSError as error:
        raise InputError(f"'{error.filename or root}' cannot be read ({error.strerror}): see to it") from None


def ignored_files(root: Path, items: list[WindowSource], folder: Path | None = None) -> str | None:
    """Counts what a scan left out of `folder`, or of `root` all, in one line; None where it left out nothing."""
    if not root.is_dir():
        return None
    used = {root / "metadata.json"} if (root / "images").is_dir() else set()
    return describe_ignored(folder or root, used.union(*(files_of(root, item) for item in items)))


def file_path(root: Path, item: WindowSource) -> Path:
    """Path of the file that holds a window."""
    base = root if root.is_dir() else root.parent
    return base / (item.file.rpartition("#")[0] if item.row >= 0 else item.file)


def files_of(root: Path, item: WindowSource) -> list[Path]:
    """Paths of the files that a window is read from: its own, and of a capture its description."""
    return array_files.files_of(file_path(root, item))


# ----------------------------------------------------------------------------- layouts


def scan_folders(root: Path, stft: arrays.Stft) -> list[WindowSource]:
    """Scans a folder per user; files beside the folders are left out."""
    folders = user_folders(root)
    if not folders:
        raise InputError(f"data.path '{root}' holds no folders: give one per user, with the windows of that user")
    return [item for folder in folders for item in scan_user(root, folder, stft)]


def scan_user(root: Path, folder: Path, stft: arrays.Stft = arrays.DEFAULT_STFT) -> list[WindowSource]:
    """Scans the windows of one user in order of time; folders in it are recordings."""
    files: list[Path] = []
    for path in list_visible(folder):
        files += list_visible(path) if check_file(root, path).is_dir() else [path]
    descriptions = {beside for p in files for beside in array_files.files_of(p)[1:] if check_file(root, beside)}
    files = [p for p in files if p not in descriptions]
    image_files = [p for p in files if p.suffix.lower() in images.SUFFIXES]
    for path in files:
        if path.is_dir() or path.suffix.lower() not in images.SUFFIXES + array_files.SUFFIXES:
            raise InputError(
                f"'{path}' is no image ({', '.join(images.SUFFIXES)}) or array: move it out of the user's folder"
            )
        check_file(root, path)
    if image_files and len(image_files) < len(files):
        raise InputError(
            f"'{folder}' mixes images with arrays ({next(p for p in files if p not in image_files).name}): "
            "keep one kind of file"
        )
    found: list[tuple[str, str, int, int]] = []
    for path in files:
        above = "" if path.parent == folder else f"{path.parent.name}/"
        name, condition = path.relative_to(root).as_posix(), split_trailing_number(path.stem)
        if path in image_files:
            found.append((name, above + condition[0], condition[1], -1))
        else:
            found += [(f"{name}#{i}", above + c, k, i) for i, (c, k) in enumerate(scan_array_file(path, stft))]
    walk = name_recordings([(condition, index) for _, condition, index, _ in found])
    return [WindowSource(f, folder.name, w, index, row) for (f, _, index, row), w in zip(found, walk, strict=True)]


def scan_array_file(path: Path, stft: arrays.Stft) -> list[tuple[str, int]]:
    """Lists (condition, index) of each window in an array file of one user."""
    table = arrays.describe_file(path, stft)
    if table.count == 1 and table.index is None:
        return [split_trailing_number(path.stem)]
    index = range(table.count) if table.index is None else table.index
    names = [path.stem] * table.count if table.recording is None else table.recording
    return list(zip(names, map(int, index), strict=True))


def scan_single_file(path: Path, stft: arrays.Stft) -> list[WindowSource]:
    """Scans one file with an entry per window: spectrograms, `user`, and where known `recording` and `index`."""
    if path.suffix.lower() in images.SUFFIXES:
        raise InputError(f"'{path}' is one image: give the folder that holds a folder per user")
    table = arrays.describe_file(path, stft)
    if table.user is None:
        raise InputError(f"'{path}' has no array 'user': add it, or give a folder per user")
    index = [-1] * table.count if table.index is None else table.index
    names = ["walk"] * table.count if table.recording is None else table.recording
    lines = [WindowSource(f"{path.name}#{i}", table.user[i], names[i], int(index[i]), i) for i in range(table.count)]
    return order_by_recording(lines)


def scan_listed(root: Path) -> list[WindowSource]:
    """Scans `images/` with metadata.json: [{"filename", "user_id", and where known "recording", "index"}, …]."""
    listing = root / "metadata.json"
    try:
        if check_file(root, listing).stat().st_size > MAX_LISTING_BYTES:
            raise ValueError("it is too large")
        entries = json.loads(listing.read_bytes())
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"'{listing}' is not JSON ({one_line(error)}): correct it") from None
    if not isinstance(entries, list) or not all(
        isinstance(e, dict) and {"filename", "user_id"} <= e.keys() for e in entries
    ):
        raise InputError(f'\'{listing}\' must be a list of {{"filename", "user_id"}} objects: correct it')
    lines = [parse_listed_window(root, listing, entry) for entry in entries]
    twice = [name for name, count in Counter(item.file for item in lines).items() if count > 1]
    if twice:
        raise InputError(f"'{listing}' names {twice[0]} twice: keep one entry")
    there = {path.relative_to(root).as_posix() for path in list_listed(root)}
    if unlisted := sorted(there - {item.file for item in lines}):
        raise InputError(
            f"'{root / unlisted[0]}' is not in {listing.name} (unlisted files: {len(unlisted)}): list it or remove it"
        )
    return order_by_recording(lines)


def list_listed(root: Path) -> list[Path]:
    """All files below `images/`, without hidden ones."""
    below = (root / "images").rglob("*")
    visible = [p for p in below if not any(part[0] == "." for part in p.relative_to(root).parts)]
    return [path for path in visible if not check_file(root, path).is_dir()]


def parse_listed_window(root: Path, listing: Path, entry: dict[str, Any]) -> WindowSource:
    """Checks one entry of metadata.json and returns its window, `recording` being the condition."""
    name = entry["filename"]
    if not isinstance(name, str) or "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(f"'{listing}' names {shorten(name)}, which is no file below 'images': correct the entry")
    path = root / "images" / name
    if not os.path.lexists(path):
        raise InputError(f"'{listing}' names {shorten(name)}, which is not there: restore it or remove the entry")
    if check_file(root, path).is_dir():
        raise InputError(f"'{listing}' names {shorten(name)}, which is a folder: correct the entry")
    for key in ("user_id", "recording"):
        if type(entry.get(key, "")) not in (str, int):
            raise InputError(f"'{listing}' gives '{name}' the {key} {shorten(entry[key])}: give text or a whole number")
    if path.suffix.lower() not in images.SUFFIXES:
        raise InputError(f"'{path}' is no image ({', '.join(images.SUFFIXES)}): remove its entry in {listing.name}")
    condition, index = split_trailing_number(path.stem)
    index = entry.get("index", index)
    if type(index) is not int or ("index" in entry and not 0 <= index < arrays.MAX_INDEX):
        raise InputError(f"'{listing}' gives '{name}' the index {shorten(index)}: give a whole number from 0")
    return WindowSource(f"images/{name}", str(entry["user_id"]), str(entry.get("recording", condition)), index)


def order_by_recording(lines: Iterable[WindowSource]) -> list[WindowSource]:
    """Sorts windows, `recording` being the condition, by user, condition and index, and names their recordings."""
    order = sorted(
        lines,
        key=lambda item: (
            natural_sort_key(item.user),
            natural_sort_key(item.recording),
            item.index,
            natural_sort_key(item.file),
        ),
    )
    users = dict.fromkeys(item.user for item in order)
    named = [w for user in users for w in name_recordings([(i.recording, i.index) for i in order if i.user == user])]
    return [item._replace(recording=walk) for item, walk in zip(order, named, strict=True)]


# ----------------------------------------------------------------------------- names


def split_trailing_number(stem: str) -> tuple[str, int]:
    """'ID3_case1_1_Doppler57' → ('ID3_case1_1_Doppler', 57); without a number at the end the index is -1."""
    match = re.fullmatch(r"(.*?)([0-9]{1,9})", stem, re.DOTALL)
    return (match[1], int(match[2])) if match else (stem, -1)


def name_recordings(numbered: Sequence[tuple[str, int]]) -> list[str]:
    """Names the recording of each window, given in order of time: a gap in the numbering starts another."""
    names, count, last = [], Counter[str](), None
    for prefix, index in numbered:
        if last is None or index < 0 or (prefix, index - 1) != last:
            count[prefix] += 1
        names.append(f"{prefix or 'walk'}/{count[prefix]}")
        last = (prefix, index)
    return names


def check_users(items: list[WindowSource], root: Path, min_users: int) -> None:
    """InputError for a name that cannot be a user's, too few users, or a user with too few windows."""
    counts, listing = Counter(item.user for item in items), root / "metadata.json"
    users = [*counts] if root.is_file() or listing.exists() else [folder.name for folder in user_folders(root)]
    check_user_names(users, listing if listing.is_file() else root)
    for user in users:
        check_window_count(user, counts[user])
    if len(counts) < min_users:
        raise InputError(f"data.path '{root}' holds too few users ({len(counts)}): give at least {min_users}")


def check_window_count(user: str, count: int) -> None:
    """InputError for too few windows of a user."""
    if count < MIN_WINDOWS:
        raise InputError(f"user '{user}' has too few windows ({count}): give at least {MIN_WINDOWS}")


def user_folders(root: Path) -> list[Path]:
    """The folders of users, those without windows included."""
    return [path for path in list_visible(root) if check_regular(path).is_dir() and check_file(root, path)]


def check_recordings(items: list[WindowSource], root: Path) -> None:
    """InputError for a file or a time that two windows have, or a recording whose name no file can bear."""
    paths = [file_path(root, item) for item in items]
    real = {path: path.resolve() for path in dict.fromkeys(paths)}
    for path in real:
        if path.suffix.lower() in images.SUFFIXES and path.stat().st_size > images.MAX_FILE_BYTES:
            raise InputError(f"'{path}' has {path.stat().st_size / 2**20:.0f} MiB: give images of at most 256 MiB")
    files: dict[tuple, str] = {}
    times: dict[tuple, str] = {}
    for item, path in zip(items, paths, strict=True):
        condition = item.recording.rpartition("/")[0]
        if holds_control_characters(condition) or len(condition.encode()) > MAX_RECORDING_BYTES:
            raise InputError(f"'{item.file}' is of the recording {shorten(condition)}: give it a plain, shorter name")
        place, time = (real[path], item.row), (item.user, condition, item.index)
        if (twin := files.setdefault(place, item.file)) != item.file:
            raise InputError(f"'{item.file}' and '{twin}' in '{root}' are one file: remove the link")
        if item.index >= 0 and (twin := times.setdefault(time, item.file)) != item.file:
            raise InputError(
                f"'{item.file}' and '{twin}' in '{root}' are window {item.index} of one recording: rename one, or "
                "say their recordings"
            )
