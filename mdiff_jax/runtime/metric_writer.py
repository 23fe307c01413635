"""What one sees of a training run: lines, a progress bar, train.log, metrics.jsonl, TensorBoard.

Several processes train one model; only the first of them writes.
"""

import json
import sys
import time
from pathlib import Path
from types import TracebackType

import numpy as np
from tensorboardX import SummaryWriter
from tqdm import tqdm

from mdiff_jax.runtime.workdir import Workdir


class RunLog:
    """Lines on the terminal and, with the time, in WORKDIR/train.log."""

    def __init__(self, workdir: Workdir, writes: bool):
        self.workdir, self.writes = workdir, writes

    def say(self, line: str) -> None:
        if self.writes:
            tqdm.write(line, file=sys.stdout)
            sys.stdout.flush()
            with self.workdir.log.open("a") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")


class StageMetricWriter:
    """The course of one stage: a context manager that opens and closes its files.

    On resuming, what was written of later steps is dropped: it comes again.
    """

    def __init__(self, journal: RunLog, stage: str, start: int, total: int, tensorboard: bool):
        pace = 1 if sys.stderr.isatty() else 15  # seconds between updates
        hidden = not journal.writes
        self._bar = tqdm(total=total, initial=start, desc=stage, unit="step", mininterval=pace, disable=hidden)
        self._file = self._events = None
        if journal.writes:
            self._file = open_metrics_file(journal.workdir.metrics(stage), start)
        if journal.writes and tensorboard:
            self._events = SummaryWriter(str(journal.workdir.tensorboard / stage), purge_step=start + 1)

    def __enter__(self) -> "StageJournal":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for opened in (self._bar, self._file, self._events):
            if opened is not None:
                opened.close()

    def advance(self) -> None:
        """One step was begun."""
        self._bar.update()

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """A line of metrics.jsonl, points in TensorBoard, and loss and rate beside the bar."""
        shown = {k: f"{values[k]:.4g}" for k in ("loss", "validation_loss", "images_per_second") if k in values}
        self._bar.set_postfix(shown, refresh=False)
        if self._file:
            self._file.write(json.dumps({"step": step} | {k: float(f"{v:.6g}") for k, v in values.items()}) + "\n")
            self._file.flush()
        if self._events:
            for name, value in values.items():
                self._events.add_scalar(name, value, step)

    def image(self, step: int, name: str, pixels: np.ndarray) -> None:
        """(H, W, 3) uint8 into TensorBoard."""
        if self._events:
            self._events.add_image(name, pixels, step, dataformats="HWC")


def open_metrics_file(path: Path, start: int):
    """metrics.jsonl to append to, without the lines after step `start`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text().splitlines() if path.is_file() else []
    path.write_text("".join(line + "\n" for line in lines if parse_step(line) <= start))
    return path.open("a")


def parse_step(line: str) -> float:
    """The step a line speaks of; infinity for a line cut short, which is then dropped."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):
        return float("inf")
