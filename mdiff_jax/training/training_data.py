"""The data of training: the prepared data set and its split, the encoder's embeddings, and batches of both."""

import contextlib
import functools
import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from mdiff_jax.config import Params, PeopleSettings, condition_size, with_settings
from mdiff_jax.data import builders, loader, splits
from mdiff_jax.inference import denoisers, people
from mdiff_jax.inference.loading import read_known_split
from mdiff_jax.inference.model import Model
from mdiff_jax.runtime import parallel
from mdiff_jax.runtime.checkpointing import CheckpointReader, DamageError
from mdiff_jax.runtime.config_files import load_config
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.metric_writer import RunLog
from mdiff_jax.runtime.progress import Bar
from mdiff_jax.runtime.workdir import Workdir, atomic_write, read_npz, refuse_damage
from mdiff_jax.training import references
from mdiff_jax.validation import DISTILL

FIELDS = {  # of a batch
    "encoder": ("spectrogram", "frames"),
    "prior": ("embedding",),
    "decoder": ("spectrogram", "frames", "embedding"),
}
FIELDS[DISTILL] = FIELDS["decoder"]


class PreparedData(NamedTuple):
    dataset: builders.Dataset
    rows: dict[str, np.ndarray]  # 'train', 'validation', 'test' → positions in the data set


class Embeddings(NamedTuple):
    """The frozen encoder's embedding of every window, standardised: what prior and decoder are trained on."""

    table: np.ndarray  # (windows, D), with native frames (windows, D + 1): their number is the last
    constants: dict[str, np.ndarray]  # mean and deviation of the training windows' embeddings; users by references
    fingerprint: str  # of encoder and data
    decay: float  # of the encoder's average that gave them


NO_EMBEDDINGS = Embeddings(np.zeros((0, 0)), {}, "", 0.0)


def prepare_data(config: ConfigDict, workdir: Workdir) -> PreparedData:
    """The data set, prepared once below the working directory, and its split."""
    parallel.broadcast_from_first(lambda: write_prepared_data(config, workdir))
    dataset = builders.open_prepared(workdir.data)
    split = read_known_split(workdir, dataset)
    return PreparedData(dataset, {name: dataset.rows(split[name]) for name in splits.PARTS})


def load_recordings(path: Path, workdir: Workdir) -> Model:
    """Prepares a folder of recordings as the default configuration says; returns a model of them without networks."""
    config = with_settings(load_config("default"), {"data.path": str(path)})
    workdir.root.mkdir(parents=True, exist_ok=True)
    dataset = prepare_data(config, workdir).dataset
    split = read_known_split(workdir, dataset)
    return Model(config, dataset.users, {}, {}, {}, {}, dataset, split, step=0, prior_step=0)


def write_prepared_data(config: ConfigDict, workdir: Workdir) -> None:
    """Writes data set, split, and what is mixed in, where they do not exist yet."""
    c = config.data

    def prepare(kind: str, path: str, folder: Path, native: bool) -> builders.Dataset:
        return builders.prepare_dataset(
            kind=kind,
            path=path,
            image_size=tuple(c.image_size),
            cache_dir=folder,
            channels=c.channels,
            colormap_name=c.colormap,
            native_frames=native,
            stft=dict(c.stft),
            walkers=dict(c.walkers),
            log=RunLog(workdir, True).log,
        )

    known = workdir.data.exists()
    dataset = prepare(c.kind, c.path, workdir.data, c.native_frames)
    if not workdir.split.is_file():
        try:
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
        except InputError:
            if not known:  # so that the same command takes the recordings that it asks for
                shutil.rmtree(workdir.data)
            raise
        splits.write_split(workdir.split, split)


