"""Checkpoints of one stage, by Orbax: written atomically and in the background, restored strictly."""

import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as policy

from mdiff_jax.runtime.array_types import Tree
from mdiff_jax.runtime.errors import InputError

VALIDATION_LOSS = "validation_loss"
CHECKSUMS = "crc32"
DISK_FULL = "No space left on device"
REMEDY = "it was written by another configuration or version; use another --workdir"


class Checkpoints:
    """The numbered checkpoints in one directory; a context manager that waits for the last save.

    Each holds `state` (a tree of arrays, saved from and restored to host memory, so that the number of devices does not
    matter) and `meta` (JSON: configuration, users, version). A save that was interrupted is never listed. Kept are the
    latest `keep`, the best by validation loss, and multiples of `keep_every` where that is not 0. For one process
    alone: where several train, the first saves.
    """

    def __init__(self, directory: Path, keep: int = 2, keep_every: int = 0):
        self.directory = directory.absolute()
        best = policy.BestN(get_metric_fn=lambda m: -m[VALIDATION_LOSS], n=1, keep_checkpoints_without_metrics=False)
        policies = [policy.LatestN(keep), best, *([policy.EveryNSteps(keep_every)] if keep_every else [])]
        process, several = jax.process_index(), jax.process_count() > 1
        multiprocessing = ocp.options.MultiprocessingOptions()
        if several:  # this process saves and reads by itself; Orbax then does not create the folder
            multiprocessing = ocp.options.MultiprocessingOptions(
                primary_host=process, active_processes={process}, barrier_sync_key_prefix=f"process_{process}"
            )
            self.directory.mkdir(parents=True, exist_ok=True)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policy.AnyPreservationPolicy(policies),
            cleanup_tmp_directories=True,
            multiprocessing_options=multiprocessing,
            create=not several,
        )
        handlers = {"state": ocp.PyTreeCheckpointHandler(), "meta": ocp.JsonCheckpointHandler()}
        self._open = lambda: ocp.CheckpointManager(self.directory, options=options, item_handlers=handlers)
        self._manager = self._open()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._write(self._manager.wait_until_finished)
        finally:
            self._manager.close()

    def reopen(self) -> None:
        """Begins anew with an empty directory, after the old one was moved away."""
        self._manager.close()
        self._manager = self._open()

    def latest(self) -> int | None:
        """Returns the last step whose save was finished, or None."""
        return self._manager.latest_step()

    def best(self) -> int | None:
        """Returns the step with the least validation loss; the latest where none was measured."""
        losses = {step: self.meta(step).get(VALIDATION_LOSS) for step in self._manager.all_steps()}
        measured = {step: loss for step, loss in losses.items() if loss is not None}
        return min(measured, key=measured.get) if measured else self.latest()

    def save(self, step: int, state: Tree, meta: dict, validation_loss: float | None = None) -> None:
        """Starts saving; returns when the state may change again. Raises InputError if the disk does not take it."""
        host = jax.device_get(state)
        meta = meta | {VALIDATION_LOSS: validation_loss, CHECKSUMS: _leaf_checksums(host)}
        items = ocp.args.Composite(state=ocp.args.PyTreeSave(host), meta=ocp.args.JsonSave(meta))
        metrics = None if validation_loss is None else {VALIDATION_LOSS: validation_loss}
        self._write(lambda: self._manager.save(step, args=items, metrics=metrics))

    def restore_latest(self, like: Tree, warn: Callable[[str], None]) -> tuple[int, Tree] | None:
        """Returns (step, state) of the last checkpoint that can be read, or None.

        Damaged ones are renamed to STAGE/damaged_STEP, with one line to `warn` each.

        Raises InputError if the checkpoint was written by another configuration.
        """
        while (step := self.latest()) is not None:
            try:
                return step, self.restore(step, like)
            except InputError:
                raise
            except Exception as error:
                target = self.directory.parent / f"damaged_{step}"
                (self.directory / str(step)).rename(target)
                self._manager.reload()
                reason = (str(error).strip() or type(error).__name__).splitlines()[0][:100]
                warn(f"checkpoint {self.directory}/{step} cannot be read ({reason}): set aside as {target.name}")
        return None

    def restore(self, step: int, like: Tree) -> Tree:
        """Returns the state saved at `step`, as host arrays in the structure of `like` (arrays or shapes of arrays).

        Raises InputError with the first leaf whose name, shape or type differs.
        """
        self._check(step, like, whole=True)
        return self._restore(step, like)

    def restore_part(self, step: int, like: dict[str, Tree]) -> dict[str, Tree]:
        """Returns only the parts of the state that `like` has, for example {'ema': …}; as strict as `restore`."""
        self._check(step, like, whole=False)
        return self._restore(step, like, partial_restore=True)

    def meta(self, step: int) -> dict:
        """Returns the JSON values saved beside the state."""
        return self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())).meta

    def _write(self, write: Callable[[], object]) -> None:
        """Calls `write`; raises InputError with the last safe step if the disk is full or broken."""
        try:
            write()
        except (OSError, ValueError) as error:  # tensorstore raises ValueError for a full disk
            _silence_closed_loop()
            known = [step for step in self._manager.all_steps(read=True) if step is not None]
            last = f"step {max(known)} is the last that is safe" if known else "none is safe yet"
            text = str(error).strip()
            reason = DISK_FULL if DISK_FULL in text else text.splitlines()[0][:200]
            raise InputError(
                f"a checkpoint could not be written to {self.directory} ({reason}); {last}: free some space, then "
                "repeat the command"
            ) from error

    def _restore(self, step: int, like: Tree, **options: bool) -> Tree:
        like = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), like)
        to_host = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like)
        request = ocp.args.PyTreeRestore(item=like, restore_args=to_host, **options)
        state = self._manager.restore(step, args=ocp.args.Composite(state=request)).state
        written = self.meta(step)[CHECKSUMS]
        changed = [name for name, value in _leaf_checksums(state).items() if written[name] != value]
        if changed:
            raise ValueError(f"leaf '{changed[0]}' has another checksum than when it was written")
        return state

    def _check(self, step: int, like: Tree, whole: bool) -> None:
        """Raises InputError unless each leaf of `like` is saved in that shape and type, and, if `whole`, no other."""
        saved = _leaf_shapes(self._manager.item_metadata(step).state.tree)
        expected = _leaf_shapes(like)
        for name, (shape, dtype) in expected.items():
            if name not in saved:
                raise InputError(f"checkpoint {self.directory}/{step} has no leaf '{name}': {REMEDY}")
            if saved[name] != (shape, dtype):
                raise InputError(
                    f"checkpoint {self.directory}/{step}: leaf '{name}' is {saved[name][1]}{list(saved[name][0])}, "
                    f"the model needs {dtype}{list(shape)}: {REMEDY}"
                )
        extra = sorted(saved.keys() - expected.keys()) if whole else []
        if extra:
            raise InputError(f"checkpoint {self.directory}/{step} has an unknown leaf '{extra[0]}': {REMEDY}")


def _silence_closed_loop() -> None:
    """Hides the tracebacks of tensorstore's threads that report to an event loop which a failed save has closed."""
    show = sys.excepthook
    closed = lambda error: isinstance(error, RuntimeError) and str(error) == "Event loop is closed"  # noqa: E731
    sys.excepthook = lambda kind, error, trace: None if closed(error) else show(kind, error, trace)


def _leaf_checksums(tree: Tree) -> dict[str, int]:
    """Returns leaf name → CRC-32 of its bytes: the store itself does not notice a flipped bit."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_leaf_name(path): zlib.crc32(np.ascontiguousarray(leaf)) for path, leaf in flat}


def _leaf_name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _leaf_shapes(tree: Tree) -> dict[str, tuple[tuple[int, ...], str]]:
    """Returns leaf name → (shape, type)."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {
        _leaf_name(path): (tuple(leaf.shape), np.dtype(leaf.dtype).name)
        for path, leaf in flat
        if getattr(leaf, "dtype", None) is not None
    }
