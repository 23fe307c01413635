"""Enrollment: the adapter of a new user is fitted to a handful of windows, with every trained parameter frozen.

By the losses that prior and decoder were trained with (textual inversion, Gal et al. 2022, has the same aim). For the
prior it is a row of its table of users: a weighted mean of the trained rows plus a deviation that is kept small. For
the decoder it is such a mean and, for each block, what is added to scale and shift of its norm (DiffFit, Xie et al.
2023, tunes scales and biases to new data): one row alone does not reach far enough from few users.

With `people.references` nothing is fitted: the windows' embeddings say who the person is (`inference.people`). Fine-
tuning adds an update of low rank of all weights of both networks, which is that person's alone: what embeddings tell
of a person that networks never saw is not enough. Every fifth window is held out, and what these like best is kept, be
it the start. Not the last fifth: where a walk changes, these would like no update at all.
"""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int

from mdiff_jax.config import Params
from mdiff_jax.inference import base_model, exported, people, user_adapters, user_windows, weight_updates
from mdiff_jax.inference.loading import load
from mdiff_jax.inference.model import Model
from mdiff_jax.inference.user_adapters import Adapters
from mdiff_jax.runtime import compilation_cache, parallel, prng
from mdiff_jax.runtime.array_types import Array, Key
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.progress import Bar, doing
from mdiff_jax.runtime.user_names import check_user_names, fold_name
from mdiff_jax.runtime.workdir import Workdir
from mdiff_jax.training import stages
from mdiff_jax.training.training_data import FIELDS

Free = dict[str, Any]  # a tree of the arrays that are fitted
Objective = Callable[[Params, Free, Key], tuple[Array, Array | float]]  # → (loss, penalty)
HELD_OUT = 5  # one of so many windows in a row
CHECKS, CHECK_BATCHES = 5, 4  # of held-out windows while an adapter is fitted, and batches of each
PRIOR_STEPS = 3  # of the prior's fine-tuning for each of the decoder's; a step of its takes a seventh of the time


class FitSettings(NamedTuple):
    """What `optimize_adapter` takes of the keys of `enrollment`."""

    steps: int
    learning_rate: float
    seed: int


def enroll(root: str | Path, name: str, path: Path, finetune: bool = False) -> Path:
    """Stores the user of the windows at `path` as WORKDIR/enrolled/NAME.npz; returns that file.

    With `finetune` a user who is known by references is fitted too. Raises InputError for a name that is taken or no
    file name, too few or too many windows, or ones of another size.
    """
    model = load(root)
    check_user_name(model, name)
    target = Workdir(root).enrolled / f"{name}.npz"
    given = user_windows.read_user_windows(model, path, user=name)
    if finetune:
        keep_programs(model, Workdir(root))
    user_adapters.write_adapter(target, make_adapter(model, given, finetune, f"'{path}'"))
    return target


def make_adapter(
    model: Model, given: user_windows.UserWindows, finetune: bool, place: str
) -> user_adapters.UserAdapter:
    """Returns the new user of these windows, which come from `place`, in the words of an error."""
    count, c = len(given.windows), model.config
    low, high = c.enrollment.min_windows, c.enrollment.max_windows
    if c.people.references:
        low, high = c.people.min_references, c.people.max_references
    if not low <= count <= high:
        raise InputError(f"{place} holds {count} window{'s' * (count != 1)}: give {low} to {high} of one user")
    if finetune and not c.people.references:
        raise InputError("this model does not know people by references and fits a new user anyway: remove --finetune")
    make = people.person_adapter if c.people.references else fit_adapter
    adapter = make(model, given.windows, given.frames)
    return finetune_adapter(model, adapter, given.windows, given.frames) if finetune else adapter


def enroll_in_base(root: str | Path, path: Path, finetune: bool = False) -> list[str]:
    """Makes the folder `root`: the base model, for recordings like those at `path`, with the people of these enrolled.

    `path` holds windows of one person, or a folder for each; with `finetune` the networks are fitted to all windows of
    each. People who are enrolled there already are left as they are, so that the same call goes on after an
    interruption. Returns the names. Raises InputError for a folder of something else, and as `load_base` does.
    """
    base, new = base_model.load_base(), not Path(root).exists()
    model = base if new else load(root)
    if (model.drawing_steps, model.users) != (base.drawing_steps, ()):
        raise InputError(f"'{root}' is not of the base model: give a new folder")
    given = user_windows.read_user_windows(model, path, None, user_windows.free_options(model) if new else None)
    rows = base_model.rows_of_people(model, given, path)
    if new:
        model = base_model.draw_as(model, given)
        exported.export_model(model, Path(root), f"the base model, for recordings like {path.name}")
    if finetune:
        keep_programs(model, Workdir(root))
    for name in (name for name in rows if name not in model.enrolled):
        adapter, mine = base_model.know_person(model, given, rows[name]), rows[name]
        if finetune:
            adapter = finetune_adapter(model, adapter, given.windows[mine], given.frames[mine])
        user_adapters.write_adapter(Workdir(root).enrolled / f"{name}.npz", adapter)
    return list(rows)


