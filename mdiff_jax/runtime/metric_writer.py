"""The logs of a training run: terminal and train.log, a progress bar, metrics.jsonl, TensorBoard.

Several processes train one model; only the first of them writes.
"""

import contextlib
import json
import math
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np
from jaxtyping import UInt8
from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

from mdiff_jax.runtime.progress import Bar
from mdiff_jax.runtime.workdir import Workdir, atomic_write, refuse_damage


class RunLog:
    """Writes lines to the terminal and, with the time, to WORKDIR/train.log; nothing where `writes` is false."""

    def __init__(self, workdir: Workdir, writes: bool):
        self.workdir, self.writes = workdir, writes

    def log(self, line: str) -> None:
        if self.writes:
            Bar.write(line, file=sys.stdout)
            sys.stdout.flush()
            with self.workdir.log.open("a") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")


class StageMetricWriter:
    """Writes the metrics of one stage that trains from step `start` to `total`; a context manager.

    Metrics of steps after `start`, of an earlier run, are dropped: those steps are trained again.
    """

    def __init__(self, run_log: RunLog, stage: str, start: int, total: int, tensorboard: bool):
        self._bar = Bar(total=total, initial=start, desc=stage, unit="step", disable=not run_log.writes)
        self._closing = contextlib.ExitStack()
        self._closing.callback(self._bar.close)
        self._file = self._events = None
        if run_log.writes:
            self._file = self._closing.enter_context(open_metrics_file(run_log.workdir.metrics(stage), start))
        if run_log.writes and tensorboard:
            self._events = self._closing.enter_context(
                contextlib.closing(EventFile(run_log.workdir.tensorboard / stage, start))
            )

    def __enter__(self) -> "StageMetricWriter":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(*([OSError] if error else [])):  # the first error counts
            self._closing.close()

    def advance(self) -> None:
        """Moves the progress bar by one step."""
        self._bar.update()

    def write_scalars(self, step: int, values: dict[str, float]) -> None:
        """Writes a line of metrics.jsonl and points in TensorBoard, and shows loss and rate beside the bar."""
        shown = {k: f"{values[k]:.4g}" for k in ("loss", "validation_loss", "images_per_second") if k in values}
        self._bar.set_postfix(shown, refresh=False)
        if self._file:
            self._file.write(json.dumps({"step": step} | {k: float(f"{v:.6g}") for k, v in values.items()}) + "\n")
            self._file.flush()
        if self._events:
            self._events.write(step, *(summary.scalar(name, value) for name, value in values.items()))

    def write_image(self, step: int, name: str, pixels: UInt8[np.ndarray, "height width 3"]) -> None:
        """Writes an image to TensorBoard."""
        if self._events:
            self._events.write(step, summary.image(name, pixels, dataformats="HWC"))


class EventFile:
    """Writes summaries to a TensorBoard event file in `folder`; hides those of steps after `start` in earlier files.

    In this thread: tensorboardX's own writer loses errors in another, and waits for ever once that has ended.
    """

    def __init__(self, folder: Path, start: int):
        folder.mkdir(parents=True, exist_ok=True)
        self._records = RecordWriter(str(folder / f"events.out.tfevents.{time.time():.0f}.{os.getpid()}"))
        self._write(Event(file_version="brain.Event:2"))
        self._write(Event(step=start + 1, session_log=SessionLog(status=SessionLog.START)))

    def write(self, step: int, *summaries: Summary) -> None:
        for each in summaries:
            self._write(Event(step=step, summary=each))
        self._records.flush()

    def close(self) -> None:
        self._records.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())


def open_metrics_file(path: Path, start: int) -> TextIO:
    """Drops the lines of steps after `start` from metrics.jsonl; returns the file, opened to append."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    with atomic_write(path) as temporary:
        temporary.write_text("".join(line + "\n" for line in lines if parse_step(line) <= start))
    return path.open("a")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Returns the lines of metrics.jsonl, but for those that were cut short; none where there is no file."""
    with refuse_damage(path, "allow reading it, or remove it"):
        lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines if math.isfinite(parse_step(line))]


def parse_step(line: str) -> float:
    """Returns the step of a line; infinity for a line that was cut short or changed, so that it is dropped."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return float("inf")
