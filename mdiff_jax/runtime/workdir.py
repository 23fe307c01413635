"""The files of a working directory: where each lies, and writing that leaves nothing half done."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
        """Renames the folder of a stage that is to be trained anew; returns where it lies now."""
        number = 1
        while (target := self.root / f"{stage}.before_{number}").exists():
            number += 1
        return (self.root / stage).rename(target)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second writer out, also when this one was killed; InputError if there is one."""
        made = [p for p in (self.root, *self.root.parents) if not p.exists()]
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / ".lock"
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{self.root} is being written by another process: wait for it, or stop it") from None
            if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                raise InputError(f"{self.root} was left by another process just now: try again")
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # what holds something stays
                    for folder in made:
                        folder.rmdir()

    def read_config(self) -> dict:
        """The configuration it was made with; InputError if there is none."""
        if not self.config.is_file():
            raise InputError(f"{self.root} is not a working directory (no config.json): run train.py first")
        try:
            return json.loads(self.config.read_text())
        except ValueError as error:
            raise InputError(f"{self.config} is not JSON ({error}): train in another --workdir") from None


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to, which takes its name at the end: the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
