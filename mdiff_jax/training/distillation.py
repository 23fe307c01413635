"""The stage `distill`: its teacher, the trained decoder as windows are drawn from it, and its student's first state."""

import dataclasses
import hashlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mdiff_jax.config import Params, parameter_shapes
from mdiff_jax.inference import denoisers, loading
from mdiff_jax.inference.pipeline import WEAKER
from mdiff_jax.runtime import parallel
from mdiff_jax.runtime.workdir import Workdir
from mdiff_jax.training.train_state import Frozen, TrainState
from mdiff_jax.validation import EARLY


class Teacher(NamedTuple):
    """What the loss of the student takes beside the student's parameters, and which teacher that is."""

    frozen: Frozen  # 'teacher': what the decoder is applied to
    fingerprint: str  # of it and of the settings that it teaches with
    steps: int  # that the decoder was trained for


def teacher_shapes(config: ConfigDict, num_users: int) -> Frozen:
    """Shapes of the teacher's parameters: the decoder's, and those of the weaker one that guides it."""
    shapes = parameter_shapes(config, "decoder", num_users)
    return {"teacher": {"params": shapes} | ({WEAKER: shapes} if config.sample.guide == EARLY else {})}


def read_teacher(config: ConfigDict, workdir: Workdir, num_users: int) -> Teacher:
    """The decoder's averages that windows are drawn by, on the devices. The first process reads, the others are sent
    the result.
    """
    frozen = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), teacher_shapes(config, num_users))

    def read() -> int:
        decay, variables = config.sample.ema_decay, frozen["teacher"]
        variables["params"] = loading.restore_stage(workdir, config, "decoder", decay).params
        if WEAKER in variables:
            variables[WEAKER] = loading.read_weaker(workdir, config)["decoder"]
        return loading.read_finished_meta(workdir, "decoder")["total_steps"]

    steps = parallel.broadcast_from_first(read)
    frozen = parallel.broadcast_arrays(frozen)
    digest = hashlib.sha256(repr(denoisers.taught_settings(config)).encode())
    for leaf in jax.tree.leaves(frozen):
        digest.update(np.ascontiguousarray(leaf).data)
    return Teacher(parallel.replicate(frozen), digest.hexdigest()[:16], steps)


def make_first_student(init: Callable[[], TrainState], frozen: Frozen) -> TrainState:
    """Returns the state that `init` makes, with the teacher's parameters: without guidance the two estimate alike."""
    state = init()
    start: Params = jax.device_get(dict(state.params) | dict(frozen["teacher"]["params"]))
    averages = {decay: jax.tree.map(jnp.array, start) for decay in state.ema}
    return dataclasses.replace(state, params=jax.tree.map(jnp.array, start), ema=averages)
