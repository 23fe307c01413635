"""The Gaussian diffusion: forward process, posterior, the three parametrisations, loss weights, training timesteps.

x_t = alpha x_0 + sigma eps with alpha = sqrt(abar_t), sigma = sqrt(1 - abar_t); v = alpha eps - sigma x_0 (Salimans and
Ho 2022, appendix D). Coefficients are computed in float64 from the table and rounded once. With a NumPy `t` they stay
float64, so that NumPy arguments are converted in float64 throughout.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from mdiff_jax.diffusion.schedules import NoiseSchedule
from mdiff_jax.runtime.array_types import Array, Key, LogSnr, Timestep
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.ranges import PREDICTIONS, WEIGHTINGS

MIN_SNR_GAMMA = 5.0  # Hang et al. 2023, section 3.4
SIGMOID_BIAS = -3.0  # log-SNR above which errors count less and less; Hoogeboom et al. 2024

Signal = Float[Array, "batch ..."]
PerExample = Float[Array, " batch"]


def gather_schedule(table: Float[np.ndarray, " steps"], t: Timestep) -> PerExample:
    """Returns table[t]: float64 for a NumPy t, else in the default float type (float32)."""
    return table[t] if isinstance(t, np.ndarray) else jnp.asarray(table, float)[t]


def log_snr(schedule: NoiseSchedule, t: Timestep) -> LogSnr:
    """Returns log(abar_t / (1 - abar_t)), clipped to ±20: the noise level as networks see it."""
    return gather_schedule(schedule.log_snr, t)


def alpha_sigma(schedule: NoiseSchedule, t: Timestep, ndim: int) -> tuple[Array, Array]:
    """Returns (alpha, sigma), each (B, 1, …, 1) with `ndim` axes."""
    abar, shape = schedule.alphas_cumprod, (-1,) + (1,) * (ndim - 1)
    return gather_schedule(np.sqrt(abar), t).reshape(shape), gather_schedule(np.sqrt(1.0 - abar), t).reshape(shape)


def q_sample(schedule: NoiseSchedule, x0: Signal, t: Timestep, noise: Signal) -> Signal:
    """Returns x_t ~ q(x_t | x_0) (Ho et al. 2020, equation 4)."""
    alpha, sigma = alpha_sigma(schedule, t, x0.ndim)
    return alpha * x0 + sigma * noise


def prediction_target(schedule: NoiseSchedule, x0: Signal, noise: Signal, t: Timestep, prediction: str) -> Signal:
    """Returns the output that stands for (x_0, eps), as `predict_x0_and_eps` has it; well conditioned at every t."""
    check_prediction(schedule, prediction)
    if prediction == "x0":
        return x0
    if prediction == "eps":
        return noise
    alpha, sigma = alpha_sigma(schedule, t, x0.ndim)
    return alpha * noise - sigma * x0


def predict_x0_and_eps(
    schedule: NoiseSchedule, x_t: Signal, t: Timestep, output: Signal, prediction: str
) -> tuple[Signal, Signal]:
    """Returns (x_0, eps) that the output of a network stands for; only x_0 from eps has to divide by alpha."""
    check_prediction(schedule, prediction)
    alpha, sigma = alpha_sigma(schedule, t, x_t.ndim)
    if prediction == "x0":
        return output, (x_t - alpha * output) / sigma
    if prediction == "eps":
        return (x_t - sigma * output) / alpha, output
    return alpha * x_t - sigma * output, sigma * x_t + alpha * output


def predict_x0(schedule: NoiseSchedule, x_t: Signal, t: Timestep, output: Signal, prediction: str) -> Signal:
    """Returns the estimate of x_0 that the output of a network stands for."""
    return predict_x0_and_eps(schedule, x_t, t, output, prediction)[0]


def posterior_coefficients(
    abar_t: Float[np.ndarray, " n"], abar_s: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Returns the coefficients of x_t and x_0 and the variance of q(x_s | x_t, x_0), for any s less noisy than t.

    Ho et al. 2020, equations 6 and 7, with alpha_t replaced by abar_t / abar_s.
    """
    alpha = abar_t / abar_s
    beta = 1.0 - alpha
    of_x_t = np.sqrt(alpha) * (1.0 - abar_s) / (1.0 - abar_t)
    of_x_0 = np.sqrt(abar_s) * beta / (1.0 - abar_t)
    return of_x_t, of_x_0, beta * (1.0 - abar_s) / (1.0 - abar_t)


def loss_weight(schedule: NoiseSchedule, t: Timestep, prediction: str, weighting: str) -> PerExample:
    """Returns the factor (B,) of each example's mean squared error of the prediction target.

    'plain' is 1; 'min_snr' is min(SNR, 5) on the error of x_0 (Hang et al. 2023, equation 8); 'sigmoid' is
    1/2 sigmoid(bias - log-SNR) on the error of eps, times -d log-SNR / dt with t in [0, 1], so that it does not depend
    on the schedule (Hoogeboom et al. 2024, after Kingma and Gao 2023). One example's errors are tied:
    |x_0 error|² SNR = |eps error|², |x_0 error|² (SNR + 1) = |v error|².
    """
    return gather_schedule(_weight_table(schedule, prediction, weighting), t)


def _weight_table(schedule: NoiseSchedule, prediction: str, weighting: str) -> Float[np.ndarray, " steps"]:
    check_prediction(schedule, prediction)
    snr = np.exp(schedule.log_snr)
    of_x0 = {"x0": np.ones_like(snr), "eps": 1.0 / snr, "v": 1.0 / (1.0 + snr)}[prediction]
    if weighting == "plain":
        return np.ones_like(snr)
    if weighting == "min_snr":
        return np.minimum(snr, MIN_SNR_GAMMA) * of_x0
    if weighting == "sigmoid":
        speed = -np.gradient(schedule.log_snr, 1.0 / schedule.timesteps)
        return 0.5 * speed * snr / (1.0 + snr * np.exp(-SIGMOID_BIAS)) * of_x0
    raise InputError(f"unknown loss weighting {weighting!r}: use one of {', '.join(WEIGHTINGS)}")


def stratified_timesteps(key: Key, example_index: Int[Array, " batch"], batch_size: int, timesteps: int) -> Timestep:
    """Returns one t for each example, spread evenly over the global batch (Kingma et al. 2021, appendix I.1).

    `key` is the step's, the same on every device; `example_index` is global, its remainder modulo `batch_size` is the
    position in the batch. Each t by itself is exactly uniform on 0 … timesteps - 1. Computed in integers, which needs
    timesteps · batch_size < 2^30.
    """
    offset = jax.random.randint(key, (), 0, timesteps * batch_size)
    position = jnp.asarray(example_index) % batch_size
    return (offset + position * timesteps) // batch_size % timesteps


def check_prediction(schedule: NoiseSchedule, prediction: str) -> None:
    """Raises InputError for an unknown prediction, and for 'eps' where the last step holds no signal."""
    if prediction not in PREDICTIONS:
        raise InputError(f"unknown prediction {prediction!r}: use one of {', '.join(PREDICTIONS)}")
    if prediction == "eps" and schedule.alphas_cumprod[-1] == 0:
        raise InputError("prediction 'eps' determines no x_0 at zero terminal SNR: use 'v' or 'x0'")
