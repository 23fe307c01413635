"""What lies in a folder or file of recordings, and reading one window of it.

Three layouts: a folder per user, with files or a folder per recording in it; `images/` with `metadata.json`; one array
file with a line a window. Files are images, or arrays (`arrays.py`).

A window's place in time is the last number in its file's name; a user's windows whose names are alike but for it were
taken in one go, and a gap in the numbering ends a walk. Where no name ends in a number, order is unknown.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mdiff_jax.data import arrays, images
from mdiff_jax.runtime.errors import InputError, one_line

MIN_WINDOWS = 2  # of a user


class WindowSource(NamedTuple):
    """One window, not read yet."""

    file: str  # relative to the folder, with '/'; 'walk.npz#12' is window 12 of a file
    user: str
    recording: str  # condition/number of the walk
    index: int  # in time; -1 where the name does not tell
    row: int = -1  # in its file; -1 where the file is one image


def scan_windows(root: Path, stft: arrays.Stft = arrays.DEFAULT_STFT) -> list[WindowSource]:
    """All windows of `root`, users and times in natural order; InputError for what cannot be used."""
    if root.is_file():
        items = scan_single_file(root, stft)
    elif not root.is_dir():
        raise InputError(f"data.path '{root}' is not there: give a folder that holds a folder per user")
    elif (root / "metadata.json").is_file():
        items = scan_listed(root)
    else:
        items = scan_folders(root, stft)
    check_users(items, root)
    return items


def file_path(root: Path, item: WindowSource) -> Path:
    """The file that holds a window."""
    base = root if root.is_dir() else root.parent
    return base / (item.file.rpartition("#")[0] if item.row >= 0 else item.file)


# ----------------------------------------------------------------------------- layouts


def scan_folders(root: Path, stft: arrays.Stft) -> list[WindowSource]:
    """A folder per user. Files beside the folders are no windows."""
    folders = sorted((p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")), key=natural_sort_key)
    if not folders:
        raise InputError(f"data.path '{root}' holds no folders: it needs one per user, with that user's images")
    return [item for folder in folders for item in scan_user(root, folder, stft)]


def scan_user(root: Path, folder: Path, stft: arrays.Stft = arrays.DEFAULT_STFT) -> list[WindowSource]:
    """One user's windows in order of time; folders in it are recordings."""
    files: list[Path] = []
    for path in list_visible(folder):
        files += list_visible(path) if path.is_dir() and check_inside(root, path) else [path]
    image_files = [p for p in files if p.suffix.lower() in images.SUFFIXES]
    for path in files:
        if path.is_dir() or path.suffix.lower() not in images.SUFFIXES + arrays.SUFFIXES:
            raise InputError(
                f"'{path}' is no image ({', '.join(images.SUFFIXES)}) or array: move it out of the user's folder"
            )
        check_inside(root, path)
    if image_files and len(image_files) < len(files):
        raise InputError(
            f"'{folder}' mixes images with arrays ({next(p for p in files if p not in image_files).name}): keep one"
        )
    found: list[tuple[str, str, int, int]] = []
    for path in files:
        above = "" if path.parent == folder else f"{path.parent.name}/"
        name, condition = path.relative_to(root).as_posix(), split_trailing_number(path.stem)
        if path in image_files:
            found.append((name, above + condition[0], condition[1], -1))
        else:
            found += [(f"{name}#{i}", above + c, k, i) for i, (c, k) in enumerate(scan_array_file(path, stft))]
    walk = name_walks([(condition, index) for _, condition, index, _ in found])
    return [WindowSource(f, folder.name, w, index, row) for (f, _, index, row), w in zip(found, walk, strict=True)]


def scan_array_file(path: Path, stft: arrays.Stft) -> list[tuple[str, int]]:
    """(condition, index) of each window in one user's array file."""
    table = arrays.describe_file(path, stft)
    if table.count == 1 and table.index is None:
        return [split_trailing_number(path.stem)]
    index = range(table.count) if table.index is None else table.index
    names = [path.stem] * table.count if table.recording is None else table.recording
    return list(zip(names, map(int, index), strict=True))


def scan_single_file(path: Path, stft: arrays.Stft) -> list[WindowSource]:
    """One file with a line a window: spectrograms, `user`, and where known `recording` and `index`."""
    table = arrays.describe_file(path, stft)
    if table.user is None:
        raise InputError(f"'{path}' does not say who walks: give it an array 'user', or a folder per user")
    index = [-1] * table.count if table.index is None else table.index
    names = ["walk"] * table.count if table.recording is None else table.recording
    lines = [WindowSource(f"{path.name}#{i}", table.user[i], names[i], int(index[i]), i) for i in range(table.count)]
    return order_by_walk(lines)


