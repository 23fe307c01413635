"""The data of training: the prepared data set and its split, the encoder's embeddings, and batches of both."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from mdiff_jax.config import Params
from mdiff_jax.data import builders, loader, splits
from mdiff_jax.inference import denoisers
from mdiff_jax.runtime import parallel
from mdiff_jax.runtime.metric_writer import RunLog
from mdiff_jax.runtime.workdir import Workdir, atomic_write

FIELDS = {"encoder": ("spectrogram",), "prior": ("embedding",), "decoder": ("spectrogram", "embedding")}  # of a batch


class PreparedData(NamedTuple):
    dataset: builders.Dataset
    rows: dict[str, np.ndarray]  # 'train', 'validation', 'test' → positions in the data set


class Embeddings(NamedTuple):
    """The frozen encoder's embedding of every window, standardised: what prior and decoder are trained on."""

    table: np.ndarray  # (windows, D)
    constants: dict[str, np.ndarray]  # mean and deviation of the training windows' embeddings
    fingerprint: str  # of encoder and data


NO_EMBEDDINGS = Embeddings(np.zeros((0, 0)), {}, "")


def prepare_data(config: ConfigDict, workdir: Workdir) -> PreparedData:
    """The data set, prepared once below the working directory, and its split."""
    parallel.broadcast_from_first(lambda: write_prepared_data(config, workdir))
    dataset, split = builders.open_prepared(workdir.data), splits.read_split(workdir.split)
    return PreparedData(dataset, {name: dataset.rows(split[name]) for name in splits.PARTS})


def write_prepared_data(config: ConfigDict, workdir: Workdir) -> None:
    """Writes data set and split where they do not exist yet."""
    c = config.data
    dataset = builders.prepare_dataset(
        kind=c.kind,
        path=c.path,
        image_size=tuple(c.image_size),
        cache_dir=workdir.data,
        channels=c.channels,
        colormap_name=c.colormap,
        native_frames=c.native_frames,
        stft=dict(c.stft),
        walkers=dict(c.walkers),
        log=RunLog(workdir, True).log,
    )
    if not workdir.split.is_file():
        split = splits.make_split(
            dataset,
            fractions=c.fractions,
            by=c.split_by,
            gap=c.gap,
            seed=config.seed,
            folds=c.folds,
            fold=c.fold,
            windows_per_user=c.windows_per_user or None,
        )
        splits.write_split(workdir.split, split)


def embed_dataset(config: ConfigDict, workdir: Workdir, data: PreparedData, params: Params) -> Embeddings:
    """Embeddings of every window, from the working directory where they were made by this encoder from this data."""
    path = workdir.embeddings
    digest = hashlib.sha256(data.dataset.fingerprint.encode() + data.rows["train"].tobytes())
    for leaf in jax.tree.leaves(jax.device_get(params)):
        digest.update(np.ascontiguousarray(leaf))
    fingerprint = digest.hexdigest()[:16]
    if path.is_file():
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["fingerprint"]) == fingerprint:
                constants = {name: kept[name] for name in ("embedding_mean", "embedding_deviation")}
                return Embeddings(kept["embedding"], constants, fingerprint)
    function = parallel.compile_map(denoisers.make_encoder(config))
    chunks = []
    for start in range(0, len(data.dataset), 64):
        rows = np.arange(start, start + 64) % len(data.dataset)
        chunks.append(function(params, data.dataset.load(rows)))
    z = np.concatenate(chunks)[: len(data.dataset)]
    mean = z[data.rows["train"]].mean(0)
    deviation = np.sqrt(((z[data.rows["train"]] - mean) ** 2).mean())
    table, constants = (z - mean) / deviation, {"embedding_mean": mean, "embedding_deviation": np.asarray(deviation)}
    if parallel.is_first():
        with atomic_write(path) as temporary:
            np.savez(temporary, embedding=table, fingerprint=fingerprint, **constants)
    return Embeddings(table, constants, fingerprint)


def make_batches(
    config: ConfigDict, name: str, data: PreparedData, embeddings: Embeddings, part: str, start_step: int = 0
) -> Iterator[dict[str, np.ndarray]]:
    """This process's share of the endless batches of a stage from a part of the split, from `start_step` on.

    Users of the training part are balanced where the configuration says so.
    """
    return loader.train_batches(
        data.dataset,
        data.rows[part],
        batch_size=config[name].batch_size,
        seed=config.seed,
        start_step=start_step,
        balanced=part == "train" and config.data.balanced,
        fields=FIELDS[name],
        tables={"embedding": embeddings.table},
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
