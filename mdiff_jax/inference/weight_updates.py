"""Updates of a network's weights for one person: of low rank for kernels (LoRA, Hu et al. 2022), in full for vectors.

A kernel of any shape counts as a matrix (inputs, outputs), to which down (inputs, rank) times up (rank, outputs) is
added; scales and biases are vectors. The table of users stays as it is. An update belongs to one person, whose windows
alone are drawn with it, so that nobody else changes.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from mdiff_jax.runtime.array_types import Array, Key
from mdiff_jax.runtime.ranges import RANK

Update = dict[str, Any]  # name of a parameter → {'down', 'up'} of a kernel, {'shift'} of a vector
USERS = "user/"  # begin of the names of parameters that stay


def init_update(params: Mapping[str, Any], rank: int, key: Key) -> Update:
    """Returns an update that changes nothing yet; of rank `rank`, or of the kernel's own where that is lower."""

    own = sorted(updatable(params).items())
    most = rank * max(x.size // x.shape[-1] for _, x in own)
    # the first of many normal numbers are those of a shorter draw, and one length is one program to compile
    draw = jax.jit(lambda i: jax.random.normal(jax.random.fold_in(key, i), (most,)))

    def part(i: int, x: Array) -> dict[str, np.ndarray]:
        if x.ndim < 2:
            return {"shift": np.zeros(x.shape, np.float32)}
        inputs, outputs = x.size // x.shape[-1], x.shape[-1]
        r = min(rank, inputs, outputs)
        down = np.asarray(draw(i))[: inputs * r].reshape(inputs, r) / np.float32(np.sqrt(inputs))
        return {"down": down, "up": np.zeros((r, outputs), np.float32)}

    return {name: part(i, x) for i, (name, x) in enumerate(own)}


def add_update(params: Mapping[str, Any], update: Update) -> Mapping[str, Any]:
    """Returns the parameters with the update added."""

    def added(place: tuple, x: Array) -> Array:
        part = update.get(name_leaf(place), {})
        if "shift" in part:
            return x + part["shift"]
        return x + (part["down"] @ part["up"]).reshape(x.shape) if part else x

    return jax.tree_util.tree_map_with_path(added, params)


def check_update(update: Update, params: Mapping[str, Any]) -> None:
    """Raises ValueError unless the update is one of a network with these parameters."""
    shapes = {name: x.shape for name, x in updatable(params).items()}
    if strange := update.keys() ^ shapes.keys():
        raise ValueError(f"'{min(strange)}' is missing, or not known")
    for name, shape in shapes.items():
        found = {part: x.shape for part, x in update[name].items()}
        rank = found.get("up", (0,))[0]
        expected = {"shift": shape}
        if len(shape) > 1:
            expected = {"down": (int(np.prod(shape[:-1])), rank), "up": (rank, shape[-1])}
        if found != expected or rank > RANK.high:
            raise ValueError(f"the update of '{name}' has the shapes {found}")


def updatable(params: Mapping[str, Any]) -> dict[str, Array]:
    """Returns name → parameter of those that an update changes."""
    return {name: x for name, x in name_leaves(params).items() if not name.startswith(USERS)}


def name_leaves(tree: Mapping[str, Any]) -> dict[str, Any]:
    """{'decoder/stem/kernel': …} for the leaves of a tree."""
    return {name_leaf(place): value for place, value in jax.tree_util.tree_leaves_with_path(tree)}


def name_leaf(place: tuple) -> str:
    """Returns the name of a leaf by its place in the tree."""
    return jax.tree_util.keystr(place, simple=True, separator="/")
