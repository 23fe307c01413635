"""Checkpoints of one stage, by Orbax: written atomically and in the background, restored strictly."""

import contextlib
import json
import re
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts
from orbax.checkpoint.checkpoint_managers import preservation_policy as policy

from mdiff_jax.runtime.array_types import Tree
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import read_json, refuse_damage, refuse_os_errors, rename_aside

VALIDATION_LOSS = "validation_loss"
CHECKSUMS = "crc32"  # of every array
META_CHECKSUM = "crc32_of_meta"  # of the other values beside the state
DISK_FULL = "No space left on device"
REMEDY = "it was written by another configuration or version; use another --workdir"
DAMAGED_REMEDY = "run train.py with this --workdir, which goes on from the one before it"
OLDER_REMEDY = "remove it, then the others are used"
STORE_FORMAT, ARRAY_FORMAT = {"driver": "ocdbt"}, {"driver": "zarr"}  # of `state`, an array under each leaf's name
STEP_NAME = re.compile("0|[1-9][0-9]{0,17}")
RETRY_SECONDS = 0.5

T = TypeVar("T")


class DamageError(InputError):
    """A checkpoint that cannot be read, or is not what was written."""


class CheckpointReader:
    """Reads the numbered checkpoints in one directory, and changes nothing there: training may write to it meanwhile.

    Each holds `state` (a tree of arrays, read into host memory, so that the number of devices does not matter) and
    `meta` (JSON: configuration, users, version). One whose save is not finished has no number yet.
    """

    def __init__(self, directory: Path):
        self.directory = directory.absolute()

    def steps(self) -> list[int]:
        """Returns the steps whose saves were finished, ascending."""
        if not self.directory.is_dir():
            return []
        return sorted(int(path.name) for path in self.directory.iterdir() if STEP_NAME.fullmatch(path.name))

    def latest(self) -> int | None:
        """Returns the last step whose save was finished, or None."""
        return max(self.steps(), default=None)

    def best(self) -> int | None:
        """Returns the step with the least validation loss; the latest where none was measured."""
        best = _least_loss({step: self.meta(step).get(VALIDATION_LOSS) for step in self.steps()})
        return self.latest() if best is None else best

    def meta(self, step: int) -> dict:
        """Returns the JSON values saved beside the state."""
        path = self._path(step)
        with self._refuse_damage(step):
            meta = read_json(path / "meta" / "metadata", self._remedy(step), DamageError)
            if meta.pop(META_CHECKSUM, None) not in (None, _meta_checksum(meta)):  # older versions wrote none
                raise ValueError("meta/metadata has another checksum than when it was written")
            if not isinstance(meta[CHECKSUMS], dict):
                raise ValueError("meta/metadata has no checksums")
        return meta

    def restore(self, step: int, like: Tree) -> Tree:
        """Returns the state saved at `step`, as host arrays in the structure of `like` (arrays or shapes of arrays).

        Raises InputError with the first leaf whose name, shape or type differs, DamageError if it is damaged.
        """
        return self._restore(step, like, whole=True)

    def restore_part(self, step: int, like: dict[str, Tree]) -> dict[str, Tree]:
        """Returns only the parts of the state that `like` has, for example {'ema': …}; as strict as `restore`."""
        return self._restore(step, like, whole=False)

    def read_while_written(self, read: Callable[[], T]) -> T:
        """Returns `read()`; calls it again if it failed while checkpoints came and went."""
        while True:
            before = self.steps()
            try:
                return read()
            except DamageError:
                time.sleep(RETRY_SECONDS)  # removing one takes a moment, too
                if self.steps() == before:
                    raise

    def _path(self, step: int) -> Path:
        return self.directory / str(step)

    def _refuse_damage(self, step: int) -> contextlib.AbstractContextManager[None]:
        return refuse_damage(f"checkpoint {self._path(step)}", self._remedy(step), DamageError)

    def _remedy(self, step: int) -> str:
        return DAMAGED_REMEDY if step == self.latest() else OLDER_REMEDY

    def _restore(self, step: int, like: Tree, whole: bool) -> Tree:
        """Reads by tensorstore: Orbax prints tracebacks from other threads where a part is damaged."""
        written = self.meta(step)[CHECKSUMS]
        flat, structure = jax.tree_util.tree_flatten_with_path(like)
        expected = {_leaf_name(path): leaf for path, leaf in flat}
        if missing := [name for name in expected if name not in written]:
            raise InputError(f"checkpoint {self._path(step)} has no leaf '{missing[0]}': {REMEDY}")
        if whole and (extra := sorted(written.keys() - expected.keys())):
            raise InputError(f"checkpoint {self._path(step)} has an unknown leaf '{extra[0]}': {REMEDY}")
        with self._refuse_damage(step):
            for path in (self._path(step) / "state").rglob("*"):
                if not (path.is_file() or path.is_dir()):  # a pipe is waited for without end
                    raise ValueError(f"{path.name} is not a file")
            base, context = {"driver": "file", "path": f"{self._path(step)}/state/"}, ts.Context()
            specs = (
                {**ARRAY_FORMAT, "kvstore": {**STORE_FORMAT, "base": base, "path": f"{name}/"}} for name in expected
            )
            opened = [ts.open(spec, read=True, context=context) for spec in specs]
            stores = [future.result() for future in opened]
        for store, (name, leaf) in zip(stores, expected.items(), strict=True):  # before memory is taken
            found, needed = (store.dtype.name, list(store.shape)), (np.dtype(leaf.dtype).name, list(leaf.shape))
            if found != needed:
                raise InputError(
                    f"checkpoint {self._path(step)}: leaf '{name}' is {found[0]}{found[1]}, "
                    f"the model needs {needed[0]}{needed[1]}: {REMEDY}"
                )
        with self._refuse_damage(step):
            reading = [store.read() for store in stores]
            leaves = [future.result() for future in reading]
            for name, leaf in zip(expected, leaves, strict=True):
                if _checksum(leaf) != written[name]:
                    raise ValueError(f"leaf '{name}' has another checksum than when it was written")
        return jax.tree.unflatten(structure, leaves)


