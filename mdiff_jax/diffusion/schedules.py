"""Noise schedules as float64 tables over T training steps, and sub-sequences of steps for sampling.

A spectrogram x_0 at step t is x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps, with abar_t = `alphas_cumprod[t]`, step 0
the least noisy. Networks see log(abar_t / (1 - abar_t)), so that a change of T is a change of table and nothing else.
"""

import dataclasses
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.ranges import SPACINGS

LOG_SNR_BOUND = 20.0  # |log-SNR| shown to a network; beyond it one part is below float32 resolution of the other
MAX_BETA = 0.999  # Nichol and Dhariwal 2021, section 3.2


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """A table over T steps; compared by identity, so that it may be a static argument. Read-only."""

    alphas_cumprod: Float[np.ndarray, " steps"]

    def __post_init__(self) -> None:
        abar = np.array(self.alphas_cumprod, np.float64)
        if not (abar.size and abar[0] < 1 and abar[-1] >= 0 and (np.diff(abar) < 0).all()):
            raise InputError("alphas_cumprod must fall strictly inside [0, 1): build it with schedules.make")
        abar.setflags(write=False)
        object.__setattr__(self, "alphas_cumprod", abar)

    @property
    def timesteps(self) -> int:
        """T."""
        return len(self.alphas_cumprod)

    @cached_property
    def log_snr(self) -> Float[np.ndarray, " steps"]:
        """log(abar / (1 - abar)), clipped to ±20: finite at zero terminal SNR too."""
        bound = np.exp(-LOG_SNR_BOUND)  # of abar and of 1 - abar, which are never both small
        abar = self.alphas_cumprod
        return np.log(np.maximum(abar, bound)) - np.log(np.maximum(1.0 - abar, bound))


def from_betas(betas: Float[np.ndarray, " steps"]) -> NoiseSchedule:
    """abar_t = prod_{s <= t} (1 - beta_s) (Ho et al. 2020, section 2)."""
    return NoiseSchedule(np.cumprod(1.0 - np.minimum(betas, MAX_BETA)))


def linear(timesteps: int) -> NoiseSchedule:
    """beta from 1e-4 to 0.02 at T = 1000 (Ho et al. 2020, section 4).

    For another T the betas are scaled by 1000 / T, so that the noise at the end is about the same.
    """
    scale = 1000.0 / _positive(timesteps)
    return from_betas(np.linspace(scale * 1e-4, scale * 0.02, timesteps))


def cosine(timesteps: int) -> NoiseSchedule:
    """abar(u) = cos²(π/2 (u + s) / (1 + s)), s = 0.008, betas at most 0.999 (Nichol and Dhariwal 2021, equation 17)."""
    u = np.arange(_positive(timesteps) + 1) / timesteps
    abar = np.cos((u + 0.008) / 1.008 * np.pi / 2) ** 2
    return from_betas(1.0 - abar[1:] / abar[:-1])


def shift_log_snr(schedule: NoiseSchedule, shift: float) -> NoiseSchedule:
    """Adds to the log-SNR of every step (Hoogeboom et al. 2023, equation 12), without going through a logarithm."""
    signal, noise = schedule.alphas_cumprod * np.exp(shift), 1.0 - schedule.alphas_cumprod
    return NoiseSchedule(signal / (signal + noise))


def rescale_to_zero_terminal_snr(schedule: NoiseSchedule) -> NoiseSchedule:
    """Shifts and scales sqrt(abar) so that the last is 0 and the first stays (Lin et al. 2023, algorithm 1)."""
    alpha = np.sqrt(schedule.alphas_cumprod)
    return NoiseSchedule(((alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])) ** 2)


def make(name: str, timesteps: int, *, shift: float = 0.0, zero_terminal_snr: bool = False) -> NoiseSchedule:
    """Returns the schedule 'linear' or 'cosine', shifted in log-SNR, then rescaled to end at zero SNR if asked."""
    if name not in ("linear", "cosine"):
        raise InputError(f"unknown noise schedule {name!r}: use 'linear' or 'cosine'")
    schedule = {"linear": linear, "cosine": cosine}[name](timesteps)
    if shift:
        schedule = shift_log_snr(schedule, shift)
    return rescale_to_zero_terminal_snr(schedule) if zero_terminal_snr else schedule


def sampling_timesteps(
    T: int, n: int, spacing: str, log_snr: Float[np.ndarray, " steps"] | None = None
) -> Int[np.ndarray, " n"]:
    """Selects n of the T training steps, descending.

    'leading' multiples of T // n from 0; 'trailing' back from T - 1 in strides of T / n; 'linspace' both ends (Lin et
    al. 2023, table 2; rounding half to even, as is usual); 'logsnr' nearest to uniform in `log_snr` (its one use).
    'leading' never starts at the noisiest step; with n = 1 'linspace' does not either.
    """
    if not 1 <= n <= T:
        raise InputError(f"sample_timesteps = {n} does not lie in 1 … {T}, the training timesteps: choose fewer steps")
    if spacing == "leading":
        return np.arange(n)[::-1] * (T // n)
    if spacing == "trailing":
        return np.arange(T, 0, -T / n)[:n].round().astype(int) - 1
    if spacing == "linspace":
        return np.linspace(0, T - 1, n)[::-1].round().astype(int)
    if spacing == "logsnr":
        if log_snr is None:
            raise InputError("spacing 'logsnr' needs the schedule: pass log_snr=schedule.log_snr")
        return _uniform_in_log_snr(log_snr, n)
    raise InputError(f"unknown spacing {spacing!r}: use one of {', '.join(SPACINGS)}")


def _uniform_in_log_snr(log_snr: Float[np.ndarray, " steps"], n: int) -> Int[np.ndarray, " n"]:
    """Selects the steps nearest to n uniform levels, moved apart where several levels are nearest to one step."""
    rank = np.arange(n)
    levels = np.linspace(log_snr[-1], log_snr[0], n)
    t = np.abs(log_snr - levels[:, None]).argmin(axis=1)
    t = np.minimum.accumulate(t + rank) - rank  # each at least one below the one before
    return np.maximum(t, rank[::-1])  # which leaves room for those after it


def _positive(timesteps: int) -> int:
    if timesteps < 2:
        raise InputError(f"timesteps = {timesteps}: a noise schedule needs at least 2")
    return timesteps
