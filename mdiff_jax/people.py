"""People enrolled after training: what the networks know of each is a vector, kept in one file beside the checkpoints.

A network looks users up in a table, a row each and the null user last. A person enrolled is one more row before that.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from mdiff_jax.errors import InputError
from mdiff_jax.types import Array
from mdiff_jax.workdir import whole


class Person(NamedTuple):
    """One file of WORKDIR/enrolled."""

    prior: Float[np.ndarray, " width"]  # row of the prior's table
    decoder: Float[np.ndarray, " cond_width"]  # row of the decoder's table; empty where it is told no users
    windows: Float[np.ndarray, "windows freq time channels"]  # given ones, to be shown beside generated ones
    steps: tuple[int, int]  # of the checkpoints of prior and decoder that the rows belong to


def write(path: Path, person: Person) -> None:
    """Whole or not at all."""
    with whole(path) as temporary:
        np.savez_compressed(temporary, **person._replace(windows=np.float16(person.windows))._asdict())


def read(path: Path) -> Person:
    """InputError if it is not what `write` wrote."""
    try:
        with np.load(path, allow_pickle=False) as file:
            values = {name: file[name] for name in Person._fields}
        steps = tuple(map(int, values.pop("steps")))
        return Person(**{name: x.astype(np.float32) for name, x in values.items()}, steps=steps)
    except (OSError, ValueError, KeyError, EOFError) as error:
        reason = " ".join(str(error).split())[:100]
        raise InputError(f"'{path}' cannot be read ({reason}): remove it and enrol that person again") from None


def with_rows(params: dict[str, Any], rows: Float[Array, "people width"]) -> dict[str, Any]:
    """Parameters of a network whose table has these rows more, before the null user's; of no use where it has none."""
    if "user" not in params:
        return params
    table = params["user"]["embedding"]
    return params | {"user": {"embedding": jnp.concatenate([table[:-1], rows, table[-1:]])}}
