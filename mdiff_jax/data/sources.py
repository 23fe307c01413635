"""What lies in a folder of recordings, and reading one image of it: a folder per user, an image per window.

A window's place in time is the last number in its file's name; a user's windows whose names are alike but for it were
taken in one go, and a gap in the numbering ends a walk. Where no name ends in a number, order is unknown.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from mdiff_jax.errors import InputError

IMAGES = (".jpg", ".jpeg", ".png")
MAX_PIXELS = 4096 * 4096  # of one image: checked before it is decoded
MIN_WINDOWS = 2


class Item(NamedTuple):
    """One window, not read yet."""

    file: str  # relative to the folder, with '/'
    user: str
    recording: str
    index: int  # in time; -1 where the name does not tell


def scan(root: Path) -> list[Item]:
    """All windows below `root`, users and times in natural order; InputError for a folder that cannot be used."""
    if not root.is_dir():
        raise InputError(f"data.path '{root}' is not a folder: give one that holds a folder per user")
    folders = sorted((p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")), key=natural)
    if not folders:
        raise InputError(f"data.path '{root}' holds no folders: it needs one per user, with that user's images")
    check_names([p.name for p in folders], root)
    items = [item for folder in folders for item in scan_user(root, folder)]
    if len(folders) < 2:
        raise InputError(f"data.path '{root}' holds one user, '{folders[0].name}': people are told apart from two on")
    return items


def scan_user(root: Path, folder: Path) -> list[Item]:
    """One user's windows in order of time."""
    files = sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=natural)
    for path in files:
        if path.is_dir() or path.suffix.lower() not in IMAGES:
            raise InputError(f"'{path}' is no image ({', '.join(IMAGES)}): move it out of the user's folder")
        if not path.resolve().is_relative_to(root.resolve()):
            raise InputError(f"'{path}' links to a file outside '{root}': copy the file itself")
    if len(files) < MIN_WINDOWS:
        raise InputError(f"user '{folder.name}' has {len(files)} images: give at least {MIN_WINDOWS}, or take it out")
    numbered = [number(path.stem) for path in files]
    return [
        Item(path.relative_to(root).as_posix(), folder.name, walk, index)
        for path, walk, (_, index) in zip(files, walks(numbered), numbered, strict=True)
    ]


def number(stem: str) -> tuple[str, int]:
    """'ID3_case1_1_Doppler57' → ('ID3_case1_1_Doppler', 57); without a number at the end the index is -1."""
    match = re.fullmatch(r"(.*?)(\d{1,9})", stem, re.DOTALL)
    return (match[1], int(match[2])) if match else (stem, -1)


def walks(numbered: Sequence[tuple[str, int]]) -> list[str]:
    """A name of the walk of each window, given in order of time: a gap in the numbering begins another."""
    names, count, last = [], Counter(), None
    for prefix, index in numbered:
        if last is None or index < 0 or (prefix, index - 1) != last:
            count[prefix] += 1
        names.append(f"{prefix or 'walk'}/{count[prefix]}")
        last = (prefix, index)
    return names


def natural(path: Path) -> list:
    """Sort key: ID_2 before ID_10."""
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", path.name)]


def check_names(names: list[str], root: Path) -> None:
    """Users whose names differ in case alone would be one folder on other systems."""
    for name, count in Counter(n.casefold() for n in names).items():
        if count > 1:
            twins = [n for n in names if n.casefold() == name]
            raise InputError(f"users {' and '.join(twins)} in '{root}' differ in case alone: rename one")


def read_rgb(path: Path) -> UInt8[np.ndarray, "rows columns 3"]:
    """An image as RGB; InputError if it is none, is cut short, or is too large to be a window."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise InputError(f"'{path}' has {width} x {height} pixels: a window has at most {MAX_PIXELS}")
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())
        raise InputError(f"'{path}' cannot be read as an image ({reason}): restore it or take it out") from None
