"""Samplers: a table of coefficients and one `lax.scan` over its rows.

A sampler sees `denoise(x_t, t) -> x0` and nothing else; network, conditioning, guidance, clipping are bound outside.
Every method here is the same linear step, and differs in four numbers a row:

    x ← x · x_t  +  x0 · x0_estimate  +  other · x0_other  +  noise · z

The rows are computed in float64 and scanned over as arguments: under `jit`, tables of one length share one program.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from mdiff_jax.diffusion import gaussian, schedules
from mdiff_jax.diffusion.schedules import NoiseSchedule
from mdiff_jax.runtime.array_types import Array, Keys
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.ranges import SAMPLERS

SCALED_LOG_SNR = 8.0  # beyond it, noise or signal hardly changes
INITIAL_NOISE_SALT = 2**31 - 1  # where a sample's first noise is drawn, beyond any timestep

State = Float[Array, "batch ..."]
Denoise = Callable[[Array, Array], Array]  # x_t (B, …), integer t (B,) → estimate of x_0 (B, …)
Rows = Float[np.ndarray, " n"]
Collect = Callable[[Array, Array], tuple[Array, Array] | None]  # (x, x_0 estimate) → what a scan keeps of a row


class Table(NamedTuple):
    """One row a step, noisiest first; `other` is of the last row's estimate, or for Heun of the one at `t_next`."""

    t: Int[Array, " n"]
    t_next: Int[Array, " n"]
    x: Float[Array, " n"]
    x0: Float[Array, " n"]
    other: Float[Array, " n"]
    noise: Float[Array, " n"]


def sample(
    denoise: Denoise,
    x_T: State,
    *,
    schedule: NoiseSchedule,
    method: str,
    sample_timesteps: int,
    spacing: str,
    eta: float = 0.0,
    noise_scale: float = 1.0,
    keys: Keys | None = None,
    variance: str = "small",
) -> State:
    """Samples x_0 from x_T (B, …) of unit normal noise, through `sample_timesteps` of the schedule's steps.

    `eta` is for 'ddim': 0 deterministic, 1 as noisy as 'ddpm'; `variance` for 'ddpm': 'small' or 'large'; `noise_scale`
    as in `coefficient_table`. `keys` (B,), needed where there is noise: sample i depends on keys[i] and x_T[i] only.
    'heun' calls `denoise` twice a step, the others once. To share one compiled program among tables, jit `run`.
    """
    t = select_timesteps(schedule, sample_timesteps, spacing)
    table = coefficient_table(schedule, t, method, eta=eta, noise_scale=noise_scale, variance=variance)
    if not table.noise.any():
        keys = None
    elif keys is None:
        raise InputError(f"method {method!r} with eta = {eta} adds noise: pass keys, one for each sample")
    return run(denoise, x_T, table, heun=method == "heun", keys=keys)


def select_timesteps(schedule: NoiseSchedule, sample_timesteps: int, spacing: str) -> Int[np.ndarray, " n"]:
    """Returns `schedules.sampling_timesteps` of a schedule."""
    return schedules.sampling_timesteps(schedule.timesteps, sample_timesteps, spacing, schedule.log_snr)


def run(denoise: Denoise, x: State, table: Table, *, heun: bool = False, keys: Keys | None = None) -> State:
    """Scans over the rows of a table; x is kept in float32 (or wider) whatever `denoise` computes in."""
    return _scan(denoise, x, table, heun, keys, lambda x, x0: None)[0]


def trajectory(
    denoise: Denoise, x: State, table: Table, *, heun: bool = False, keys: Keys | None = None
) -> tuple[Float[Array, "n batch ..."], Float[Array, "n batch ..."]]:
    """Returns the state after each row, and the estimate of x_0 it was computed from; for plots."""
    return _scan(denoise, x, table, heun, keys, lambda x, x0: (x, x0))[1]


def _scan(
    denoise: Denoise,
    x: State,
    table: Table,
    heun: bool,
    keys: Keys | None,
    collect: Collect,
) -> tuple[State, Any]:
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    x = jnp.asarray(x, dtype)

    def estimate(x: Array, t: Array) -> Array:
        return denoise(x, jnp.full(x.shape[:1], t, jnp.int32)).astype(dtype)

    def step(carry: tuple[Array, Array], row: Table) -> tuple[tuple[Array, Array], Any]:
        x, other = carry
        x0 = estimate(x, row.t)
        if heun:
            other = estimate(row.x * x + (row.x0 + row.other) * x0, row.t_next)
        x = row.x * x + row.x0 * x0 + row.other * other
        if keys is not None:
            x = x + row.noise * normal(keys, row.t, x.shape[1:], dtype)
        return (x, x0), collect(x, x0)

    rows = Table(*(jnp.asarray(c, jnp.int32 if c.dtype.kind == "i" else dtype) for c in table))
    (x, _), collected = jax.lax.scan(step, (x, jnp.zeros_like(x)), rows)
    return x, collected


def normal(keys: Keys, salt: Array | int, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> State:
    """Returns (B, *shape) unit normal noise; row i is a function of keys[i] and salt."""
    return jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, salt), shape, dtype))(keys)


def initial_noise(keys: Keys, shape: tuple[int, ...]) -> State:
    """Returns x_T (B, *shape), independent of the noise of every step; `shape` is of one sample."""
    return normal(keys, INITIAL_NOISE_SALT, shape)


