"""Kinds of sampling: windows of users, interpolations, variations of given windows, long walks.

Each is a job: samples with the names of their files, and the function that computes a chunk of them. A sample depends
on the seed, on its user and on its number alone.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from mdiff_jax.data import render
from mdiff_jax.diffusion import editing
from mdiff_jax.inference import denoisers, pipeline, user_adapters
from mdiff_jax.inference.drawn_windows import DrawnWindows, to_image_axes
from mdiff_jax.inference.model import Model
from mdiff_jax.inference.user_windows import UserWindows
from mdiff_jax.runtime.array_types import Array
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.ranges import SECONDS, STRENGTHS, STRIP_WINDOWS

FROM_WINDOWS = "what starts from given windows takes many steps"  # why a student does not draw it
OVERLAPPING = "windows that overlap come to agree over many steps"  # likewise
MAX_WALK_WINDOWS = 1000  # of one long walk, which are in memory together


class SampleTask(NamedTuple):
    """One sample."""

    name: str  # of its file, below the folder of samples, without the suffix
    row: str  # of the sheet
    about: dict[str, Any]  # for provenance: 'user', 'sample_id', …; see `label`
    request: pipeline.SampleRequest


def label(soft_label: Mapping[str, float], *source: str) -> dict[str, Any]:
    """Returns what a task says for labels.csv: user → share, those of 0 left out, and the files it is made from."""
    shares = {user: round(share, 4) for user, share in soft_label.items()}
    return {"soft_label": {user: share for user, share in shares.items() if share}, "source": list(source)}


class SamplingJob(NamedTuple):
    """Samples to compute, and how."""

    model: Model
    tasks: list[SampleTask]
    function: pipeline.SampleFunction
    settings: dict[str, Any]  # what decides the pixels, beside the model's own
    sheet: str  # file name: 'grid.png' beside real windows, 'strip.png' without
    real: Mapping[str, np.ndarray]  # windows to show in each row of the sheet, on the axes of the recordings' images
    seconds: float | None  # duration of a sample, where known
    length: float = 1.0  # of a sample, in windows


def plain_samples(model: Model, users: Sequence[str], count: int, seed: int) -> SamplingJob:
    """`count` samples of each user, by prior and decoder."""
    real = {user: real_windows(model, user) for user in users}
    shown = {user: sheet_windows(model, *found) for user, found in real.items() if len(found[0])}
    tasks = user_tasks(model, users, count, seed)
    return SamplingJob(model, tasks, model.window_sampler(), {}, "grid.png", shown, window_seconds(model))


def user_tasks(model: Model, users: Sequence[str], count: int, seed: int) -> list[SampleTask]:
    return [
        SampleTask(
            f"{r.user}/{r.user}_seed{seed}_{r.sample_id:04d}",
            r.user,
            {"user": r.user, "sample_id": r.sample_id},
            r,
        )
        for r in model.requests(users, range(count))
    ]


def real_windows(model: Model, user: str) -> tuple[np.ndarray, np.ndarray]:
    """A user's unseen windows (n, F, T, C), or those that one was enrolled from, and their frames (n,)."""
    if user in model.enrolled:
        return model.enrolled[user].windows, model.enrolled[user].frames
    rows = model.dataset.rows(model.split["test"])
    rows = rows[model.dataset.user_ids[rows] == model.index(user)]
    return model.dataset.load(rows), model.dataset.frames[rows]