class Checkpoints(CheckpointReader):
    """Writes checkpoints, too: the only writer of the directory; a context manager that waits for the last save.

    Kept are the latest `keep`, the best by validation loss, and those at the steps `keep_at`. What
    an interrupted save left is removed at the first save. For one process alone: where several train, the first saves.
    """

    def __init__(self, directory: Path, keep: int = 2, keep_at: Sequence[int] = ()):
        super().__init__(directory)
        self._losses: dict[int, float | None] = {}
        policies = [policy.LatestN(keep), _KeepBest(self._losses), policy.CustomSteps(keep_at)]
        self._options = ocp.CheckpointManagerOptions(
            preservation_policy=policy.AnyPreservationPolicy(policies),
            cleanup_tmp_directories=True,
            multiprocessing_options=_this_process_alone(),
            create=False,  # Orbax refuses to where several processes run
            lightweight_initialize=True,  # it fails on damaged metadata
        )
        self._manager: ocp.CheckpointManager | None = None

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._manager is not None:
            try:
                self._write(self._manager.wait_until_finished)
            finally:
                self._manager.close()

    def save(self, step: int, state: Tree, meta: dict, validation_loss: float | None = None) -> None:
        """Starts saving; returns when the state may change again. Raises InputError if the disk does not take it."""
        host = jax.device_get(state)
        meta = meta | {VALIDATION_LOSS: validation_loss, CHECKSUMS: _leaf_checksums(host)}
        meta |= {META_CHECKSUM: _meta_checksum(meta)}
        items = ocp.args.Composite(state=ocp.args.PyTreeSave(host), meta=ocp.args.JsonSave(meta))
        manager = self._open()
        self._losses[step] = validation_loss
        self._write(lambda: manager.save(step, args=items))

    def restore_latest(self, like: Tree, warn: Callable[[str], None]) -> tuple[int, Tree] | None:
        """Returns (step, state) of the last checkpoint that can be read, or None.

        Damaged ones are renamed to STAGE/damaged_STEP_N, with one line to `warn` each.

        Raises InputError if the checkpoint was written by another configuration.
        """
        while (step := self.latest()) is not None:
            try:
                return step, self.restore(step, like)
            except DamageError as error:
                target = rename_aside(self._path(step), self.directory.parent / f"damaged_{step}")
                rest = self.latest()
                goes_on = "training begins anew" if rest is None else f"training goes on from step {rest}"
                warn(f"{str(error).removesuffix(f': {DAMAGED_REMEDY}')}: set aside as {target.name}, {goes_on}")
        return None

    def _open(self) -> ocp.CheckpointManager:
        """Returns Orbax's manager, opened at the first save: what is damaged was set aside before."""
        if self._manager is None:
            with refuse_os_errors(self.directory):
                self.directory.mkdir(parents=True, exist_ok=True)
            for step in self.steps():
                with contextlib.suppress(DamageError):
                    self._losses[step] = self.meta(step).get(VALIDATION_LOSS)
            arrays = ocp.PyTreeCheckpointHandler(use_ocdbt=True, use_zarr3=False)  # STORE_FORMAT, ARRAY_FORMAT
            handlers = {"state": arrays, "meta": ocp.JsonCheckpointHandler()}
            self._manager = ocp.CheckpointManager(self.directory, options=self._options, item_handlers=handlers)
        return self._manager

    def _write(self, write: Callable[[], object]) -> None:
        """Calls `write`; raises InputError with the last safe step if the disk is full or broken."""
        try:
            write()
        except InputError:
            raise
        except (OSError, ValueError) as error:  # tensorstore raises ValueError for a full disk
            _silence_closed_loop()
            last = f"step {max(known)} is the last that is safe" if (known := self.steps()) else "none is safe yet"
            text = str(error).strip()
            reason = DISK_FULL if DISK_FULL in text else text.splitlines()[0][:200]
            raise InputError(
                f"a checkpoint could not be written to {self.directory} ({reason}); {last}: free some space, then "
                "repeat the command"
            ) from error