def embed_dataset(
    config: ConfigDict, workdir: Workdir, data: PreparedData, averages: dict[str, Params], warn: Callable[[str], None]
) -> Embeddings:
    """Embeddings of every window by one of the encoder's `averages`, {decay: parameters}.

    That one is fixed once: it is the one that the working directory has embeddings, a prior or a decoder of, otherwise
    the one of `sample.ema_decay`. Embeddings in the working directory are taken where they were made by it from this
    data; those that are damaged are made anew, with one line to `warn`.
    """
    fingerprints = {_fingerprint(data, params): float(decay) for decay, params in averages.items()}
    shapes = (len(data.dataset), condition_size(config)), (config.encoder.embedding_dim,)
    kept = read_embeddings(workdir.embeddings, shapes, fingerprints, warn)
    if kept:
        return add_people(config, data, kept)
    known = [
        found for found in map(functools.partial(trained_on, workdir), ("decoder", "prior")) if found in fingerprints
    ]
    decay = fingerprints[known[0]] if known else config.sample.ema_decay
    params = averages[str(decay)]
    function = parallel.compile_map(denoisers.make_encoder(config))
    chunks = []
    starts = range(0, len(data.dataset), 64)
    for start in Bar(starts, desc="embedding", unit="batch", leave=False, delay=1, disable=not parallel.is_first()):
        rows = np.arange(start, start + 64) % len(data.dataset)
        chunks.append(function(params, {"spectrogram": data.dataset.load(rows), "frames": data.dataset.frames[rows]}))
    z = np.concatenate(chunks)[: len(data.dataset)]
    mean = z[data.rows["train"]].mean(0)
    deviation = np.sqrt(((z[data.rows["train"]] - mean) ** 2).mean())
    table, constants = (z - mean) / deviation, {"embedding_mean": mean, "embedding_deviation": np.asarray(deviation)}
    if config.data.native_frames:
        table = denoisers.append_frames(table, data.dataset.frames, config.data.image_size[1])
    embeddings = Embeddings(table, constants, _fingerprint(data, params), decay)
    if parallel.is_first():
        with atomic_write(workdir.embeddings) as temporary:
            np.savez(temporary, embedding=table, fingerprint=embeddings.fingerprint, encoder_decay=decay, **constants)
    return add_people(config, data, embeddings)


def add_people(config: ConfigDict, data: PreparedData, embeddings: Embeddings) -> Embeddings:
    """With `people.references` what networks are told of each user once they are trained, among the constants."""
    if not config.people.references:
        return embeddings
    rows = people.rows_of_users(data.dataset.users, data.dataset.user_ids, data.rows["train"])
    users = people.describe_users(embeddings.table, rows, config.people.max_references)
    return embeddings._replace(constants=embeddings.constants | {"people": users})


def _fingerprint(data: PreparedData, params: Params) -> str:
    """Digest of the data, its training part and the encoder."""
    digest = hashlib.sha256(data.dataset.fingerprint.encode() + data.rows["train"].tobytes())
    for leaf in jax.tree.leaves(jax.device_get(params)):
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()[:16]


def read_embeddings(
    path: Path,
    shapes: tuple[tuple[int, int], tuple[int]],
    fingerprints: dict[str, float],
    warn: Callable[[str], None],
) -> Embeddings | None:
    """Embeddings kept in a file, of these shapes (of all, and of one by the encoder), or None where there are none of
    these fingerprints, {fingerprint: decay of the encoder}.
    """
    if not path.exists():
        return None
    shape, single = shapes
    try:
        kept = read_npz(path, "made anew", most_bytes=2**16 + 16 * (shape[0] + 1) * shape[1])
        with refuse_damage(path, "made anew"):
            if (fingerprint := str(kept["fingerprint"])) not in fingerprints:
                return None
            constants = {name: kept[name] for name in ("embedding_mean", "embedding_deviation")}
            if (kept["embedding"].shape, *(x.shape for x in constants.values())) != (shape, single, ()):
                raise ValueError("its arrays have other shapes")
            return Embeddings(kept["embedding"], constants, fingerprint, fingerprints[fingerprint])
    except InputError as error:
        warn(str(error))
        return None


def trained_on(workdir: Workdir, name: str) -> str | None:
    """Fingerprint of the embeddings that a stage was trained on; None where nothing says it."""
    checkpoints = CheckpointReader(workdir.checkpoints(name))
    with contextlib.suppress(DamageError):
        if (step := checkpoints.latest()) is not None:
            return str(checkpoints.meta(step).get("depends"))
    return None


def make_batches(
    config: ConfigDict, name: str, data: PreparedData, embeddings: Embeddings, part: str, start_step: int = 0
) -> Iterator[dict[str, np.ndarray]]:
    """This process's share of the endless batches of a stage from a part of the split, from `start_step` on.

    Users of the training part are balanced where the configuration says so. With `people.references` prior and decoder
    are told who each user is, as 'person' (B, P).
    """
    settings, draws = PeopleSettings(**config.people), {}
    if settings.references and name != "encoder":
        pool = references.make_pool(
            data.dataset, data.rows["train"], embeddings.table, gap=config.data.gap, settings=settings, seed=config.seed
        )
        draws = {"person": functools.partial(references.draw_people, pool)}
    return loader.train_batches(
        data.dataset,
        data.rows[part],
        batch_size=config[name].batch_size,
        seed=config.seed,
        start_step=start_step,
        balanced=part == "train" and config.data.balanced,
        fields=FIELDS[name],
        tables={"embedding": embeddings.table, "frames": data.dataset.frames},
        draws=draws,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
