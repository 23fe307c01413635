"""The files of a working directory: where each lies, and writing that leaves nothing half done."""

import json
import os
from pathlib import Path
from typing import Any

from mdiff_jax.errors import InputError


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

    def checkpoints(self, stage: str) -> Path:
        return self.root / stage / "checkpoints"

    def metrics(self, stage: str) -> Path:
        return self.root / stage / "metrics.jsonl"

    def read_config(self) -> dict:
        """The configuration it was made with; InputError if there is none."""
        if not self.config.is_file():
            raise InputError(f"{self.root} is not a working directory (no config.json): run train.py first")
        try:
            return json.loads(self.config.read_text())
        except ValueError as error:
            raise InputError(f"{self.config} is not JSON ({error}): train in another --workdir") from None


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
    temporary.replace(path)


class MetricsLog:
    """Appends one JSON object a line; on resuming, lines after the resumed step are dropped: they come again."""

    def __init__(self, path: Path, start_step: int):
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.is_file() else []
        kept = [line for line in lines if _step_of(line) <= start_step]
        path.write_text("".join(line + "\n" for line in kept))
        self._file = path.open("a")

    def write(self, step: int, values: dict[str, float]) -> None:
        self._file.write(json.dumps({"step": step} | {k: float(f"{v:.6g}") for k, v in values.items()}) + "\n")
        self._file.flush()

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _step_of(line: str) -> float:
    """The step a line speaks of; infinity for a line cut short, which is then dropped."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):
        return float("inf")
