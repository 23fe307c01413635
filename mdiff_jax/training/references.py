"""The windows that people are known by in training: drawn anew for each example, from other recordings than its own.

What is drawn depends on the seed and on the example's global index alone.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from mdiff_jax.config import PeopleSettings
from mdiff_jax.data import splits
from mdiff_jax.data.builders import Dataset
from mdiff_jax.inference import people
from mdiff_jax.runtime import prng


class ReferencePool(NamedTuple):
    """The training windows of all users, and what tells which of them a window can have as references."""

    embeddings: Float[np.ndarray, "windows dim"]  # of the whole data set, as the following three are
    user_ids: Int[np.ndarray, " windows"]
    recordings: Int[np.ndarray, " windows"]
    places: Int[np.ndarray, " windows"]  # in time: `gap` or less apart, two windows of a user may share pixels
    train: Int[np.ndarray, "users most"]  # training windows of each user; behind the last -1
    gap: int
    fewest: int  # references, where the user has so many
    most: int
    seed: int


def make_pool(
    dataset: Dataset,
    rows: Int[np.ndarray, " n"],
    embeddings: Float[np.ndarray, "windows dim"],
    *,
    gap: int,
    settings: PeopleSettings,
    seed: int,
) -> ReferencePool:
    """Returns the pool of the training windows `rows`; InputError for a user that has none."""
    mine = people.rows_of_users(dataset.users, dataset.user_ids, rows)
    train = np.full((len(mine), max(map(len, mine))), -1)
    for row, own in zip(train, mine, strict=True):
        row[: len(own)] = own
    recordings = np.array(dataset.recordings)
    places = splits.time_positions(recordings, dataset.indices, gap)
    alone = -(gap + 1) * np.arange(1, len(places) + 1)  # of a window whose time is not known
    return ReferencePool(
        embeddings,
        dataset.user_ids,
        np.unique(recordings, return_inverse=True)[1],
        np.where(dataset.indices < 0, alone, places),
        train,
        gap,
        settings.min_references,
        settings.max_references,
        seed,
    )


def draw_people(
    pool: ReferencePool, rows: Int[np.ndarray, " batch"], example: Int[np.ndarray, " batch"]
) -> Float[np.ndarray, "batch person"]:
    """Returns what networks are told of the users of the windows `rows`."""
    references, known = draw_references(pool, rows, example)
    return people.pool_references(pool.embeddings[references], known)


def draw_references(
    pool: ReferencePool, rows: Int[np.ndarray, " batch"], example: Int[np.ndarray, " batch"]
) -> tuple[Int[np.ndarray, "batch references"], Bool[np.ndarray, "batch references"]]:
    """Draws references for the windows `rows`, without replacement; returns them and which of them count.

    Their number is uniform from `fewest` to `most`, or as many as there are. They are windows of the same user from
    other recordings; where there are none, ones that share no pixels with the window; else any but it; else itself.
    """
    others = pool.train[pool.user_ids[rows]]
    allowed = others >= 0
    other = allowed & (others != rows[:, None])
    apart = allowed & (np.abs(pool.places[others] - pool.places[rows][:, None]) > pool.gap)
    elsewhere = apart & (pool.recordings[others] != pool.recordings[rows][:, None])
    for better in (other, apart, elsewhere):
        allowed = np.where(better.any(axis=1, keepdims=True), better, allowed)
    order = np.where(allowed, prng.uniform_numbers(pool.seed, example[:, None], others), 2.0)
    chosen = np.take_along_axis(others, order.argsort(axis=1)[:, : pool.most], axis=1)
    wanted = pool.fewest + prng.uniform_numbers(pool.seed, example) * (pool.most - pool.fewest + 1)
    count = np.minimum(wanted.astype(int), allowed.sum(axis=1))
    return chosen, np.arange(chosen.shape[1]) < count[:, None]
