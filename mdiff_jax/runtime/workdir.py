"""The files of a working directory: the path of each, a lock, and writing that leaves no half-written file."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from mdiff_jax.runtime.errors import InputError


class Workdir:
    """Paths below one working directory, which holds all that sampling and evaluation need."""

    def __init__(self, root: str | Path):
        self.root = Path(root).absolute()
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
        self.log = self.root / "train.log"

    def checkpoints(self, stage: str) -> Path:
        return self.root / stage / "checkpoints"

    def metrics(self, stage: str) -> Path:
        return self.root / stage / "metrics.jsonl"

    def set_aside(self, stage: str) -> Path:
        """Renames the folder of a stage that is to be trained anew; returns its new path."""
        number = 1
        while (target := self.root / f"{stage}.before_{number}").exists():
            number += 1
        return (self.root / stage).rename(target)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the working directory, at most until this process ends; InputError if another process writes to it."""
        created = [p for p in (self.root, *self.root.parents) if not p.exists()]
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / ".lock"
        with path.open("a+") as file:
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
        if not self.config.is_file():
            raise InputError(f"{self.root} is not a working directory (no config.json): run train.py first")
        try:
            return json.loads(self.config.read_text())
        except ValueError as error:
            raise InputError(f"{self.config} is not JSON ({error}): train in another --workdir") from None


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a temporary path that is renamed to `path` at the end: the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Writes a JSON file atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text)
