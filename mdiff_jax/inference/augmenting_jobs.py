"""Kinds of sampling that start from training windows or other people's, to augment a data set; with labels.

As the others (`sampling_jobs`), a sample depends on the seed, on its user and on its number alone, and so do the
windows that it is made from: all of them are taken once before any is taken again.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mdiff_jax.inference import denoisers, pipeline, sampling_jobs
from mdiff_jax.inference.model import Model
from mdiff_jax.inference.sampling_jobs import SampleTask, SamplingJob, label
from mdiff_jax.inference.user_windows import UserWindows, digest_training_files, training_windows
from mdiff_jax.runtime import prng
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.ranges import GAMMAS, STRENGTHS

GAMMA = 0.7  # Wang et al. 2024 find .5 to .8 best
Rows = Int[np.ndarray, " rows"]  # of given windows


def training_variations(model: Model, users: Sequence[str], strength: float, count: int, seed: int) -> SamplingJob:
    """`count` variations of each user's training windows, each of another one: with its own embedding, noised up to
    `strength` of the schedule, as `sampling_jobs.variations`.
    """
    STRENGTHS.check("strength", strength)
    model = model.with_teacher(sampling_jobs.FROM_WINDOWS)
    requests, given = model.requests(users, range(count)), training_windows(model, users)
    rows = np.concatenate([choose_rows(seed, user, rows_of(given, user), count) for user in users])
    tasks = [
        make_task(
            request,
            ("like", seed),
            {"embedding": z, "window": given.windows[row]},
            label({request.user: 1.0}, given.files[row]),
        )
        for request, row, z in zip(requests, rows.tolist(), embed_rows(model, given, rows), strict=True)
    ]
    function = pipeline.make_window_variation(denoisers.decoder_sampler(model.config, len(model.users)), strength)
    settings = {"like": "training", **training_content(model), "strength": strength}
    return make_job(model, given, rows, tasks, function, settings)


def others_drawn_as(
    model: Model,
    given: UserWindows,
    users: Sequence[str],
    strength: float,
    count: int,
    seed: int,
    gamma: float = GAMMA,
) -> SamplingJob:
    """`count` windows of each of `users`, made from the `given` windows of other people: noised up to `strength` s
    below 1, and drawn as that user, with an embedding by the prior for the user. What a window's own embedding says of
    its owner is not used.

    The soft label has the share s^gamma of the user and 1 - s^gamma of the window's owner (Wang et al. 2024, Diff-Mix,
    equation 4). Given windows of the user's own are left out; InputError where there are no others.
    """
    STRENGTHS.check("strength", strength)
    GAMMAS.check("soft_label_gamma", gamma)
    if strength == 1:
        raise InputError("strength is 1.0, which keeps nothing of the windows to draw as a user: give less, 0.3 … 0.9")
    model = model.with_teacher(sampling_jobs.FROM_WINDOWS)
    requests, share = model.requests(users, range(count)), strength**gamma
    others = {user: np.flatnonzero(np.array(given.users) != user) for user in users}
    if lacking := [user for user, rows in others.items() if not len(rows)]:
        raise InputError(f"the windows to draw as '{lacking[0]}' are all of that user: give windows of other people")
    rows = np.concatenate([choose_rows(seed, user, rows, count) for user, rows in others.items()])
    tasks = [
        make_task(
            request,
            ("from_others", seed),
            {"window": given.windows[row], "frames": np.asarray(given.frames[row], np.int32)},
            label({request.user: share, given.users[row]: 1 - share}, given.files[row]),
        )
        for request, row in zip(requests, rows.tolist(), strict=True)
    ]
    prior = denoisers.prior_sampler(model.config, len(model.users))
    decoder = denoisers.decoder_sampler(model.config, len(model.users))
    function = pipeline.make_window_redrawing(prior, decoder, strength)
    settings = {"like": "others", "like_content": given.digest, "strength": strength, "soft_label_gamma": gamma}
    return make_job(model, given, rows, tasks, function, settings)


# ----------------------------------------------------------------------------- which windows


def choose_rows(seed: int, user: str, rows: Rows, count: int) -> Int[np.ndarray, " count"]:
    """Returns `count` of the rows for a user's samples, each once before any comes again."""
    numbers = prng.uniform_numbers(seed, np.array(zlib.crc32(user.encode())), np.array(0), np.arange(len(rows)))
    return np.resize(rows[np.argsort(numbers)], count)


def rows_of(given: UserWindows, user: str) -> Rows:
    return np.flatnonzero(np.array(given.users) == user)


# ----------------------------------------------------------------------------- tasks


def training_content(model: Model) -> dict[str, str]:
    """Returns what settings say of windows that are each user's own: the same for all, so that users may follow."""
    return {"like_content": digest_training_files(model, model.split["train"])}


def embed_rows(model: Model, given: UserWindows, rows: Rows) -> Float[np.ndarray, "rows dim"]:
    """Returns the embeddings of these windows, each computed once."""
    used, place = np.unique(rows, return_inverse=True)
    return model.embed(given.windows[used], given.frames[used])[place]


def make_task(
    request: pipeline.SampleRequest, kind: tuple[str, int], inputs: Mapping[str, np.ndarray], about: Mapping[str, Any]
) -> SampleTask:
    """Returns the task of a request with more inputs; `kind` is the name of the job, which has noise of its own, and
    the seed.
    """
    (name, seed), user, i = kind, request.user, request.sample_id
    return SampleTask(
        f"{user}/{user}_{name}_seed{seed}_{i:04d}",
        user,
        {"user": user, "sample_id": i, **about},
        request._replace(user=f"{user}_{name}", inputs={**request.inputs, **inputs}),
    )


def make_job(
    model: Model,
    given: UserWindows,
    rows: Rows,
    tasks: list[SampleTask],
    function: pipeline.SampleFunction,
    settings: dict[str, Any],
) -> SamplingJob:
    """Returns the job; on the sheet stand the given windows that the first tasks of each user are made from."""
    sources: dict[str, list[int]] = {}
    for task, row in zip(tasks, rows.tolist(), strict=True):
        sources.setdefault(task.row, []).append(row)
    first = {user: of_user[: model.config.summary.grid_columns] for user, of_user in sources.items()}
    shown = {user: sampling_jobs.sheet_windows(model, given.windows[r], given.frames[r]) for user, r in first.items()}
    return SamplingJob(model, tasks, function, settings, "grid.png", shown, sampling_jobs.window_seconds(model))
