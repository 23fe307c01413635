"""People enrolled after training: what the networks are told of each, kept in one file beside the checkpoints.

A network looks users up in a table, a row each and the null user last; a person enrolled is one more row before that.
Since few users span little of what the decoder can draw, each of its blocks is told of a person directly, too: by what
is added to the scale and shift of its norm.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from mdiff_jax.runtime.array_types import Array
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import atomic_write


class UserAdapter(NamedTuple):
    """One file of WORKDIR/enrolled."""

    prior: Float[np.ndarray, " width"]  # row of the prior's table
    decoder: Float[np.ndarray, " cond_width"]  # row of the decoder's table; empty where it is told no users
    modulations: dict[str, np.ndarray]  # of each block of the decoder, (2 channels,)
    windows: Float[np.ndarray, "windows freq time channels"]  # given ones, to be shown beside generated ones
    steps: tuple[int, int]  # of the checkpoints of prior and decoder that the rest belongs to


BLOCK = "modulations."  # begins the names of a file's arrays that are such


def write_adapter(path: Path, person: UserAdapter) -> None:
    """Whole or not at all."""
    values = person._replace(windows=np.float16(person.windows))._asdict()
    blocks = {f"{BLOCK}{name}": value for name, value in values.pop("modulations").items()}
    with atomic_write(path) as temporary:
        np.savez_compressed(temporary, **values, **blocks)


def read_adapter(path: Path) -> UserAdapter:
    """InputError if it is not what `write` wrote."""
    try:
        with np.load(path, allow_pickle=False) as file:
            values = {name: file[name] for name in file.files}
        steps = tuple(map(int, values.pop("steps")))
        values = {name: x.astype(np.float32) for name, x in values.items()}
        blocks = {name.removeprefix(BLOCK): values.pop(name) for name in [*values] if name.startswith(BLOCK)}
        if not blocks:
            raise KeyError("no modulations")
        return UserAdapter(**values, modulations=blocks, steps=steps)
    except (OSError, ValueError, TypeError, KeyError, EOFError) as error:
        reason = " ".join(str(error).split())[:100]
        raise InputError(f"'{path}' cannot be read ({reason}): remove it and enrol that person again") from None


def adapter_digest(person: UserAdapter) -> str:
    """Of what the networks are told."""
    told = jax.tree.leaves((person.prior, person.decoder, person.modulations))
    return hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for x in told)).hexdigest()[:16]


def add_adapters(params: dict[str, Any], users: int, people: Sequence[UserAdapter]) -> dict[str, Any]:
    """Parameters of prior and decoder that know these people after the first `users`."""
    rows = {name: np.stack([getattr(person, name) for person in people]) for name in ("prior", "decoder")}
    blocks = {name: np.stack([person.modulations[name] for person in people]) for name in people[0].modulations}
    told = {name: append_user_rows(params[name], rows[name]) for name in rows}
    return told | {"decoder": append_modulations(told["decoder"], users, blocks)}


def append_user_rows(params: dict[str, Any], rows: Float[Array, "people width"]) -> dict[str, Any]:
    """Parameters of a network whose table has these rows more, before the null user's; of no use where it has none."""
    if "user" not in params:
        return params
    table = params["user"]["embedding"]
    return params | {"user": {"embedding": jnp.concatenate([table[:-1], rows, table[-1:]])}}


def append_modulations(params: dict[str, Any], users: int, rows: Mapping[str, Array]) -> dict[str, Any]:
    """Parameters of a decoder that tells its blocks this (people, 2 channels) of people more, after the first `users`;
    of these nothing, where it has no tables yet.
    """
    tables = params.get("modulations") or {name: jnp.zeros((users, row.shape[1])) for name, row in rows.items()}
    return params | {"modulations": {name: jnp.concatenate([tables[name], row]) for name, row in rows.items()}}
