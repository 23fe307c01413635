"""An evaluator for training: real validation windows beside decodings of their embeddings, and how often a judge
recognizes their user in these. The same windows and the same noise each time: two sheets differ by training alone.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from mdiff_jax.config import Params
from mdiff_jax.data import builders, export, render
from mdiff_jax.inference import denoisers, pipeline
from mdiff_jax.inference.drawn_windows import (
    DrawnWindows,
    close_gap,
    load_comparison_windows,
    to_comparison_grid,
    to_image_axes,
)
from mdiff_jax.metrics import identity
from mdiff_jax.runtime import parallel, prng
from mdiff_jax.training.training_data import Embeddings
from mdiff_jax.validation import DISTILL

PER_USER = 4

SampleEvaluator = Callable[[Params, Path], tuple[np.ndarray, dict[str, float]]]  # (parameters, file) → pixels, figures


def make_sample_evaluator(
    config: ConfigDict, name: str, dataset: builders.Dataset, rows: dict[str, np.ndarray], embeddings: Embeddings
) -> SampleEvaluator:
    """An evaluator of the decoder or its student, by up to four validation windows of each user."""
    ids = dataset.user_ids
    mine = {u: rows["validation"][ids[rows["validation"]] == u][:PER_USER] for u in np.unique(ids[rows["validation"]])}
    shown = np.concatenate(list(mine.values()))
    names = [dataset.users[u] for u in ids[shown]]
    batch = {
        "embedding": embeddings.table[shown],
        "user": ids[shown],
        "decoder_key": prng.sample_keys(config.seed, "sheet", names, np.arange(len(shown), dtype=np.int32)),
    }
    if "people" in embeddings.constants:
        batch["person"] = embeddings.constants["people"][ids[shown]]
    make_sampler = denoisers.student_sampler if name == DISTILL else denoisers.decoder_sampler
    decode = parallel.compile_map(pipeline.make_embedding_decoder(make_sampler(config, len(dataset.users))))
    metadata = dataset.metadata

    def compared(x: np.ndarray, frames: np.ndarray) -> np.ndarray:
        return to_comparison_grid(DrawnWindows(x.mean(-1), frames), metadata)

    def pictures(x: np.ndarray, frames: np.ndarray) -> np.ndarray:
        on_axes = to_image_axes(DrawnWindows(x if x.shape[-1] == 3 else x[..., 0], frames), metadata)
        return export.to_image(on_axes if x.shape[-1] == 3 else on_axes[..., None], metadata["colormap"])

    train = rows["train"]
    judge = identity.fit_linear(load_comparison_windows(dataset, train), ids[train], seed=0)

    def evaluate(params: Params, path: Path) -> tuple[np.ndarray, dict[str, float]]:
        drawn = decode({"decoder": {"params": params}}, batch)
        generated, frames = close_gap(drawn["spectrogram"], metadata, config.decoder.floor_margin), drawn["frames"]
        pairs = [pictures(dataset.load(shown), dataset.frames[shown]), pictures(generated, frames)]
        images = {dataset.users[u]: tuple(x[ids[shown] == u] for x in pairs) for u in mine}
        path.parent.mkdir(parents=True, exist_ok=True)
        render.plot_grid(path, images, dataset.metadata["zero_doppler"])
        figures = {
            "sheet_identity": identity.score_identity(judge, compared(generated, frames), ids[shown])["accuracy"]
        }
        return np.asarray(Image.open(path).convert("RGB")), figures

    return evaluate
