"""A new person from a handful of windows: a row for the users' tables of prior and decoder, all else frozen.

The row is a weighted mean of the trained users' plus a deviation, sought by the losses that prior and decoder were
trained with (textual inversion, Gal et al. 2022, has the same aim in another table). The prior's deviation is held
small; the decoder's is free, since few users span too little of what it can draw.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float
from tqdm import tqdm

from mdiff_jax import build, given, keys, people
from mdiff_jax.errors import InputError
from mdiff_jax.model import Model, load
from mdiff_jax.state import ALONE
from mdiff_jax.types import Array, Key
from mdiff_jax.workdir import Workdir

WINDOWS = (5, 20)
SEED = 0
BATCH = {"prior": 64, "decoder": 8}  # noised windows a step
STEPS = {"prior": 400, "decoder": 400}
LEARNING_RATE = {"prior": 0.03, "decoder": 0.1}
PENALTY = {"prior": 1e-2, "decoder": 0.0}  # of the deviation's mean square, in units of the trained rows' variance

Loss = Callable[[Float[Array, " width"], Key], Float[Array, ""]]


def enrol(root: str | Path, name: str, path: Path) -> Path:
    """Fits the person in the windows at `path` and stores WORKDIR/enrolled/NAME.npz; returns that file.

    Raises InputError for a name that is taken or no file name, too few or too many windows, or ones of another size.
    """
    model, target = load(root), Workdir(root).enrolled / f"{name}.npz"
    check_name(model, name)
    windows = given.read(model, path, user=name).windows
    low, high = WINDOWS
    if not low <= len(windows) <= high:
        raise InputError(f"'{path}' holds {len(windows)} windows: give {low} to {high} of one person")
    person = fit(model, windows)
    people.write(target, person)
    return target


def check_name(model: Model, name: str) -> None:
    taken = {known.casefold() for known in (*model.users, *model.enrolled)}
    if name.casefold() in taken:
        raise InputError(f"user '{name}' is there already: give another --name")
    if (
        not name
        or name.startswith(".")
        or any(c in '/\\,"*?<>|:' or not c.isprintable() for c in name)
        or name == "all"
    ):
        raise InputError(f"'{name}' cannot be a user: give a --name that can be a folder's, without commas")


def fit(model: Model, windows: Float[np.ndarray, "windows freq time channels"]) -> people.Person:
    """The rows of both tables, one network after the other."""
    z = model.embed(windows)
    rows = {name: fit_row(model, name, z, windows) for name in ("prior", "decoder")}
    shown = windows[: model.config.summary.grid_columns]
    return people.Person(rows["prior"], rows["decoder"], shown, (model.prior_step, model.step))


def fit_row(model: Model, name: str, z: np.ndarray, windows: np.ndarray) -> Float[np.ndarray, " width"]:
    """The row of one network's table that explains the windows; empty where it has no table."""
    params = model.params[name]
    if "user" not in params:
        return np.zeros(0, np.float32)
    table = np.asarray(params["user"]["embedding"])[: len(model.users)]
    stage = build.stage(model.config, name, model.num_users + 1)
    data = {"embedding": jnp.asarray(z, jnp.float32), "spectrogram": jnp.asarray(windows, jnp.float32)}
    same = {"user": jnp.full(BATCH[name], model.num_users), "example": jnp.arange(BATCH[name])}

    def loss(row: Array, key: Key) -> Array:
        which = jax.random.randint(jax.random.fold_in(key, 1), (BATCH[name],), 0, len(windows))
        batch = {field: data[field][which] for field in stage.fields} | same
        return stage.loss(people.with_rows(params, row[None]), batch, key, ALONE)[0]

    key = keys.purpose_key(SEED, "train", f"enrol {name}")
    return np.asarray(descend(loss, table, key, name))


def descend(loss: Loss, table: Float[np.ndarray, "users width"], key: Key, name: str) -> Array:
    """The row that makes `loss` small: weights over `table` and a deviation, by Adam."""
    scale, steps = table.std(), STEPS[name]
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE[name], steps))
    start = {"weights": jnp.zeros(len(table)), "deviation": jnp.zeros(table.shape[1])}

    def row_of(free: dict[str, Array]) -> Array:
        return jax.nn.softmax(free["weights"]) @ table + scale * free["deviation"]

    @jax.jit
    def step(free: dict, state: Any, key: Key) -> tuple[dict, Any, Array]:
        def objective(free: dict) -> tuple[Array, Array]:
            value = loss(row_of(free), key)
            return value + PENALTY[name] * jnp.mean(free["deviation"] ** 2), value

        grads, value = jax.grad(objective, has_aux=True)(free)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(free, updates), state, value

    free, state = start, optimizer.init(start)
    bar = tqdm(range(steps), desc=f"enrol: {name}", unit="step", mininterval=1)
    for i in bar:
        free, state, value = step(free, state, jax.random.fold_in(key, i))
        if i % 20 == 0:
            bar.set_postfix(loss=f"{float(value):.4f}", refresh=False)
    return row_of(free)
