"""Starting a stage from the averaged parameters of another model instead of from random ones."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from mdiff_jax.config import STAGES, Params, from_plain_dict
from mdiff_jax.inference import base_model, exported, loading
from mdiff_jax.inference.loading import read_encoder_decay, read_finished_meta, restore_stage
from mdiff_jax.runtime import parallel
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir
from mdiff_jax.training.train_state import TrainState
from mdiff_jax.validation import BASE_MODEL, NO_MODEL

USER_TABLE = "user/embedding"  # a row for each user, the null user's last
SHOWN = 3  # names of parameters in a line


def make_first_state(init: Callable[[], TrainState], source: str, name: str, log: Callable[[str], None]) -> TrainState:
    """Returns the state that `init` makes; with a `source`, a value of the key `init_from`, its averages stand in place
    of random parameters.

    Parameters of another shape stay fresh, and so do those of users, who are other people; a line says which.
    InputError where there is no such stage, or none of its parameters fit. The first process reads, the others are sent
    the result.
    """
    state = init()
    if source == NO_MODEL:
        return state
    params = jax.device_get(state.params)

    def read() -> None:
        nonlocal params
        params, line = take_over(params, source, name)
        log(line)

    parallel.broadcast_from_first(read)
    params = parallel.broadcast_arrays(params)
    # on the host, where a copy is no program to compile; each its own, since steps give memory away
    averages = {decay: jax.tree.map(np.array, params) for decay in state.ema}
    return dataclasses.replace(state, params=jax.tree.map(np.array, params), ema=averages)


def describe_first_state(shapes: TrainState, source: str, name: str) -> str:
    """The line that `make_first_state` would log, from shapes alone; '' without a source."""
    if source == NO_MODEL:
        return ""
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes.params)
    return parallel.broadcast_from_first(lambda: take_over(zeros, source, name)[1])


def take_over(params: Params, source: str, name: str) -> tuple[Params, str]:
    """Returns the parameters of a stage with those of `source` in place where they fit, and the line that says which;
    InputError where none do.
    """
    count = len(jax.tree.leaves(params))
    params, left = merge_parameters(params, read_averages(source, name))
    if len(left) == count:
        raise InputError(
            f"init_from: stage {name} of '{source}' has no parameter of the same shape: give another one, or none"
        )
    return params, describe_start(name, source, count, left)


def find_source(source: str) -> Workdir:
    """The folder that a value of the key `init_from` stands for."""
    return Workdir(base_model.FOLDER if source == BASE_MODEL else source)


def check_source(source: str, size: tuple[int, int]) -> str:
    """Returns a line if `source` knows windows of other rows than `size` (rows, columns) has, else ''.

    InputError unless it is no model, or an exported one, or a working directory whose stages are all finished.
    """
    if source == NO_MODEL:
        return ""
    workdir = find_source(source)
    if workdir.weights.exists():
        loading.load(workdir.root)
    else:
        for name in STAGES:
            read_finished_meta(workdir, name)
    known, (rows, columns) = from_plain_dict(workdir.read_config()).data.image_size[0], size
    if known == rows:
        return ""
    say = f"give --config.data.image_size='({known}, {columns})' (rows are resized), or --config.init_from=none"
    return f"init_from: {source} knows windows of {known} rows, these have {rows}: {say}"


def read_averages(source: str, name: str) -> Params:
    """The averaged parameters of a finished stage: those that its working directory uses."""
    workdir = find_source(source)
    if workdir.weights.exists():
        return loading.load(workdir.root).params[name]
    config = from_plain_dict(workdir.read_config())
    decay = config.sample.ema_decay
    if name == "encoder":
        decay = read_encoder_decay(workdir, read_finished_meta(workdir, "decoder"))
    return jax.device_get(restore_stage(workdir, config, name, decay).params)


def merge_parameters(fresh: Params, found: Params) -> tuple[Params, list[str]]:
    """Takes over what fits; returns all parameters, and the names of those that stay fresh."""
    known, left = exported.name_leaves(found), []

    def choose(path: tuple, value: np.ndarray) -> np.ndarray:
        name = exported.name_leaf(path)
        other = known.get(name)
        if other is not None and other.shape == value.shape and name != USER_TABLE and "classifier" not in name:
            return other
        left.append(name)
        if name == USER_TABLE and other is not None and other.shape[1] == value.shape[1]:
            return np.concatenate([value[:-1], other[-1:]])
        return value

    return jax.tree_util.tree_map_with_path(choose, fresh), left


def describe_start(name: str, source: str, count: int, left: list[str]) -> str:
    """The line that says what was taken over."""
    names = ", ".join(left[:SHOWN]) + (f" and {len(left) - SHOWN} more" if len(left) > SHOWN else "")
    return f"{name}: {count - len(left)} of {count} parameters from {source}" + (f"; fresh: {names}" if left else "")
