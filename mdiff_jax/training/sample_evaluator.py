"""An evaluator for training: real validation windows beside decodings of their embeddings, and who a judge takes them
for. The same windows and the same noise each time, so that two sheets differ by training alone.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from mdiff_jax.data import builders, export, render
from mdiff_jax.inference import denoisers
from mdiff_jax.metrics import identity
from mdiff_jax.runtime import parallel, prng

PER_USER = 4

SampleEvaluator = Callable[[Any, Path], tuple[np.ndarray, dict[str, float]]]  # (parameters, file) → pixels, figures


def make_sample_evaluator(
    config: ConfigDict, dataset: builders.Dataset, rows: dict[str, np.ndarray], table: np.ndarray
) -> SampleEvaluator:
    """Draws up to four validation windows of each user; `table` holds the embedding of every window."""
    ids = dataset.user_ids
    mine = {u: rows["validation"][ids[rows["validation"]] == u][:PER_USER] for u in np.unique(ids[rows["validation"]])}
    shown = np.concatenate(list(mine.values()))
    names = [dataset.users[u] for u in ids[shown]]
    batch = {
        "embedding": table[shown],
        "user": ids[shown],
        "decoder_key": prng.sample_keys(config.seed, "sheet", names, np.arange(len(shown), dtype=np.int32)),
    }
    decode = parallel.compile_map(denoisers.make_embedding_decoder(config, len(dataset.users)))
    judge = identity.fit_linear(dataset.load(rows["train"]).mean(-1), ids[rows["train"]], seed=0)
    colormap = dataset.metadata["colormap"]

    def draw(params: Any, path: Path) -> tuple[np.ndarray, dict[str, float]]:
        drawn, real = decode(params, batch), dataset.load(shown)
        images = {
            dataset.users[u]: tuple(export.to_image(x[ids[shown] == u], colormap) for x in (real, drawn)) for u in mine
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        render.plot_grid(path, images, dataset.metadata["zero_doppler"])
        figures = {"sheet_identity": identity.score_identity(judge, drawn.mean(-1), ids[shown])["accuracy"]}
        return np.asarray(Image.open(path).convert("RGB")), figures

    return draw
