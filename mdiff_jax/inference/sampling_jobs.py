"""What can be asked for: samples of users, people in between, variations of given windows, longer walks.

Each is a job: samples with the names of their files, and the function that draws a chunk of them. What a sample is
depends on the seed, on whom it is of, and on its number alone.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from mdiff_jax.data import render
from mdiff_jax.inference import denoisers, pipeline, user_adapters
from mdiff_jax.inference.model import Model
from mdiff_jax.inference.user_windows import UserWindows
from mdiff_jax.runtime.array_types import Array
from mdiff_jax.runtime.errors import InputError


class SampleTask(NamedTuple):
    """One sample."""

    name: str  # of its file, below the folder of samples, without the suffix
    row: str  # of the sheet
    about: dict[str, Any]  # for provenance: 'user', 'sample_id', …
    request: pipeline.SampleRequest


class SamplingJob(NamedTuple):
    """Samples to draw."""

    model: Model
    tasks: list[SampleTask]
    function: pipeline.SampleFunction
    settings: dict[str, Any]  # what decides the pixels, beside the model's own
    sheet: str  # file name: 'grid.png' beside real windows, 'strip.png' without
    real: Mapping[str, np.ndarray]  # windows to show in each row of the sheet
    seconds: float | None  # duration of a sample, where known


def plain_samples(model: Model, users: Sequence[str], count: int, seed: int) -> SamplingJob:
    """`count` samples of each user, by prior and decoder."""
    real, real_users = model.windows("test")
    shown = {
        user: sheet_windows(model, model.enrolled[user].windows if user in model.enrolled else real[real_users == i])
        for i, user in enumerate((*model.users, *model.enrolled))
        if user in users
    }
    tasks = user_tasks(model, users, count, seed)
    return SamplingJob(model, tasks, model.drawing(), {}, "grid.png", shown, window_seconds(model))


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


def sheet_windows(model: Model, windows: np.ndarray) -> np.ndarray:
    """As many as the sheet has columns, from first to last, without the channel of scalar ones."""
    x = render.spread_windows(windows, model.config.summary.grid_columns)
    return x[..., 0] if x.shape[-1] == 1 else x


def window_seconds(model: Model) -> float | None:
    """Duration of a window; None where the data set does not say."""
    return model.dataset.metadata.get("window_seconds")


# ----------------------------------------------------------------------------- between two users


def interpolate(model: Model, users: tuple[str, str], steps: int, count: int, seed: int) -> SamplingJob:
    """`count` strips of `steps` windows from one user to another: the embeddings in between, all with the same noise.

    Both ends' embeddings come from the same noise too. The decoder's rows of the two users are mixed likewise.
    """
    if steps < 2:
        raise InputError(f"interpolate_steps is {steps}: give at least 2, the two users themselves")
    name = "_to_".join(users)
    ends = model.requests(users, range(count))
    drawn = pipeline.run_requests(
        denoisers.make_embedding_sampler(model.config, model.num_users),
        model.params,
        [r._replace(user=name) for r in ends],
        seed=seed,
        batch_size=len(ends),
    )
    ((_, out),) = drawn
    mean, deviation = model.constants["embedding_mean"], model.constants["embedding_deviation"]
    first, last = (out["embedding"] * deviation + mean).reshape(2, count, -1)
    shares = np.linspace(0.0, 1.0, steps)
    embeddings = model.standardise(np.stack([slerp(first, last, share) for share in shares], axis=1))
    rows = [r.index for r in ends[::count]]
    tasks = [
        SampleTask(
            f"{name}/{name}_seed{seed}_{i:04d}_{k:02d}",
            f"{users[0]} …\n{users[1]}, {i}",
            {"user": name, "sample_id": i, "share_of_second": round(float(share), 4)},
            pipeline.SampleRequest(name, model.num_users + k, i, {"embedding": embeddings[i, k].astype(np.float32)}),
        )
        for i in range(count)
        for k, share in enumerate(shares)
    ]
    mixed = model._replace(params=model.params | {"decoder": add_mixed_users(model, rows, shares)})
    decode = denoisers.make_embedding_decoder(model.config, model.num_users + steps)
    function = lambda params, batch: {"spectrogram": decode(params["decoder"], batch)}  # noqa: E731
    settings = {"interpolate": list(users), "interpolate_steps": steps}
    return SamplingJob(mixed, tasks, function, settings, "strip.png", {}, window_seconds(model))


def slerp(a: Float[np.ndarray, "n dim"], b: Float[np.ndarray, "n dim"], share: float) -> Float[np.ndarray, "n dim"]:
    """From a (share 0) to b (share 1) along the great circle (Shoemake 1985); the length goes evenly."""
    lengths = [np.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b)]
    a, b = a / lengths[0], b / lengths[1]
    angle = np.arccos(np.clip(np.sum(a * b, axis=-1, keepdims=True), -1.0, 1.0))
    sine = np.maximum(np.sin(angle), 1e-6)
    near, far = np.sin((1 - share) * angle) / sine, np.sin(share * angle) / sine
    weights = np.where(angle < 1e-3, 1 - share, near), np.where(angle < 1e-3, share, far)
    return (weights[0] * a + weights[1] * b) * ((1 - share) * lengths[0] + share * lengths[1])


def add_mixed_users(model: Model, ends: Sequence[int], shares: Float[np.ndarray, " steps"]) -> dict[str, Any]:
    """Parameters of a decoder that also knows the users in between."""
    params = model.params["decoder"]

    def mixtures(table: Array) -> np.ndarray:
        first, last = (np.asarray(table)[i] for i in ends)
        return np.stack([(1 - s) * first + s * last for s in shares]).astype(np.float32)

    if "modulations" in params:
        rows = {name: mixtures(table) for name, table in params["modulations"].items()}
        params = user_adapters.append_modulations(params, model.num_users, rows)
    return user_adapters.append_user_rows(params, mixtures(params["user"]["embedding"])) if "user" in params else params


# ----------------------------------------------------------------------------- variations of given windows


def variations(model: Model, given: UserWindows, strength: float, count: int, seed: int) -> SamplingJob:
    """`count` variations of each given window: its own embedding in place of the prior's, and the window itself noised
    up to `strength` of the schedule; at 1 nothing but the embedding is left of it.
    """
    embeddings = model.embed(given.windows)
    tasks = [
        SampleTask(
            f"{user}/{user}_like_{i:04d}_seed{seed}_{k:04d}",
            file,
            {"user": user, "sample_id": k, "like": file},
            pipeline.SampleRequest(
                file, model.index(user), k, {"embedding": embeddings[i], "window": given.windows[i]}
            ),
        )
        for i, (file, user) in enumerate(zip(given.files, given.users, strict=True))
        for k in range(count)
    ]
    shown = {file: sheet_windows(model, x[None]) for file, x in zip(given.files, given.windows, strict=True)}
    function = denoisers.make_window_variation(model.config, model.num_users, strength)
    settings = {"like": list(given.files), "like_content": given.digest, "strength": strength}
    return SamplingJob(model, tasks, function, settings, "grid.png", shown, window_seconds(model))


# ----------------------------------------------------------------------------- longer walks


def long_walks(
    model: Model, users: Sequence[str], count: int, seed: int, seconds: float, window_lasts: float | None
) -> SamplingJob:
    """`count` walks of `seconds`, by windows that overlap by half and are drawn together (`editing.over_time`).

    `window_lasts` is the duration of a window where the data set does not say.
    """
    lasts = window_lasts or window_seconds(model)
    if lasts is None:
        raise InputError(
            "the recordings do not say how long a window is: give --window_seconds, about 2.1 at four steps"
        )
    frames = model.config.data.image_size[1]
    if not lasts < seconds:
        raise InputError(f"seconds is {seconds:g}: give more than {lasts:.2f}, which one window lasts")
    longer = round(seconds / lasts * frames)
    windows = count_overlapping_windows(longer, frames)
    config = model.config.copy_and_resolve_references()
    config.sample.batch_size = max(1, config.sample.batch_size // windows)  # a walk takes the memory of so many
    function = denoisers.make_window_sampler(config, model.num_users, windows)
    tasks = [t._replace(row=f"{t.row}, {t.about['sample_id']}") for t in user_tasks(model, users, count, seed)]

    def cut(params: Any, batch: dict[str, Array]) -> dict[str, Array]:
        return {"spectrogram": function(params, batch)["spectrogram"][:, :, :longer]}

    settings = {"seconds": seconds, "window_seconds": lasts}
    return SamplingJob(model._replace(config=config), tasks, cut, settings, "strip.png", {}, seconds)


def count_overlapping_windows(longer: int, frames: int) -> int:
    """Windows of `frames`, each beginning half of one after the last, that reach over `longer`."""
    return 1 + math.ceil((longer - frames) / (frames // 2))
