"""The floor moved down and back is the floor; noise on it is gone; the rest does not change."""

import jax
import jax.numpy as jnp
import numpy as np

from mdiff_jax.diffusion import noise_floor


def test_down_and_back_leaves_all_but_the_floor():
    x = jnp.linspace(-1, 1, 401)
    back = noise_floor.restore_floor(noise_floor.lower_floor(x, 0.25))
    np.testing.assert_array_equal(back[x > noise_floor.EMPTY_LEVEL], x[x > noise_floor.EMPTY_LEVEL])
    np.testing.assert_array_equal(back[x <= noise_floor.EMPTY_LEVEL], -1.0)
    np.testing.assert_array_equal(noise_floor.lower_floor(x, 0.0), x)


def test_noise_on_the_lowered_floor_is_clipped_away():
    noise = 0.07 * jax.random.normal(jax.random.key(0), (10_000,))
    assert (noise_floor.restore_floor(-1.0 + noise) > -1).mean() > 0.4
    assert (noise_floor.restore_floor(noise_floor.lower_floor(-jnp.ones(10_000), 0.25) + noise) > -1).mean() < 0.001


def test_mixture_is_the_posterior_mean_of_a_spike_and_a_slab():
    """By Bayes' rule, whatever the noise, from the v of a slab whose estimate looks at no x_t."""
    rng = np.random.default_rng(0)
    floor, level, odds = -1.25, 0.2, 0.7
    for log_snr in (-6.0, -1.0, 0.0, 2.0, 6.0, 12.0):
        alpha, sigma = np.sqrt(1 / (1 + np.exp([-log_snr, log_snr])))
        x_t = alpha * rng.choice([floor, level, -0.9], (1, 4, 5, 1)) + sigma * rng.normal(size=(1, 4, 5, 1))
        variance = sigma**2 + (alpha * noise_floor.SLAB_DEVIATION) ** 2
        spike = np.exp(-((x_t - alpha * floor) ** 2) / (2 * sigma**2)) / sigma * np.exp(odds)
        slab = np.exp(-((x_t - alpha * level) ** 2) / (2 * variance)) / np.sqrt(variance)
        expected = level + spike / (spike + slab) * (floor - level)
        v = (alpha * x_t - level) / sigma
        output = jnp.asarray(np.concatenate([v, np.full_like(v, odds)], -1), jnp.float32)
        mixed = noise_floor.mix_in_floor(output, jnp.asarray(x_t, jnp.float32), jnp.array([log_snr]), floor)
        x0 = alpha * x_t - sigma * np.asarray(mixed)
        np.testing.assert_allclose(x0, expected, atol=2e-3)
