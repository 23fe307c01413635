"""People as networks know them with `people.references`: by the embeddings of some of their windows, pooled.

Training draws other windows for each example (`training.references`). Afterwards a trained user is known by windows
spread over all that it was trained on, and a new one by those that it is enrolled from.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from mdiff_jax.inference.model import Model
from mdiff_jax.inference.user_adapters import UserAdapter, modulation_shapes, row_shape
from mdiff_jax.runtime.errors import InputError

USUAL_COUNT = 10  # of references, at which their number is told as 0


def pool_references(
    z: Float[np.ndarray, "batch references dim"], known: Bool[np.ndarray, "batch references"]
) -> Float[np.ndarray, "batch person"]:
    """Returns the mean of each person's `known` embeddings, the deviation in each dimension (0 of one), and the
    logarithm of their number by USUAL_COUNT, joined: (B, 2 D + 1) float32.
    """
    count = known.sum(axis=1, keepdims=True)
    weights = (known / count).astype(np.float32)[:, None]
    mean = weights @ z
    deviation = np.sqrt(weights @ (z - mean) ** 2)
    return np.concatenate([mean[:, 0], deviation[:, 0], np.log(count / USUAL_COUNT)], axis=1).astype(np.float32)


def describe_person(z: Float[np.ndarray, "references dim"]) -> Float[np.ndarray, " person"]:
    """Returns what networks are told of the person with windows of these embeddings."""
    return pool_references(z[None], np.ones((1, len(z)), bool))[0]


def describe_users(
    z: Float[np.ndarray, "windows dim"], rows: Sequence[Int[np.ndarray, " _"]], most: int
) -> Float[np.ndarray, "users person"]:
    """Returns the same of each user, by at most `most` of the user's `rows` of `z`, spread evenly from first to last.

    Not by all rows: a mean of more windows than networks were ever told of is a number that they have not seen.
    """
    return np.stack([describe_person(z[spread_evenly(mine, most)]) for mine in rows])


def spread_evenly(rows: Int[np.ndarray, " n"], most: int) -> Int[np.ndarray, " m"]:
    """Returns at most so many of the rows, from first to last."""
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)]


def rows_of_users(
    users: Sequence[str], user_ids: Int[np.ndarray, " windows"], rows: Int[np.ndarray, " n"]
) -> list[Int[np.ndarray, " _"]]:
    """Returns each user's training windows, in order of time, among `rows`; InputError for a user without any."""
    mine = [np.sort(rows[user_ids[rows] == i]) for i in range(len(users))]
    if strange := next((user for user, own in zip(users, mine, strict=True) if not len(own)), None):
        raise InputError(f"user '{strange}' has no training window to be known by: restore split.json")
    return mine


def person_adapter(
    model: Model, windows: Float[np.ndarray, "windows freq time channels"], frames: Int[np.ndarray, " windows"]
) -> UserAdapter:
    """Returns a new person, known by these windows of so many frames alone: there is nothing to fit."""
    person, shown = describe_person(model.embed(windows, frames)), slice(model.config.summary.grid_columns)
    prior, decoder = (np.zeros(row_shape(model.params[name]), np.float32) for name in ("prior", "decoder"))
    blocks = {name: np.zeros(shape, np.float32) for name, shape in modulation_shapes(model.params["decoder"]).items()}
    steps = (model.prior_step, model.step)
    return UserAdapter(prior, decoder, blocks, windows[shown], frames[shown], steps, person)