# --- the four numbers of each row, in float64


def coefficient_table(
    schedule: NoiseSchedule,
    timesteps: Int[np.ndarray, " n"],
    method: str,
    *,
    eta: float = 0.0,
    noise_scale: float = 1.0,
    variance: str = "small",
) -> Table:
    """Returns the table that goes through `timesteps` (descending) and from the last of them to abar = 1.

    Each row goes to the next row's timestep, whatever the spacing. An imperfect network takes away more than noise, at
    each step some of what makes windows differ and of their fine structure (exposure bias: Ning et al. 2024). A
    `noise_scale` above 1 leaves more: that factor for each unit of log-SNR, so that the number of steps hardly matters.
    """
    if method not in SAMPLERS:
        raise InputError(f"unknown sampler {method!r}: use one of {', '.join(SAMPLERS)}")
    if not 0 <= eta <= 1 or (eta and method != "ddim"):
        raise InputError(f"eta = {eta} with sampler {method!r}: eta lies in [0, 1] and is for 'ddim' alone")
    if variance not in ("small", "large"):
        raise InputError(f"unknown variance {variance!r} of sampler 'ddpm': use 'small' or 'large'")
    abar_t = schedule.alphas_cumprod[timesteps]
    abar_s = np.append(abar_t[1:], 1.0)
    if method == "ddpm":
        x, x0, other, noise = ddpm_rows(abar_t, abar_s, variance)
    elif method == "ddim":
        x, x0, other, noise = ddim_rows(abar_t, abar_s, eta)
    else:
        x, x0, other, noise = second_order_rows(abar_t, abar_s, method)
    x[:-1] *= noise_gain(schedule, timesteps[:-1], timesteps[1:], noise_scale)
    return Table(timesteps, np.append(timesteps[1:], 0), x, x0, other, noise)


def noise_gain(schedule: NoiseSchedule, t: Int[np.ndarray, " n"], s: Int[np.ndarray, " n"], noise_scale: float) -> Rows:
    """Returns the factors of x_t in steps t → s that leave `noise_scale` times the noise for each unit of log-SNR."""
    t, s = (schedule.log_snr[step].clip(-SCALED_LOG_SNR, SCALED_LOG_SNR) for step in (t, s))
    return noise_scale ** (s - t)


def ddpm_rows(abar_t: Rows, abar_s: Rows, variance: str) -> tuple[Rows, Rows, Rows, Rows]:
    """Ancestral sampling (Ho et al. 2020, algorithm 2) on a sub-sequence; no noise in the step to abar = 1.

    The variance is that of the posterior ('small'), or beta = 1 - abar_t / abar_s ('large') (section 3.2).
    """
    x, x0, small = gaussian.posterior_coefficients(abar_t, abar_s)
    chosen = small if variance == "small" else np.where(abar_s < 1, 1.0 - abar_t / abar_s, 0.0)
    return x, x0, np.zeros_like(x), np.sqrt(chosen)


def ddim_rows(abar_t: Rows, abar_s: Rows, eta: float) -> tuple[Rows, Rows, Rows, Rows]:
    """Song et al. 2021, equations 12 and 16, with eps = (x_t - alpha_t x_0) / sigma_t put in.

    Written for both directions: with eta = 0, s may be the noisier one (inversion).
    """
    noise = eta * np.sqrt((1.0 - abar_s) / (1.0 - abar_t)) * np.sqrt(1.0 - abar_t / np.maximum(abar_s, abar_t))
    x = np.sqrt(1.0 - abar_s - noise**2) / np.sqrt(1.0 - abar_t)
    return x, np.sqrt(abar_s) - np.sqrt(abar_t) * x, np.zeros_like(x), noise


def second_order_rows(abar_t: Rows, abar_s: Rows, method: str) -> tuple[Rows, Rows, Rows, Rows]:
    """Exponential integrators of the probability-flow ODE in lambda = log(alpha / sigma), for the x_0 estimate D.

    x_s = (sigma_s / sigma_t) x_t + sigma_s ∫ e^lambda D dlambda (Lu et al. 2022, DPM-Solver++, equation 8). 'dpmpp_2m'
    takes for D its value at the middle of the step, on the line through the one here and the one before (algorithm 2).
    'heun' takes the line through the one here and the one at the step's end (Hochbruck and Ostermann 2005, equation
    5.3): Heun's rule with the linear part solved exactly, so that it bears steps from pure noise, where the plain rule
    of Karras et al. 2022 does not. The step to abar = 1 is of first order.
    """
    with np.errstate(divide="ignore"):
        lam_t, lam_s = (0.5 * (np.log(abar) - np.log1p(-abar)) for abar in (abar_t, abar_s))
    h = lam_s - lam_t
    alpha_s, inner = np.sqrt(abar_s), abar_s < 1
    whole = -alpha_s * np.expm1(-h)  # of D, were it constant
    if method == "dpmpp_2m":
        h_before = np.append(np.inf, h[:-1])  # no estimate before the first row
        of_second_order = inner & np.isfinite(h_before)
        other = -0.5 * whole * np.divide(h, h_before, where=of_second_order, out=np.zeros_like(h))
    else:
        other = np.where(inner, alpha_s - whole / h, 0.0)
    return np.sqrt((1.0 - abar_s) / (1.0 - abar_t)), whole - other, other, np.zeros_like(h)
