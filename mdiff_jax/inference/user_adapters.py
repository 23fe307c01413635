"""Users enrolled after training: the adapter of each, kept in one file beside the checkpoints, and their collection.

Networks look users up in a table, a row each and the null user's last; an enrolled user is one more row. Since a few
users span little of what the decoder can generate, each of its blocks is conditioned on an enrolled user directly, too:
by what is added to the scale and shift of its norm. Both lie in the Flax collection 'user_adapters', beside 'params'.
With `people.references` an enrolled user is what networks are told of some windows (`inference.people`), and rows and
additions are 0; a user that was fine-tuned has updates of both networks' weights besides (`inference.weight_updates`).
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from mdiff_jax.inference import weight_updates
from mdiff_jax.runtime.array_types import Array
from mdiff_jax.runtime.workdir import atomic_write, read_npz, refuse_damage

Adapters = Mapping[str, Any]  # the collection 'user_adapters' of one network


NO_PERSON = np.zeros(0, np.float32)


class UserAdapter(NamedTuple):
    """One file of WORKDIR/enrolled."""

    prior: Float[np.ndarray, " width"]  # row of the prior's table
    decoder: Float[np.ndarray, " cond_width"]  # row of the decoder's table; empty where it has none
    modulations: dict[str, np.ndarray]  # of each block of the decoder, (2 channels,)
    windows: Float[np.ndarray, "windows freq time channels"]  # some that it was fitted to, shown beside generated ones
    frames: Int[np.ndarray, " windows"]  # of each of them
    steps: tuple[int, int]  # of the checkpoints of prior and decoder that it belongs to
    person: Float[np.ndarray, " person"] = NO_PERSON  # what networks are told of its windows, with references
    updates: Mapping[str, weight_updates.Update] = MappingProxyType({})  # 'prior', 'decoder': of a fine-tuned user

    def __repr__(self) -> str:
        tuned = "fine-tuned, " if self.updates else ""
        return f"UserAdapter({tuned}checkpoints {self.steps}, {len(self.windows)} windows shown)"


MODULATION_PREFIX = "modulations."  # of the names of a file's arrays
UPDATE_PREFIX = "updates."
MAX_BYTES = 2**28  # of a file's arrays


def write_adapter(path: Path, adapter: UserAdapter) -> None:
    """Writes the whole file or nothing."""
    values = adapter._replace(windows=adapter.windows.astype(np.float16))._asdict()
    blocks = {f"{MODULATION_PREFIX}{name}": value for name, value in values.pop("modulations").items()}
    if not adapter.person.size:
        del values["person"]
    for network, update in values.pop("updates").items():
        parts = weight_updates.name_leaves(update)
        blocks |= {f"{UPDATE_PREFIX}{network}/{name}": np.float16(x) for name, x in parts.items()}
    with atomic_write(path) as temporary:
        np.savez_compressed(temporary, **values, **blocks)


def row_shape(params: Mapping[str, Any]) -> tuple[int]:
    """Returns the shape of a row of a network's table of users, (0,) where it has no table."""
    return params["user"]["embedding"].shape[1:] if "user" in params else (0,)


def modulation_shapes(decoder: Mapping[str, Any]) -> dict[str, tuple[int]]:
    """Returns the shape of what is added to the scale and shift of each block of a decoder with these parameters."""
    return {name: p["modulation"]["bias"].shape for name, p in decoder.items() if "modulation" in p}


def adapter_shapes(
    prior: Mapping[str, Any], decoder: Mapping[str, Any], window: tuple[int, int, int], person: int = 0
) -> dict[str, tuple[int, ...]]:
    """Returns name → shape of a file's arrays for networks of these parameters; of the windows that of one. `person` is
    the size of what networks are told of windows.
    """
    shapes = {"prior": row_shape(prior), "decoder": row_shape(decoder), "windows": window, "frames": ()}
    shapes |= {"steps": (2,), "person": (person,)}
    return shapes | {f"{MODULATION_PREFIX}{name}": shape for name, shape in modulation_shapes(decoder).items()}


