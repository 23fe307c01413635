"""A finished training, and compiled programs that several trainings share."""

import contextlib
import fcntl
import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_run import get_config

from mdiff_jax.config import to_plain_dict
from mdiff_jax.runtime import parallel
from mdiff_jax.training import stages, train_loop

MODEL_KEYS = ("seed", "precision", "remat", "attention", "ema_decays", "people")
PROGRAMS = {}


@contextlib.contextmanager
def sharing_programs() -> Iterator[None]:
    """Inside, steps and losses are traced and compiled once for what they depend on, however many trainings use
    them.
    """

    def share(make):
        @functools.wraps(make)
        def shared(config, name, *rest):
            values = to_plain_dict(config)
            own = {k: v for k, v in values[name].items() if k != "epochs"}
            depends = [values[k] for k in MODEL_KEYS]
            depends += [own, values["data"]["image_size"], values["encoder"]["embedding_dim"]]
            key = json.dumps([make.__name__, name, rest, depends])
            if key not in PROGRAMS:
                PROGRAMS[key] = make(config, name, *rest)
            return PROGRAMS[key]

        return shared

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "compile_train_step", share(stages.compile_train_step))
        patch.setattr(stages, "make_parameter_loss", share(stages.make_parameter_loss))
        patch.setattr(parallel, "compile_loss", PROGRAMS.setdefault("losses", functools.cache(parallel.compile_loss)))
        yield


@pytest.fixture(scope="module")
def programs_shared():
    with sharing_programs():
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A working directory trained as `small_run` has it, by the first worker that asks; not to be written to."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    with open(shared / "finished.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "finished").exists():
            with sharing_programs():
                train_loop.train(get_config(), shared / "training")
            (shared / "training").rename(shared / "finished")
    return shared / "finished"
