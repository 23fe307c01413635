"""Checkpoints of one stage, by Orbax: atomic, in the background, strict on the way back."""

from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from mdiff_jax.errors import InputError


class Checkpoints:
    """The numbered checkpoints in one directory; a context manager that waits for the last save.

    Each holds `state` (a tree of arrays, saved from and restored to host memory, so that it does not matter on how many
    devices) and `meta` (JSON: configuration, users, version). A save that was cut short is never listed.
    """

    def __init__(self, directory: Path, keep: int = 2):
        self.directory = directory.absolute()
        options = ocp.CheckpointManagerOptions(
            preservation_policy=preservation_policy.LatestN(keep), cleanup_tmp_directories=True
        )
        handlers = {"state": ocp.PyTreeCheckpointHandler(), "meta": ocp.JsonCheckpointHandler()}
        self._manager = ocp.CheckpointManager(self.directory, options=options, item_handlers=handlers)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._manager.wait_until_finished()
        self._manager.close()

    def latest(self) -> int | None:
        """The last step saved whole, or None."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any, meta: dict) -> None:
        """Starts saving; returns when the state may change again."""
        host = jax.device_get(state)
        items = ocp.args.Composite(state=ocp.args.PyTreeSave(host), meta=ocp.args.JsonSave(meta))
        self._manager.save(step, args=items)

    def restore(self, step: int, like: Any) -> Any:
        """The state saved at `step`, as host arrays in the structure of `like` (arrays or shapes of arrays).

        Raises InputError that names the first leaf whose name, shape or type differs.
        """
        self._check(step, like, whole=True)
        return self._restore(step, like)

    def restore_part(self, step: int, like: dict[str, Any]) -> dict[str, Any]:
        """Only the parts of the state that `like` has, for example {'ema': …}; as strict about them as `restore`."""
        self._check(step, like, whole=False)
        return self._restore(step, like, partial_restore=True)

    def meta(self, step: int) -> dict:
        """The JSON saved beside the state."""
        return self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())).meta

    def _restore(self, step: int, like: Any, **options: bool) -> Any:
        like = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), like)
        to_host = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like)
        request = ocp.args.PyTreeRestore(item=like, restore_args=to_host, **options)
        return self._manager.restore(step, args=ocp.args.Composite(state=request)).state

    def _check(self, step: int, like: Any, whole: bool) -> None:
        saved = _leaves(self._manager.item_metadata(step).state.tree)
        asked = _leaves(like)
        for name, (shape, dtype) in asked.items():
            if name not in saved:
                raise InputError(f"checkpoint {self.directory}/{step} has no leaf '{name}': {REMEDY}")
            if saved[name] != (shape, dtype):
                raise InputError(
                    f"checkpoint {self.directory}/{step}: leaf '{name}' is {saved[name][1]}{list(saved[name][0])}, "
                    f"the model wants {dtype}{list(shape)}: {REMEDY}"
                )
        extra = sorted(saved.keys() - asked.keys()) if whole else []
        if extra:
            raise InputError(f"checkpoint {self.directory}/{step} has an unknown leaf '{extra[0]}': {REMEDY}")


REMEDY = "it was written by another configuration or version; use another --workdir"


def _leaves(tree: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    """Leaf name → (shape, type)."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): (tuple(leaf.shape), np.dtype(leaf.dtype).name)
        for path, leaf in flat
        if getattr(leaf, "dtype", None) is not None
    }
