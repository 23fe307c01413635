"""Files in a folder of recordings: only regular ones inside it are read, and what is ignored is counted."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.user_names import holds_control_characters


def natural_sort_key(name: str | Path) -> list:
    """Sort key that puts ID_2 before ID_10."""
    parts = re.split(r"([0-9]{1,99})", name.name if isinstance(name, Path) else name)
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def list_visible(folder: Path) -> list[Path]:
    """Lists a folder in natural order without hidden files; InputError if the system does not let it be read."""
    try:
        return sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=natural_sort_key)
    except OSError as error:
        raise InputError(f"'{folder}' cannot be listed ({error.strerror}): give the right to read it") from None


def check_file(root: Path, path: Path) -> Path:
    """Returns the real path of a file or folder in `root`.

    InputError where it is neither a folder nor a regular file (a pipe would be waited for, a device may have no end),
    has control characters in its name, or is a link that is broken or leads out of `root`.
    """
    real = check_regular(path)
    if not real.is_relative_to(root.resolve()):
        raise InputError(f"'{path}' links to a place outside '{root}': copy the file itself")
    return real


def check_regular(path: Path) -> Path:
    """As `check_file`, but the file may lie anywhere."""
    if holds_control_characters(path.name):
        raise InputError(f"{path.name!r} in '{path.parent}' holds control characters: rename it")
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):
        problem = "is a broken link" if path.is_symlink() else "does not exist"
        raise InputError(f"'{path}' {problem}: restore or remove it") from None
    if not (real.is_file() or real.is_dir()):
        raise InputError(f"'{path}' is a pipe, socket or device, no file: remove it")
    return real


def describe_ignored(root: Path, used: Iterable[Path]) -> str | None:
    """Counts what lies in a folder and is not `used`, in one line; None where there is nothing else."""
    used, hidden, others = set(used), [], []
    for folder, folders, names in os.walk(root):
        hidden += [name for name in (*folders, *names) if name[0] == "."]
        folders[:] = [name for name in folders if name[0] != "."]
        others += [name for name in names if name[0] != "." and Path(folder, name) not in used]
    counts = [(len(hidden), "hidden"), (len(others), f"beside the windows, such as {min(others, default='')!r}")]
    found = ", ".join(f"{count} {what}" for count, what in counts if count)
    return f"ignored files in '{root}': {found}" if found else None


def missing_source(path: str) -> InputError:
    """The error for a folder that is not there."""
    if not path:
        return InputError("data.path is empty: give the folder of recordings, --config.data.path=FOLDER")
    problem = "is empty" if Path(path).is_dir() else "does not exist"
    return InputError(f"data.path '{path}' {problem}: give a folder that holds a folder per user")


def has_entries(path: str) -> bool:
    """Whether there is a file or folder that holds anything: a disk that is not mounted leaves an empty folder."""
    folder = Path(path)
    return bool(path) and folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