def sheet_windows(model: Model, windows: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Windows for a row of the sheet, spread from first to last, without the channel of scalar ones."""
    shown = render.spread_windows(np.arange(len(windows)), model.config.summary.grid_columns)
    x = windows[shown]
    x = DrawnWindows(x[..., 0] if x.shape[-1] == 1 else x, frames[shown])
    return to_image_axes(x, model.dataset.metadata)


def window_seconds(model: Model) -> float | None:
    """Duration of a window; None where the data set does not say."""
    return model.dataset.metadata.get("window_seconds")


# ----------------------------------------------------------------------------- between two users


def interpolate(model: Model, users: tuple[str, str], steps: int, count: int, seed: int) -> SamplingJob:
    """`count` strips of `steps` windows from one user to another: embeddings in between, all with the same noise.

    The embeddings of both ends come from the same noise too. What the networks know of the two users is mixed likewise.
    """
    STRIP_WINDOWS.check("interpolate_steps", steps)
    if own := [user for user in model.fine_tuned.values() if user in users]:
        raise InputError(f"user '{own[0]}' has weights of its own, there is nothing between: enroll without --finetune")
    name = "_to_".join(users)
    ends = model.requests(users, range(count))
    first, last = sample_end_embeddings(model, [r._replace(user=name) for r in ends], seed).reshape(2, count, -1)
    shares = np.linspace(0.0, 1.0, steps)
    embeddings = np.stack([mix_embeddings(model, first, last, share) for share in shares], axis=1).astype(np.float32)
    people = [mix_people(model.people[users[0]], model.people[users[1]], share) for share in shares]
    tasks = [
        SampleTask(
            f"{name}/{name}_seed{seed}_{i:04d}_{k:02d}",
            f"{users[0]} …\n{users[1]}, {i}",
            {"user": name, "sample_id": i, "share_of_second": share} | label({users[0]: 1 - share, users[1]: share}),
            pipeline.SampleRequest(name, model.num_users + k, i, {"embedding": embeddings[i, k], **people[k]}),
        )
        for i in range(count)
        for k, share in enumerate(shares.round(4).tolist())
    ]
    mixed = add_mixed_users(model, [r.index for r in ends[::count]], shares)
    function = pipeline.make_embedding_decoder(model.decoder_sampler())
    settings = {"interpolate": list(users), "interpolate_steps": steps}
    return SamplingJob(mixed, tasks, function, settings, "strip.png", {}, window_seconds(model))


def sample_end_embeddings(model: Model, requests: Sequence[pipeline.SampleRequest], seed: int) -> np.ndarray:
    """(n, D) embeddings by the prior, in chunks of `sample.batch_size`."""
    function = pipeline.make_embedding_sampler(denoisers.prior_sampler(model.config, len(model.users)))
    size = min(model.config.sample.batch_size, len(requests))
    chunks = pipeline.run_requests(function, model.variables_of(), requests, seed=seed, batch_size=size)
    return np.concatenate([out["embedding"] for _, out in chunks])


def mix_embeddings(model: Model, first: np.ndarray, last: np.ndarray, share: float) -> np.ndarray:
    """From first (n, D), share 0, to last along the great circle of unit embeddings; numbers of frames in a line."""
    mean, deviation = model.constants["embedding_mean"], model.constants["embedding_deviation"]
    start, end = (z[:, : len(mean)] * deviation + mean for z in (first, last))
    rest = (1 - share) * first[:, len(mean) :] + share * last[:, len(mean) :]
    return np.concatenate([model.standardise(np.asarray(editing.slerp(start, end, share))), rest], axis=1)


def mix_people(
    first: Mapping[str, np.ndarray], last: Mapping[str, np.ndarray], share: float
) -> dict[str, Float[np.ndarray, " person"]]:
    """What sample functions take of a person in between, in a line."""
    return {name: ((1 - share) * first[name] + share * last[name]).astype(np.float32) for name in first}


def add_mixed_users(model: Model, ends: Sequence[int], shares: Float[np.ndarray, " steps"]) -> Model:
    """The model with more users of the decoder: mixtures of the two whose rows are `ends`."""
    adapters, params = model.adapters.get("decoder", {}), model.variables_of()["decoder"]["params"]

    def mix(table: Array) -> np.ndarray:
        first, last = (np.asarray(table)[i] for i in ends)
        return np.stack([(1 - s) * first + s * last for s in shares]).astype(np.float32)

    modulations = {name: mix(table) for name, table in adapters.get("modulations", {}).items()}
    if user_adapters.row_shape(params) != (0,):
        adapters = user_adapters.append_user_rows(adapters, mix(user_adapters.user_rows(params, adapters)))
    if modulations:
        adapters = user_adapters.append_modulations(adapters, len(model.users), modulations)
    return model._replace(adapters=model.adapters | {"decoder": adapters})


# ----------------------------------------------------------------------------- variations of given windows


def variations(model: Model, given: UserWindows, strength: float, count: int, seed: int) -> SamplingJob:
    """`count` variations of each given window: its own embedding in place of the prior's, and the window itself noised
    up to `strength` of the schedule; at 1 nothing but the embedding is left of it.
    """
    STRENGTHS.check("strength", strength)
    model = model.with_teacher(FROM_WINDOWS)
    embeddings, people = model.embed(given.windows, given.frames), model.people
    tasks = [
        SampleTask(
            f"{user}/{user}_like_{i:04d}_seed{seed}_{k:04d}",
            file,
            {"user": user, "sample_id": k, "like": file},
            pipeline.SampleRequest(
                file, model.index(user), k, {"embedding": embeddings[i], "window": given.windows[i], **people[user]}
            ),
        )
        for i, (file, user) in enumerate(zip(given.files, given.users, strict=True))
        for k in range(count)
    ]
    each = zip(given.files, given.windows[:, None], given.frames[:, None], strict=True)
    shown = {file: sheet_windows(model, x, frames) for file, x, frames in each}
    function = pipeline.make_window_variation(denoisers.decoder_sampler(model.config, len(model.users)), strength)
    settings = {"like": list(given.files), "like_content": given.digest, "strength": strength}
    return SamplingJob(model, tasks, function, settings, "grid.png", shown, window_seconds(model))


# ----------------------------------------------------------------------------- long walks


def long_walks(
    model: Model, users: Sequence[str], count: int, seed: int, seconds: float, window_duration: float | None
) -> SamplingJob:
    """`count` walks of `seconds`, of windows that overlap by half and are denoised together
    (`editing.overlapping_windows`). `window_duration` [s] is for data sets that do not say how long a window is.
    """
    SECONDS.check("seconds", seconds)
    if window_duration is not None:
        SECONDS.check("window_seconds", window_duration)
    duration = window_duration or window_seconds(model)
    if duration is None:
        raise InputError(
            "the recordings do not say how long a window is: give --window_seconds, about 2.1 at four steps"
        )
    if not duration < seconds:
        raise InputError(f"seconds is {seconds:g}: give more than {duration:.2f}, the duration of one window")
    columns = model.config.data.image_size[1]
    length = round(seconds / duration * columns) / columns
    windows = count_overlapping_windows(model, length)
    if windows > MAX_WALK_WINDOWS:
        raise InputError(f"seconds is {seconds:g}, {windows} windows: give a walk of at most {MAX_WALK_WINDOWS}")
    model = model.with_teacher(OVERLAPPING)
    config = model.config.copy_and_resolve_references()
    config.sample.batch_size = max(1, config.sample.batch_size // windows)  # a walk takes the memory of so many
    specs = (
        denoisers.prior_sampler(config, len(model.users)),
        denoisers.decoder_sampler(config, len(model.users), windows),
    )
    function = pipeline.make_window_sampler(*specs)
    tasks = [t._replace(row=f"{t.row}, {t.about['sample_id']}") for t in user_tasks(model, users, count, seed)]

    def cut(variables: Mapping[str, pipeline.Variables], batch: dict[str, Array]) -> dict[str, Array]:
        out = function(variables, batch)
        frames = jnp.round(length * pipeline.frames_of_one(out["frames"], windows)).astype(jnp.int32)
        return {"spectrogram": out["spectrogram"][:, :, : round(length * columns)], "frames": frames}

    settings = {"seconds": seconds, "window_seconds": duration}
    return SamplingJob(model._replace(config=config), tasks, cut, settings, "strip.png", {}, seconds, length)


def count_overlapping_windows(model: Model, length: float) -> int:
    """Windows, each beginning half of one after the one before, that reach over `length` windows, whatever the number
    of frames of one.
    """
    columns = model.config.data.image_size[1]
    least = denoisers.MIN_FRAMES if model.config.data.native_frames else columns
    return max(1 + math.ceil((round(length * n) - n) / (n // 2)) for n in range(min(least, columns), columns + 1))