def read_adapter(
    path: Path, shapes: Mapping[str, tuple[int, ...]], params: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> UserAdapter:
    """Reads a file of `write_adapter`; InputError for any other, or if its arrays are not those of `shapes`, or its
    updates not of networks with these `params`, {'prior', 'decoder'}.
    """
    remedy = "remove it and enroll that user again"
    values = read_npz(path, remedy, MAX_BYTES)
    with refuse_damage(path, remedy):
        updates = take_updates(values)
        for network, update in updates.items():
            weight_updates.check_update(update, params[network])
        values.setdefault("frames", np.full(len(values["windows"]), shapes["windows"][1]))  # of earlier versions
        values.setdefault("person", NO_PERSON)
        for name in (name for name in shapes if name.startswith(MODULATION_PREFIX) and values["person"].size):
            values.setdefault(name, np.zeros(shapes[name]))
        for name in shapes.keys() | values.keys():
            shape = values[name].shape[name in ("windows", "frames") :]
            if shape != shapes[name]:
                raise ValueError(f"'{name}' is {list(shape)}, not {list(shapes[name])}")
        if len(values["windows"]) != len(values["frames"]):
            raise ValueError("it has not as many 'frames' as 'windows'")
        frames = values.pop("frames").astype(np.int32)
        of_prior, of_decoder = (int(step) for step in values.pop("steps"))
        values = {name: x.astype(np.float32) for name, x in values.items()}
        prefixed = [name for name in values if name.startswith(MODULATION_PREFIX)]
        blocks = {name.removeprefix(MODULATION_PREFIX): values.pop(name) for name in prefixed}
        return UserAdapter(**values, modulations=blocks, frames=frames, steps=(of_prior, of_decoder), updates=updates)


def take_updates(values: dict[str, np.ndarray]) -> dict[str, weight_updates.Update]:
    """Takes the arrays of updates out of a file's; returns them by network, parameter and part."""
    updates: dict[str, weight_updates.Update] = {}
    for key in [key for key in values if key.startswith(UPDATE_PREFIX)]:
        network, _, rest = key.removeprefix(UPDATE_PREFIX).partition("/")
        name, _, part = rest.rpartition("/")
        updates.setdefault(network, {}).setdefault(name, {})[part] = values.pop(key).astype(np.float32)
    return updates


def adapter_digest(adapter: UserAdapter) -> str:
    """Hash of the arrays that condition the networks."""
    told = (adapter.prior, adapter.decoder, adapter.modulations, adapter.person)
    arrays = jax.tree.leaves((*told, dict(adapter.updates)))
    return hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for x in arrays)).hexdigest()[:16]


# ----------------------------------------------------------------------------- the collection


def stack_adapters(adapters: Sequence[UserAdapter], num_users: int, trained_rows: int) -> dict[str, Adapters]:
    """{'prior', 'decoder'} → the collection that adds these users after the `num_users` trained ones, of whom only
    `trained_rows` may have a row: all, or none where reference windows alone say who they are.
    """
    blocks = {name: np.stack([adapter.modulations[name] for adapter in adapters]) for name in adapters[0].modulations}
    rows = {name: np.stack([getattr(adapter, name) for adapter in adapters]) for name in ("prior", "decoder")}
    return {
        name: add_users(x, blocks if name == "decoder" else {}, num_users, trained_rows) for name, x in rows.items()
    }


def add_users(
    rows: Float[Array, "more width"], modulations: Mapping[str, Array], num_users: int, trained_rows: int
) -> Adapters:
    """The collection of one network with rows and modulations (more, 2 channels) of users; see `stack_adapters`."""
    adapters = append_user_rows({}, jnp.pad(rows, ((num_users - trained_rows, 0), (0, 0))))
    return append_modulations(adapters, num_users, modulations)


def append_user_rows(adapters: Adapters, rows: Float[Array, "more width"]) -> Adapters:
    """The collection with more rows of the table of users; unchanged where the network has no such table (width 0)."""
    if not rows.shape[1]:
        return adapters
    known = [adapters["user"]["rows"]] if "user" in adapters else []
    return {**adapters, "user": {"rows": jnp.concatenate([*known, rows])}}


def append_modulations(adapters: Adapters, num_users: int, rows: Mapping[str, Array]) -> Adapters:
    """The collection with modulations (more, 2 channels) of more users; those of the `num_users` trained ones are 0.
    Unchanged without rows.
    """
    if not rows:
        return adapters
    known = adapters.get("modulations") or {name: jnp.zeros((num_users, row.shape[1])) for name, row in rows.items()}
    return {**adapters, "modulations": {name: jnp.concatenate([known[name], row]) for name, row in rows.items()}}


def user_rows(params: Mapping[str, Any], adapters: Adapters) -> Float[np.ndarray, "users width"]:
    """The rows of trained and enrolled users in a network's table, without the null user's."""
    trained = params["user"]["embedding"][:-1]
    return np.concatenate([trained, adapters["user"]["rows"]]) if "user" in adapters else np.asarray(trained)
