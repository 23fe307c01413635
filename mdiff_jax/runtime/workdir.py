"""The files of a working directory: the path of each, a lock, whole or no files written, and damaged ones refused."""

import contextlib
import errno
import fcntl
import functools
import glob
import json
import os
import platform
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from mdiff_jax.runtime.errors import InputError, one_line

MAX_JSON_BYTES = 2**26  # of a million windows' names
DENIED = [os.strerror(number) for number in (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM)]
TEMPORARY_PREFIX = f".{platform.node()}."  # another machine that shares the folder has other processes
NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class Workdir:
    """Paths below one working directory, which holds all that sampling and evaluation need."""

    def __init__(self, root: str | Path):
        self.root = Path(os.path.abspath(root))  # without `..`, which the store of arrays refuses
        self.config = self.root / "config.json"
        self.split = self.root / "split.json"
        self.data = self.root / "data"
        self.embeddings = self.root / "embeddings.npz"
        self.cache = self.root / "cache"
        self.samples = self.root / "samples"
        self.enrolled = self.root / "enrolled"
        self.tensorboard = self.root / "tensorboard"
        self.sweeps = self.root / "sweeps"
        self.chosen = self.root / "chosen.json"
        self.weights = self.root / "weights.safetensors"  # these two of an exported model
        self.card = self.root / "card.json"
        self.log = self.root / "train.log"

    def checkpoints(self, stage: str) -> Path:
        return self.root / stage / "checkpoints"

    def metrics(self, stage: str) -> Path:
        return self.root / stage / "metrics.jsonl"

    def calibration(self, student: bool = False) -> Path:
        return self.root / ("student_calibration.json" if student else "calibration.json")

    def set_aside(self, stage: str) -> Path:
        """Renames the folder of a stage that is to be trained anew; returns its new path."""
        return rename_aside(self.root / stage, self.root / f"{stage}.before")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the working directory, at most until this process ends; InputError if another process writes to it."""
        created = [p for p in (self.root, *self.root.parents) if not p.exists()]
        path = self.root / ".lock"
        with refuse_os_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            file = path.open("a+")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{self.root} is being written by another process: wait for it or stop it") from None
            if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                raise InputError(f"{self.root} was released by another process just now: repeat the command")
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # folders that are not empty stay
                    for folder in created:
                        folder.rmdir()

    def read_config(self) -> dict:
        """Returns the configuration of the run; InputError if there is none, or it is not JSON."""
        if not self.config.exists():
            raise InputError(f"{self.root} is not a working directory (no config.json): run train.py first")
        return read_json(self.config, "restore it, or remove it and run train.py with the same configuration")


def rename_aside(path: Path, target: Path) -> Path:
    """Renames `path` to TARGET_1, or the next number that is free; returns the new path."""
    number = 1
    while (numbered := target.with_name(f"{target.name}_{number}")).exists():
        number += 1
    with refuse_os_errors(numbered):
        return path.rename(numbered)


# ----------------------------------------------------------------------------- writing


@contextlib.contextmanager
def refuse_os_errors(path: Path) -> Iterator[None]:
    """Turns what the system says about writing to `path`, such as that the disk is full, into InputError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise InputError(
            f"{path} could not be written ({reason}): free some space or allow writing there, then repeat the command"
        ) from error


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a temporary path that is renamed to `path` at the end: the file appears whole or not at all.

    Removes the temporary files of killed processes. InputError if the system does not take the file.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}.{path.name}")
    with refuse_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yields an empty temporary folder that takes the place of `path` at the end, as `atomic_write` does for a file."""
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}.{path.name}")
    made = [parent for parent in path.parents if not parent.exists()]
    with refuse_os_errors(path):
        try:
            temporary.mkdir(parents=True)
            remove_leftovers(path.parent)
            yield temporary
            remove(path)
            temporary.replace(path)
        finally:
            remove(temporary)
            with contextlib.suppress(OSError):  # folders that are not empty stay
                for parent in made:
                    parent.rmdir()


@functools.cache  # once a process
def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files that processes of this machine left in a folder when they were killed."""
    for path in folder.glob(f"{glob.escape(TEMPORARY_PREFIX)}*"):
        pid = path.name.removeprefix(TEMPORARY_PREFIX).partition(".")[0]
        if pid.isdecimal() and not is_running(int(pid)):
            remove(path)


def remove(path: Path) -> None:
    """Removes a file or folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_running(pid: int) -> bool:
    """Returns whether this machine has a process of this number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        return True
    return True


def write_json(path: Path, value: object) -> None:
    """Writes a JSON file atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text)


# ----------------------------------------------------------------------------- reading


@contextlib.contextmanager
def refuse_damage(what: object, remedy: str, error_type: type[InputError] = InputError) -> Iterator[None]:
    """Turns whatever a library raises on reading a damaged file into one line of `error_type`.

    Damaged bytes can raise anything; only what says nothing about the file passes: no memory, and signals. What the
    system refuses, as files of others, is an InputError.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        reason = one_line(error)[:100] or type(error).__name__
        if denied := next((text for text in DENIED if text in str(error)), None):  # libraries keep the system's words
            raise InputError(f"{what} cannot be read ({denied}): mend that, then repeat the command") from error
        raise error_type(f"{what} cannot be read ({reason}): {remedy}") from error


def open_regular(path: Path, most_bytes: int) -> IO[bytes]:
    """Opens a file to read; OSError or ValueError if it is no regular file, a pipe for example, or is too large."""
    if not path.is_file():
        raise ValueError("it is not a file" if path.exists() else "it is missing")
    if (size := path.stat().st_size) > most_bytes:
        raise ValueError(f"it has {size} bytes, more than {most_bytes}")
    return path.open("rb")


def read_json(path: Path, remedy: str, error_type: type[InputError] = InputError) -> dict[str, Any]:
    """Returns the object in a JSON file; raises `error_type` that ends with `remedy` if there is none."""
    with refuse_damage(path, remedy, error_type), open_regular(path, MAX_JSON_BYTES) as file:
        value = json.loads(file.read())
        if not isinstance(value, dict):
            raise ValueError("it is not a JSON object")
        return value


def read_npz(path: Path, remedy: str, most_bytes: int) -> dict[str, np.ndarray]:
    """Returns the arrays of a .npz file, finite numbers or text; InputError that ends with `remedy` for any other file.

    The headers are checked before memory is taken, of which arrays may need `most_bytes` in all.
    """
    with refuse_damage(path, remedy), open_regular(path, most_bytes) as file, zipfile.ZipFile(file) as archive:
        if sum(info.file_size for info in archive.infolist()) > most_bytes:
            raise ValueError(f"its arrays have more than {most_bytes} bytes")
        return {info.filename.removesuffix(".npy"): _read_array(archive, info) for info in archive.infolist()}


def _read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as file:
        shape, fortran, dtype = NPY_HEADERS[np.lib.format.read_magic(file)](file)
        values = file.read()  # checks the CRC at its end
    if dtype.kind not in "biufU":
        raise ValueError(f"'{info.filename}' holds {dtype}, not numbers or text")
    x = np.frombuffer(values, dtype).reshape(shape, order="F" if fortran else "C")
    if dtype.kind == "f" and not np.isfinite(x).all():
        raise ValueError(f"'{info.filename}' holds NaN or infinity")
    return x