def keep_programs(model: Model, workdir: Workdir) -> None:
    """Keeps what fitting compiles: the programs for the next person are the same."""
    if model.config.compilation_cache:
        compilation_cache.keep_programs(workdir.cache, functools.partial(Bar.write, file=sys.stderr))


def check_user_name(model: Model, name: str) -> None:
    check_user_names([name], "--name")
    if fold_name(name) in map(fold_name, (*model.users, *model.enrolled)):
        raise InputError(f"user '{name}' exists already: give another --name")


def fit_adapter(
    model: Model, windows: Float[np.ndarray, "windows freq time channels"], frames: Int[np.ndarray, " windows"]
) -> user_adapters.UserAdapter:
    """Fits the prior's part of an adapter, then the decoder's, to windows of so many frames."""
    data: dict[str, Array] = {
        "spectrogram": windows,
        "frames": frames,
        "embedding": model.embed(windows, frames).astype(np.float32),
    }
    data = {name: jnp.asarray(x) for name, x in data.items()}
    prior, (decoder, modulations) = fit_prior(model, data), fit_decoder(model, data)
    shown = slice(model.config.summary.grid_columns)
    steps = (model.prior_step, model.step)
    return user_adapters.UserAdapter(prior, decoder, modulations, windows[shown], frames[shown], steps)


def finetune_adapter(
    model: Model,
    adapter: user_adapters.UserAdapter,
    windows: Float[np.ndarray, "windows freq time channels"],
    frames: Int[np.ndarray, " windows"],
) -> user_adapters.UserAdapter:
    """Fits updates of both networks' weights for a person known by references to windows of so many frames."""
    c = model.config.enrollment
    data: dict[str, Array] = {
        "spectrogram": windows,
        "frames": frames,
        "embedding": model.embed(windows, frames).astype(np.float32),
    }
    data = {field: jnp.asarray(x) for field, x in data.items()}
    data["person"] = jnp.broadcast_to(adapter.person, (len(windows), adapter.person.size))
    apart = np.arange(len(windows)) % HELD_OUT == HELD_OUT // 2
    parts = {
        part: {field: x[rows] for field, x in data.items()} for part, rows in (("fitted", ~apart), ("held_out", apart))
    }
    settings = FitSettings(c.update_steps, c.update_learning_rate, c.seed)
    settings_of = {"prior": settings._replace(steps=PRIOR_STEPS * c.update_steps), "decoder": settings}
    counts = {"prior": c.prior_batch_size, "decoder": c.update_batch_size}
    of_person = model.with_users({"": adapter._replace(updates={})}).adapters

    def fit(name: str) -> weight_updates.Update:
        def objective(constant: Params, update: Free, key: Key, part: str) -> tuple[Array, float]:
            updated = weight_updates.add_update(constant["params"], update)
            return adapter_loss(model, name, updated, of_person[name], constant[part], key, counts[name]), 0.0

        fitted, held_out = (functools.partial(objective, part=part) for part in parts)
        start = weight_updates.init_update(
            model.params[name], c.update_rank, prng.purpose_key(c.seed, "init", f"enrol {name}")
        )
        constant = parts | {"params": model.params[name]}  # windows as arguments: the next person's program is the same
        best = optimize_adapter(fitted, constant, start, name, settings_of[name], held_out)
        return jax.tree.map(np.asarray, best)

    return adapter._replace(updates={name: fit(name) for name in ("prior", "decoder")})


def fit_prior(model: Model, data: dict[str, Array]) -> Float[np.ndarray, " width"]:
    """Fits the row of the prior's table."""
    params, c = model.params["prior"], model.config.enrollment
    table, count = params["user"]["embedding"][: len(model.users)], c.prior_batch_size

    def row(free: Free) -> Array:
        return jax.nn.softmax(free["weights"]) @ table + table.std() * free["deviation"]

    def objective(params: Params, free: Free, key: Key) -> tuple[Array, Array]:
        adapters = user_adapters.append_user_rows({}, row(free)[None])
        loss = adapter_loss(model, "prior", params, adapters, data, key, count)
        return loss, c.deviation_penalty * jnp.mean(free["deviation"] ** 2)

    start = {"weights": jnp.zeros(len(table)), "deviation": jnp.zeros(table.shape[1])}
    return np.asarray(row(optimize_adapter(objective, params, start, "prior", fit_settings(model))))


