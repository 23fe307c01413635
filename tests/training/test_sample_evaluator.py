"""Sheets drawn during training show what samples will be."""

import dataclasses

import numpy as np

from mdiff_jax.metrics import identity
from mdiff_jax.training import sample_evaluator
from mdiff_jax.training.training_data import Embeddings

LOWEST = 0.3


def test_nothing_is_drawn_in_the_gap_that_recordings_leave_above_the_floor(trained, tmp_path, monkeypatch):
    file_format = trained.dataset.metadata["file_format"] | {"lowest_level": LOWEST}
    dataset = dataclasses.replace(trained.dataset, metadata=trained.dataset.metadata | {"file_format": file_format})
    rows = {name: dataset.rows(files) for name, files in trained.split.items()}
    table = np.random.default_rng(0).normal(size=(len(dataset), trained.config.encoder.embedding_dim))
    embeddings = Embeddings(table.astype(np.float32), trained.constants, "", 0.999)
    seen, score = [], identity.score_identity
    monkeypatch.setattr(identity, "score_identity", lambda judge, x, users: seen.append(x) or score(judge, x, users))
    evaluate = sample_evaluator.make_sample_evaluator(trained.config, "decoder", dataset, rows, embeddings)
    evaluate(trained.params["decoder"], tmp_path / "sheet.png")
    levels = (seen[0] + 1) / 2
    assert (levels > 0).any() and not ((levels > 1e-6) & (levels < LOWEST - 1e-6)).any()
