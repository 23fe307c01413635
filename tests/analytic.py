"""Data whose exact denoiser is known: a Gaussian, and a mixture of two on a line. Used by several test files."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr
from scipy.stats import norm

MEAN, STD = 0.3, 0.5  # of the Gaussian
MODES, WIDTH, WEIGHTS = np.array([-0.8, 0.7]), 0.2, np.array([0.3, 0.7])  # of the mixture


def gaussian(abar_table, mean=MEAN, std=STD):
    """E[x_0 | x_t] for x_0 ~ N(mean, std²), elementwise."""

    def denoise(x, t):
        abar = jnp.asarray(abar_table, x.dtype)[t].reshape((-1,) + (1,) * (x.ndim - 1))
        gain = jnp.sqrt(abar) * std**2 / (abar * std**2 + 1 - abar)
        return mean + gain * (x - jnp.sqrt(abar) * mean)

    return denoise


def mixture(abar_table):
    """E[x_0 | x_t] for the mixture, elementwise."""

    def denoise(x, t):
        abar = jnp.asarray(abar_table, x.dtype)[t].reshape((-1,) + (1,) * x.ndim)
        alpha, var, x = jnp.sqrt(abar), abar * WIDTH**2 + 1 - abar, x[..., None]
        share = jax.nn.softmax(jnp.log(WEIGHTS) - 0.5 * (x - alpha * MODES) ** 2 / var, axis=-1)
        return jnp.sum(share * (MODES + alpha * WIDTH**2 / var * (x - alpha * MODES)), axis=-1)

    return denoise


def mixture_cdf(x, abar):
    """P(x_t <= x), float64. On a line the probability-flow ODE keeps it, so it gives the exact flow."""
    std = np.sqrt(abar * WIDTH**2 + 1 - abar)
    return (WEIGHTS * ndtr((np.asarray(x, np.float64)[..., None] - np.sqrt(abar) * MODES) / std)).sum(-1)


def mixture_log_density(x):
    return np.log((WEIGHTS * norm.pdf(np.asarray(x, np.float64)[..., None], MODES, WIDTH)).sum(-1))


def mixture_flow(x, abar_from, abar_to):
    """The exact probability-flow ODE from one noise level to another, by bisection."""
    target, low, high = mixture_cdf(x, abar_from), np.full(np.shape(x), -8.0), np.full(np.shape(x), 8.0)
    for _ in range(60):
        middle = (low + high) / 2
        below = mixture_cdf(middle, abar_to) < target
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2