class _KeepBest(policy.PreservationPolicy):
    """Keeps the checkpoint with the least of `losses`, {step: validation loss or None}."""

    def __init__(self, losses: dict[int, float | None]):
        self.losses = losses

    def should_preserve(
        self,
        checkpoints: Sequence[Any],
        *,
        context: policy.PreservationContext,  # Any: of a Protocol without checks
    ) -> Sequence[bool]:
        steps = [checkpoint.step for checkpoint in checkpoints]
        best = _least_loss({step: self.losses.get(step) for step in steps})
        return [step == best for step in steps]


def _least_loss(losses: dict[int, float | None]) -> int | None:
    """Returns the step with the least loss; None where none was measured."""
    measured = {step: loss for step, loss in losses.items() if loss is not None}
    return min(measured, key=lambda step: measured[step]) if measured else None


def _this_process_alone() -> ocp.options.MultiprocessingOptions:
    """Returns options by which this process saves and reads without the others."""
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    process = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=process, active_processes={process}, barrier_sync_key_prefix=f"process_{process}"
    )


def _silence_closed_loop() -> None:
    """Hides the tracebacks of tensorstore's threads that report to an event loop which a failed save has closed."""
    show = sys.excepthook
    closed = lambda error: isinstance(error, RuntimeError) and str(error) == "Event loop is closed"  # noqa: E731
    sys.excepthook = lambda kind, error, trace: None if closed(error) else show(kind, error, trace)


def _leaf_checksums(tree: Tree) -> dict[str, int]:
    """Returns leaf name → checksum."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_leaf_name(path): _checksum(leaf) for path, leaf in flat}


def _checksum(leaf: np.ndarray) -> int:
    """Returns the CRC-32 of an array's bytes: the store itself does not notice a flipped bit."""
    return zlib.crc32(np.ascontiguousarray(leaf).data)


def _meta_checksum(meta: dict) -> int:
    return zlib.crc32(json.dumps(meta, sort_keys=True).encode())


def _leaf_name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
