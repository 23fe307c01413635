"""Compiled programs that several trainings of a file share."""

import functools
import json

import pytest

from mdiff_jax.config import to_plain_dict
from mdiff_jax.runtime import parallel
from mdiff_jax.training import stages

MODEL_KEYS = ("seed", "precision", "remat", "attention", "ema_decays", "people")


@pytest.fixture(scope="module")
def programs_shared():
    """Steps and losses are traced and compiled once for what they depend on, however many trainings use them."""
    made = {}

    def share(make):
        @functools.wraps(make)
        def shared(config, name, *rest):
            values = to_plain_dict(config)
            own = {k: v for k, v in values[name].items() if k != "epochs"}
            depends = [values[k] for k in MODEL_KEYS]
            depends += [own, values["data"]["image_size"], values["encoder"]["embedding_dim"]]
            key = json.dumps([make.__name__, name, rest, depends])
            if key not in made:
                made[key] = make(config, name, *rest)
            return made[key]

        return shared

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "compile_train_step", share(stages.compile_train_step))
        patch.setattr(stages, "make_parameter_loss", share(stages.make_parameter_loss))
        patch.setattr(parallel, "compile_loss", functools.cache(parallel.compile_loss))
        yield
