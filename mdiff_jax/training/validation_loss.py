"""The loss of a stage on the validation windows, at each checkpoint."""

import itertools
from collections.abc import Callable

import jax
import numpy as np
from ml_collections import ConfigDict

from mdiff_jax.config import Params
from mdiff_jax.runtime import parallel, prng
from mdiff_jax.training import stages
from mdiff_jax.training.train_state import NOTHING_FROZEN, Frozen
from mdiff_jax.training.training_data import Embeddings, PreparedData, make_batches


def make_validation(
    config: ConfigDict, data: PreparedData, name: str, embeddings: Embeddings, frozen: Frozen = NOTHING_FROZEN
) -> Callable[[Params], dict[str, float]]:
    """params → the stage's loss and other metrics on the validation windows: each time with the same noise."""
    rows = data.rows["validation"]
    if not config.validation_passes or not len(rows):
        return lambda params: {}
    function = parallel.compile_loss(stages.make_parameter_loss(config, name, len(data.dataset.users)))
    key = prng.purpose_key(config.seed, "eval", name)
    count = -(-config.validation_passes * len(rows) // config[name].batch_size)

    def validate_params(params: Params) -> dict[str, float]:
        batches = make_batches(config, name, data, embeddings, "validation")
        pieces = parallel.prefetch(itertools.islice(batches, count))
        metrics = [function(params, batch, jax.random.fold_in(key, i), frozen) for i, batch in enumerate(pieces)]
        return jax.tree.map(lambda *x: float(np.mean(x)), *jax.device_get(metrics))

    return validate_params
