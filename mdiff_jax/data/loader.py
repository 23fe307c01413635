"""Batches of training examples by Grain: a pure function of seed and step, so that a run can start at any step."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import grain
import numpy as np
from jaxtyping import Int

from mdiff_jax.data.builders import Dataset

Draw = Callable[[Int[np.ndarray, " batch"], Int[np.ndarray, " batch"]], np.ndarray]  # (rows, examples) → values

CACHE_BYTES = 2**30  # data sets up to this size are decoded once and kept


def train_batches(
    dataset: Dataset,
    rows: Int[np.ndarray, " n"],
    *,
    batch_size: int,
    seed: int,
    start_step: int,
    balanced: bool,
    fields: Sequence[str],
    tables: dict[str, np.ndarray],
    draws: Mapping[str, Draw] = MappingProxyType({}),
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[dict[str, np.ndarray]]:
    """Yields batches {'user', 'example', *fields} without end, from step `start_step` on.

    `fields` are 'spectrogram' (B, F, T, C), or names of `tables`, arrays with one row per window of the data set, such
    as its `frames`. `draws` are further fields, functions of rows of the data set and of global indices.
    'example' is the global index, step times `batch_size` plus the place in the global batch; each process gets every
    `process_count`-th of a batch. `balanced` makes users equally frequent.
    """
    fetch = make_fetcher(dataset, rows, fields, tables)
    order = balanced_rows(dataset.user_ids[rows], seed) if balanced else np.arange(len(rows))
    places = grain.MapDataset.source(order).seed(seed).shuffle().repeat()
    numbered = places.map_with_index(lambda i, place: (np.int32(i), place)).batch(batch_size)[start_step:]
    mine = numbered.map(lambda batch: tuple(column[process_index::process_count] for column in batch))

    def read(batch: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
        example, places = batch
        drawn = {name: draw(rows[places], example) for name, draw in draws.items()}
        return {"example": example, **fetch(places), **drawn}

    return iter(mine.map(read).to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)))


def make_fetcher(
    dataset: Dataset, rows: np.ndarray, fields: Sequence[str], tables: dict[str, np.ndarray]
) -> Callable[[Int[np.ndarray, " batch"]], dict[str, np.ndarray]]:
    """Returns a function from places among `rows` to their examples."""
    columns = {name: tables[name][rows] for name in fields if name != "spectrogram"}
    columns["user"] = dataset.user_ids[rows]
    if "spectrogram" not in fields:
        return lambda places: {name: column[places] for name, column in columns.items()}
    size = len(rows) * int(np.prod(dataset.image_size)) * 4 * dataset.load(rows[:1]).shape[-1]
    if size <= CACHE_BYTES:
        columns["spectrogram"] = dataset.load(rows)
        return lambda places: {name: column[places] for name, column in columns.items()}
    return lambda places: {
        "spectrogram": dataset.load(rows[places]),
        **{name: column[places] for name, column in columns.items()},
    }


def balanced_rows(user_ids: np.ndarray, seed: int) -> np.ndarray:
    """Places of all windows, with random repeats so that each user has as many as the one with the most."""
    rng = np.random.default_rng(seed)
    most = np.bincount(user_ids).max()
    mine = [np.flatnonzero(user_ids == user) for user in np.unique(user_ids)]
    return np.concatenate([np.concatenate([m, rng.choice(m, most - len(m))]) for m in mine])