def scan_listed(root: Path) -> list[WindowSource]:
    """`images/` with metadata.json: [{"filename", "user_id", and where known "recording", "index"}, …]."""
    listing = root / "metadata.json"
    try:
        entries = json.loads(listing.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"'{listing}' is not JSON ({one_line(error)}): mend it") from None
    if not isinstance(entries, list) or not all(
        isinstance(e, dict) and {"filename", "user_id"} <= e.keys() for e in entries
    ):
        raise InputError(f'\'{listing}\' must be a list of {{"filename", "user_id"}} objects: mend it')
    lines = [parse_listed_window(root, listing, entry) for entry in entries]
    twice = [name for name, count in Counter(item.file for item in lines).items() if count > 1]
    if twice:
        raise InputError(f"'{listing}' names {twice[0]} twice: keep one")
    there = {p.relative_to(root).as_posix() for p in (root / "images").rglob("*") if p.is_file() and p.name[0] != "."}
    if unlisted := sorted(there - {item.file for item in lines}):
        raise InputError(
            f"'{root / unlisted[0]}' is not in {listing.name} ({len(unlisted)} such): list it or take it out"
        )
    return order_by_walk(lines)


def parse_listed_window(root: Path, listing: Path, entry: dict[str, Any]) -> WindowSource:
    """One line of metadata.json."""
    name, user = str(entry["filename"]), str(entry["user_id"])
    path = root / "images" / name
    if Path(name).is_absolute() or ".." in Path(name).parts or not path.is_file():
        raise InputError(
            f"'{listing}' names '{name}', which is no file in '{root / 'images'}': mend or remove the line"
        )
    check_inside(root, path)
    if path.suffix.lower() not in images.SUFFIXES:
        raise InputError(f"'{path}' is no image ({', '.join(images.SUFFIXES)}): remove its line in {listing.name}")
    condition, index = split_trailing_number(path.stem)
    try:
        index = int(entry["index"]) if "index" in entry else index
    except (TypeError, ValueError):
        raise InputError(f"'{listing}' gives '{name}' the index {entry['index']!r}: give a whole number") from None
    condition = str(entry["recording"]) if "recording" in entry else condition
    return WindowSource(f"images/{name}", user, condition, index)


def order_by_walk(lines: Iterable[WindowSource]) -> list[WindowSource]:
    """Lines in any order, `recording` the condition → in order of user, condition and time, with walks told apart."""
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
    named = [w for user in users for w in name_walks([(i.recording, i.index) for i in order if i.user == user])]
    return [item._replace(recording=walk) for item, walk in zip(order, named, strict=True)]


# ----------------------------------------------------------------------------- names


def split_trailing_number(stem: str) -> tuple[str, int]:
    """'ID3_case1_1_Doppler57' → ('ID3_case1_1_Doppler', 57); without a number at the end the index is -1."""
    match = re.fullmatch(r"(.*?)([0-9]{1,9})", stem, re.DOTALL)
    return (match[1], int(match[2])) if match else (stem, -1)


def name_walks(numbered: Sequence[tuple[str, int]]) -> list[str]:
    """A name of the walk of each window, given in order of time: a gap in the numbering begins another."""
    names, count, last = [], Counter(), None
    for prefix, index in numbered:
        if last is None or index < 0 or (prefix, index - 1) != last:
            count[prefix] += 1
        names.append(f"{prefix or 'walk'}/{count[prefix]}")
        last = (prefix, index)
    return names


def natural_sort_key(name: str | Path) -> list:
    """Sort key: ID_2 before ID_10."""
    parts = re.split(r"([0-9]+)", getattr(name, "name", name))
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def list_visible(folder: Path) -> list[Path]:
    return sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=natural_sort_key)


def check_inside(root: Path, path: Path) -> bool:
    """True; InputError where a link leads out of the folder."""
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise InputError(f"'{path}' is a link to nothing: restore or remove it") from None
    if not real.is_relative_to(root.resolve()):
        raise InputError(f"'{path}' links to a place outside '{root}': copy the file itself")
    return True


def check_users(items: list[WindowSource], root: Path) -> None:
    """InputError for users that other systems take for one, for too few users, and for users with too few windows."""
    counts = Counter(item.user for item in items)
    folded = Counter(unicodedata.normalize("NFC", name).casefold() for name in user_folders(root) or counts)
    for name, count in folded.items():
        if count > 1:
            twins = [n for n in user_folders(root) or counts if unicodedata.normalize("NFC", n).casefold() == name]
            raise InputError(f"users {' and '.join(twins)} in '{root}' differ in case alone: rename one")
    for user in user_folders(root) or counts:
        if counts[user] < MIN_WINDOWS:
            raise InputError(f"user '{user}' has {counts[user]} images: give at least {MIN_WINDOWS}, or take it out")
    if len(counts) < 2:
        raise InputError(f"data.path '{root}' holds {len(counts)} users: people are told apart from two on")


def user_folders(root: Path) -> list[str]:
    """Users of a folder per user, those without windows too."""
    if root.is_file() or (root / "metadata.json").is_file():
        return []
    return [p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")]
