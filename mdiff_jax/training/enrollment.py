"""A new person from a handful of windows: what prior and decoder are told of that person is sought, all else frozen.

By the losses they were trained with (textual inversion, Gal et al. 2022, has the same aim). For the prior it is a row
of its table: a weighted mean of the trained users' plus a deviation that is held small. For the decoder it is such a
mean and, for each block, what is added to scale and shift of its norm (DiffFit, Xie et al. 2023, tunes scales and
biases to new data): one row alone does not reach far enough from few users.
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

from mdiff_jax.inference import user_adapters, user_windows
from mdiff_jax.inference.model import Model, load
from mdiff_jax.runtime import parallel, prng
from mdiff_jax.runtime.array_types import Array, Key
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir
from mdiff_jax.training import stages

WINDOWS = (5, 20)
SEED = 0
BATCH = {"prior": 64, "decoder": 8}  # noised windows a step
STEPS = 400
LEARNING_RATE = 0.1
PENALTY = 1e-2  # of the deviation's mean square, in units of the trained rows' variance

Params = dict[str, Any]  # of a network
Free = dict[str, Any]  # what is sought: a tree of arrays


def enroll(root: str | Path, name: str, path: Path) -> Path:
    """Fits the person in the windows at `path` and stores WORKDIR/enrolled/NAME.npz; returns that file.

    Raises InputError for a name that is taken or no file name, too few or too many windows, or ones of another size.
    """
    model, target = load(root), Workdir(root).enrolled / f"{name}.npz"
    check_user_name(model, name)
    windows = user_windows.read_user_windows(model, path, user=name).windows
    low, high = WINDOWS
    if not low <= len(windows) <= high:
        raise InputError(f"'{path}' holds {len(windows)} windows: give {low} to {high} of one person")
    person = fit_adapter(model, windows)
    user_adapters.write_adapter(target, person)
    return target


def check_user_name(model: Model, name: str) -> None:
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


def fit_adapter(model: Model, windows: Float[np.ndarray, "windows freq time channels"]) -> user_adapters.UserAdapter:
    """What is to be told of the person in the windows to one network after the other."""
    data = {"embedding": jnp.asarray(model.embed(windows), jnp.float32), "spectrogram": jnp.asarray(windows)}
    prior, (decoder, modulations) = fit_prior(model, data), fit_decoder(model, data)
    shown = windows[: model.config.summary.grid_columns]
    return user_adapters.UserAdapter(prior, decoder, modulations, shown, (model.prior_step, model.step))


def fit_prior(model: Model, data: dict[str, Array]) -> Float[np.ndarray, " width"]:
    """The row of its table."""
    table = model.params["prior"]["user"]["embedding"][: len(model.users)]

    def row_of(free: Free) -> Array:
        return jax.nn.softmax(free["weights"]) @ table + table.std() * free["deviation"]

    def objective(params: Params, free: Free, key: Key) -> tuple[Array, Array]:
        loss = adapter_loss(model, "prior", user_adapters.append_user_rows(params, row_of(free)[None]), data, key)
        return loss, PENALTY * jnp.mean(free["deviation"] ** 2)

    start = {"weights": jnp.zeros(len(table)), "deviation": jnp.zeros(table.shape[1])}
    return np.asarray(row_of(optimize_adapter(objective, model.params["prior"], start, "prior")))


def fit_decoder(model: Model, data: dict[str, Array]) -> tuple[Float[np.ndarray, " cond_width"], dict[str, np.ndarray]]:
    """The row of its table, empty where it has none, and the modulations of its blocks."""
    params = model.params["decoder"]
    biases = {name: p["modulation"]["bias"] for name, p in params.items() if "modulation" in p}
    table = params["user"]["embedding"][: len(model.users)] if "user" in params else jnp.zeros((len(model.users), 0))

    def row_of(free: Free) -> Array:
        return jax.nn.softmax(free["weights"]) @ table

    def objective(params: Params, free: Free, key: Key) -> tuple[Array, float]:
        blocks = {name: x[None] for name, x in free["modulations"].items()}
        told = user_adapters.append_modulations(
            user_adapters.append_user_rows(params, row_of(free)[None]), model.num_users, blocks
        )
        return adapter_loss(model, "decoder", told, data, key), 0.0

    start = {"weights": jnp.zeros(len(table)), "modulations": jax.tree.map(jnp.zeros_like, biases)}
    free = optimize_adapter(objective, params, start, "decoder")
    return np.asarray(row_of(free)), jax.tree.map(np.asarray, free["modulations"])


def adapter_loss(model: Model, name: str, params: Params, data: dict[str, Array], key: Key) -> Float[Array, ""]:
    """Of a network that knows one user more, on a batch of the windows as that user's."""
    stage, count = stages.make_stage(model.config, name, model.num_users + 1), BATCH[name]
    which = jax.random.randint(jax.random.fold_in(key, 1), (count,), 0, len(data["embedding"]))
    batch = {field: data[field][which] for field in stage.fields}
    batch |= {"user": jnp.full(count, model.num_users), "example": jnp.arange(count)}
    return stage.loss(params, batch, key, parallel.SINGLE_DEVICE)[0]


def optimize_adapter(
    objective: Callable[[Params, Free, Key], tuple[Array, Array | float]], params: Params, free: Free, name: str
) -> Free:
    """What makes loss and penalty, which `objective` gives, small together: by Adam, from `free`."""
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, STEPS))

    @jax.jit
    def step(params: Params, free: Free, state: Any, key: Key) -> tuple[Free, Any, Array]:
        def total(free: Free) -> tuple[Array, Array]:
            loss, penalty = objective(params, free, key)
            return loss + penalty, loss

        grads, loss = jax.grad(total, has_aux=True)(free)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(free, updates), state, loss

    key, state = prng.purpose_key(SEED, "train", f"enrol {name}"), optimizer.init(free)
    bar = tqdm(range(STEPS), desc=f"enrol: {name}", unit="step", mininterval=1)
    for i in bar:
        free, state, loss = step(params, free, state, jax.random.fold_in(key, i))
        if i % 20 == 0:
            bar.set_postfix(loss=f"{float(loss):.4f}", refresh=False)
    return free