def fit_decoder(model: Model, data: dict[str, Array]) -> tuple[Float[np.ndarray, " cond_width"], dict[str, np.ndarray]]:
    """Fits the row of the decoder's table, empty where it has none, and the modulations of its blocks."""
    params, users, count = model.params["decoder"], len(model.users), model.config.enrollment.decoder_batch_size
    biases = {name: p["modulation"]["bias"] for name, p in params.items() if "modulation" in p}
    table = params["user"]["embedding"][:users] if "user" in params else jnp.zeros((users, 0))

    def row(free: Free) -> Array:
        return jax.nn.softmax(free["weights"]) @ table

    def objective(params: Params, free: Free, key: Key) -> tuple[Array, float]:
        blocks = {name: x[None] for name, x in free["modulations"].items()}
        adapters = user_adapters.add_users(row(free)[None], blocks, users, users)
        return adapter_loss(model, "decoder", params, adapters, data, key, count), 0.0

    start = {"weights": jnp.zeros(len(table)), "modulations": jax.tree.map(jnp.zeros_like, biases)}
    free = optimize_adapter(objective, params, start, "decoder", fit_settings(model))
    return np.asarray(row(free)), jax.tree.map(np.asarray, free["modulations"])


def fit_settings(model: Model) -> FitSettings:
    c = model.config.enrollment
    return FitSettings(c.steps, c.learning_rate, c.seed)


def adapter_loss(
    model: Model, name: str, params: Params, adapters: Adapters, data: dict[str, Array], key: Key, count: int
) -> Float[Array, ""]:
    """The loss of a network with an adapter of one new user, on `count` of the windows, drawn anew, as that user's."""
    new = len(model.users)
    which = jax.random.randint(jax.random.fold_in(key, 1), (count,), 0, len(data["embedding"]))
    batch = {field: data[field][which] for field in (*FIELDS[name], "person") if field in data}
    batch |= {"user": jnp.full(count, new), "example": jnp.arange(count)}
    loss = stages.make_loss(model.config, name, new, batch_size=count)
    return loss({"params": params, "user_adapters": adapters}, batch, key, parallel.SINGLE_DEVICE)[0]


def optimize_adapter(
    objective: Objective,
    params: Params,
    free: Free,
    name: str,
    settings: FitSettings,
    held_out: Objective | None = None,
) -> Free:
    """Minimises loss plus penalty by Adam, from `free`; with `held_out` returns what was best by its loss, which is
    measured CHECKS times and at the start, always with the same noise.
    """
    rate = optax.cosine_decay_schedule(settings.learning_rate, settings.steps)
    # as one vector: for arrays by themselves compilers make a few programs each
    optimizer = optax.flatten(optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate)))

    @jax.jit
    def step(params: Params, free: Free, state: optax.OptState, key: Key) -> tuple[Free, optax.OptState, Array]:
        def total(free: Free) -> tuple[Array, Array]:
            loss, penalty = objective(params, free, key)
            return loss + penalty, loss

        grads, loss = jax.grad(total, has_aux=True)(free)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(free, updates), state, loss

    @jax.jit
    def check(params: Params, free: Free, key: Key) -> Array:
        keys = jax.random.split(key, CHECK_BATCHES)
        return jnp.mean(jax.lax.map(lambda k: held_out(params, free, k)[0], keys))

    key, state = prng.purpose_key(settings.seed, "train", f"enrol {name}"), optimizer.init(free)
    unseen = prng.purpose_key(settings.seed, "eval", f"enrol {name}")
    shown: dict[str, str] = {}  # beside the progress
    with doing(f"enroll: {name}, compiling"):
        best = (float(check(params, free, unseen)), free) if held_out else None
    if held_out:
        shown["held_out"] = f"{best[0]:.4f}"
    bar = Bar(range(settings.steps), desc=f"enroll: {name}", unit="step")
    for i in bar:
        free, state, loss = step(params, free, state, jax.random.fold_in(key, i))
        if i % 20 == 0:
            shown["loss"] = f"{float(loss):.4f}"
        if held_out and (i + 1) % max(1, settings.steps // CHECKS) == 0:
            best = min(best, (found := float(check(params, free, unseen)), free), key=lambda pair: pair[0])
            shown["held_out"] = f"{found:.4f}"
        bar.set_postfix(shown, refresh=False)
    return best[1] if held_out else free
