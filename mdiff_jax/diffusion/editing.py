"""Sampling from given spectrograms (mixing, partial re-noising, inpainting), and of longer walks."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from mdiff_jax.diffusion import gaussian, samplers
from mdiff_jax.diffusion.samplers import Denoise, State, Table
from mdiff_jax.diffusion.schedules import NoiseSchedule
from mdiff_jax.runtime.array_types import Array, Keys
from mdiff_jax.runtime.errors import InputError


def slerp(
    a: Float[Array, "n dim"], b: Float[Array, "n dim"], share: float | Float[Array, " n"]
) -> Float[Array, "n dim"]:
    """From a (share 0) to b (share 1) along the great circle (Shoemake 1985); the length changes linearly."""
    share = jnp.broadcast_to(share, a.shape[:1])[:, None]
    lengths = [jnp.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b)]
    a, b = a / lengths[0], b / lengths[1]
    angle = jnp.arccos(jnp.clip(jnp.sum(a * b, axis=-1, keepdims=True), -1.0, 1.0))
    sine = jnp.maximum(jnp.sin(angle), 1e-6)
    near, far = jnp.sin((1 - share) * angle) / sine, jnp.sin(share * angle) / sine
    weights = jnp.where(angle < 1e-3, 1 - share, near), jnp.where(angle < 1e-3, share, far)
    return (weights[0] * a + weights[1] * b) * ((1 - share) * lengths[0] + share * lengths[1])


def sdedit(
    denoise: Denoise,
    x0: State,
    *,
    keys: Keys,
    strength: float,
    schedule: NoiseSchedule,
    method: str,
    sample_timesteps: int,
    spacing: str,
    eta: float = 0.0,
    noise_scale: float = 1.0,
) -> State:
    """Noises x_0 up to `strength` in (0, 1] of the schedule and samples from there (Meng et al. 2022, SDEdit).

    Raises InputError for a strength that leaves no step.
    """
    t = samplers.select_timesteps(schedule, sample_timesteps, spacing)
    t = t[t < strength * schedule.timesteps]
    if not len(t) or strength > 1:
        raise InputError(f"strength = {strength} leaves none of {sample_timesteps} steps, or is above 1: use 0.1 … 1")
    noise = samplers.initial_noise(keys, x0.shape[1:])
    x = gaussian.q_sample(schedule, x0, jnp.full(len(x0), t[0]), noise)
    table = samplers.coefficient_table(schedule, t, method, eta=eta, noise_scale=noise_scale)
    return samplers.run(denoise, x, table, heun=method == "heun", keys=keys if table.noise.any() else None)


class _Repaint(NamedTuple):
    """A row of a sampler's table, the noise level it ends at, and the way back up from there."""

    row: Table
    salt: Array
    alpha: Array
    sigma: Array
    back: Array
    back_noise: Array


def inpaint(
    denoise: Denoise,
    known: State,
    mask: Bool[Array, "..."],
    *,
    keys: Keys,
    schedule: NoiseSchedule,
    sample_timesteps: int,
    spacing: str,
    resamples: int,
    eta: float = 1.0,
) -> State:
    """Returns `known` where `mask` (broadcast to its shape) is true, and samples that agree with it elsewhere.

    Each step is taken `resamples` times, noised back in between, so that both parts come to agree (Lugmayr et al. 2022,
    algorithm 1, which has eta = 1). Costs (n - 1) resamples + 1 estimates.
    """
    table = samplers.coefficient_table(
        schedule, samplers.select_timesteps(schedule, sample_timesteps, spacing), "ddim", eta=eta
    )
    rows, known = _repaint_rows(schedule, table, resamples), jnp.asarray(known, jnp.float32)

    def normal(salt: Array) -> Array:
        return samplers.normal(keys, salt, known.shape[1:])

    def step(x: Array, r: _Repaint) -> tuple[Array, None]:
        x0 = denoise(x, jnp.full(len(x), r.row.t)).astype(jnp.float32)
        x = r.row.x * x + r.row.x0 * x0 + r.row.noise * normal(r.salt)
        x = jnp.where(mask, r.alpha * known + r.sigma * normal(r.salt + 1), x)
        return r.back * x + r.back_noise * normal(r.salt + 2), None

    return jax.lax.scan(step, samplers.initial_noise(keys, known.shape[1:]), rows)[0]


def _repaint_rows(schedule: NoiseSchedule, table: Table, resamples: int) -> _Repaint:
    """Repeats all rows but the last `resamples` times; all repeats but the last lead back up."""
    if resamples < 1:
        raise InputError(f"resamples = {resamples}: use 1 (none) or more, 10 as in the paper")
    n = len(table.t)
    i = np.repeat(np.arange(n), [resamples] * (n - 1) + [1])
    again = np.append(i[1:] == i[:-1], False)
    abar_t = schedule.alphas_cumprod[table.t[i]]
    abar_s = np.append(schedule.alphas_cumprod[table.t[1:]], 1.0)[i]
    ratio = np.where(again, abar_t / abar_s, 1.0)
    columns = np.sqrt(abar_s), np.sqrt(1.0 - abar_s), np.sqrt(ratio), np.sqrt(1.0 - ratio)
    row = Table(*(_column(c[i]) for c in table))
    return _Repaint(row, 3 * jnp.arange(len(i)), *map(_column, columns))


def _column(values: np.ndarray) -> Array:
    return jnp.asarray(values, jnp.int32 if values.dtype.kind == "i" else jnp.float32)


def overlapping_windows(denoise: Denoise, windows: int, frames: Int[Array, " walks"], columns: int) -> Denoise:
    """Turns a denoiser of windows of `columns` columns into one of walks of `windows` windows that overlap by half.

    A walk's windows have `frames` frames each, the first of their columns, and so has the walk its own in front.
    `denoise` gets the windows of all walks in one batch, those of a walk one after the other. Where two overlap the
    estimate is their mean, weighted by the distance to a window's end (Bar-Tal et al. 2023, equation 5).
    """
    place = jnp.arange(columns)
    starts = (frames // 2)[:, None] * jnp.arange(windows)  # (walks, windows)
    weight = jnp.clip(jnp.minimum(place + 0.5, frames[:, None] - place - 0.5), 0.0)[:, :, None]  # (walks, columns, 1)

    def cut(walk: Array, starts: Array) -> Array:
        return jnp.moveaxis(walk[:, starts[:, None] + place], 1, 0)

    def join(estimates: Array, starts: Array, weight: Array, walk: Array) -> Array:
        where = starts[:, None] + place
        total = jnp.zeros_like(walk).at[:, where].add(jnp.moveaxis(weight * estimates, 0, 1))
        weights = jnp.zeros((walk.shape[1], 1)).at[where].add(weight)
        return total / jnp.maximum(weights, 1e-6)

    def denoise_walk(x: Array, t: Array) -> Array:
        pieces = jax.vmap(cut)(x, starts)
        estimates = denoise(pieces.reshape(-1, *pieces.shape[2:]), jnp.repeat(t, windows)).reshape(pieces.shape)
        return jax.vmap(join)(estimates, starts, weight, x)

    return denoise_walk
