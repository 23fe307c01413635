"""Laws of partial re-noising, inpainting and longer walks, on data that is known exactly."""

import functools

import analytic
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdiff_jax.diffusion import editing, samplers, schedules
from mdiff_jax.runtime.errors import InputError

SCHEDULE = schedules.cosine(1000)
MIXTURE = analytic.mixture(SCHEDULE.alphas_cumprod)


def draws(n):
    rng = np.random.default_rng(1)
    modes = rng.choice(analytic.MODES, n, p=analytic.WEIGHTS)
    return jnp.asarray((modes + analytic.WIDTH * rng.normal(size=n))[:, None], jnp.float32)


# --- on the circle


def test_slerp_keeps_to_the_circle_and_to_its_ends():
    a, b = jnp.array([[2.0, 0.0]] * 4), jnp.array([[0.0, 4.0]] * 3 + [[2.0, 0.0]])
    got = editing.slerp(a, b, jnp.array([0.0, 1.0, 0.5, 0.3]))
    np.testing.assert_allclose(got, [[2, 0], [0, 4], [3 / np.sqrt(2)] * 2, [2, 0]], atol=1e-5)
    np.testing.assert_allclose(editing.slerp(a, b, 0.5)[2], got[2])


# --- partial re-noising

KEYS = jax.random.split(jax.random.key(5), 2000)


def vary(strength, method="ddim", n=40, x0=None, **options):
    how = {"schedule": SCHEDULE, "sample_timesteps": n, "spacing": "trailing"} | options
    x0 = draws(2000) if x0 is None else x0
    return editing.sdedit(MIXTURE, x0, keys=KEYS[: len(x0)], strength=strength, method=method, **how)


def test_variations_are_the_further_off_the_stronger():
    x0 = draws(2000)
    distance = [float(jnp.mean(jnp.abs(vary(s) - x0))) for s in (0.05, 0.3, 0.6, 1.0)]
    assert (np.diff(distance) > 0).all() and distance[0] < 0.1


@pytest.mark.parametrize(("method", "options"), [("ddpm", {}), ("ddim", {"eta": 1.0}), ("dpmpp_2m", {})])
def test_variations_of_data_are_data(method, options):
    """The forward process and the way back keep the distribution of the data."""
    x = np.sort(analytic.mixture_cdf(np.asarray(vary(0.5, method, 100, **options))[:, 0], 1.0))
    assert np.abs(x - (np.arange(2000) + 0.5) / 2000).max() < 1.95 / np.sqrt(2000)  # Kolmogorov, 99.9 %


def test_a_variation_starts_at_the_first_step_below_its_strength():
    seen = []

    def denoise(x, t):
        jax.debug.callback(lambda t: seen.append(int(t)), t[0])
        return x

    how = {"schedule": SCHEDULE, "method": "ddim", "sample_timesteps": 10, "spacing": "trailing"}
    editing.sdedit(denoise, jnp.ones((1, 1)), keys=KEYS[:1], strength=0.4, **how)
    jax.effects_barrier()
    assert sorted(seen, reverse=True) == [399, 299, 199, 99]


@pytest.mark.parametrize("strength", [0.0, 0.001, 1.2])
def test_a_strength_without_steps_is_named(strength):
    with pytest.raises(InputError, match=f"strength = {strength}"):
        vary(strength)


# --- inpainting: two numbers of correlation 0.9, the first one known

CORRELATION = np.array([[1.0, 0.9], [0.9, 1.0]]) * 0.25


def pair(x, t):
    """Exact denoiser of N(0, CORRELATION)."""
    abar = jnp.asarray(SCHEDULE.alphas_cumprod, jnp.float32)[t[0]]
    cov = abar * CORRELATION + (1 - abar) * jnp.eye(2)
    return jnp.sqrt(abar) * x @ jnp.linalg.solve(cov, CORRELATION)


@functools.cache
def inpainted(resamples):
    known = jnp.tile(jnp.array([[0.5, 9.0]]), (2000, 1))
    how = {"schedule": SCHEDULE, "sample_timesteps": 100, "spacing": "trailing"}
    out = editing.inpaint(pair, known, jnp.array([True, False]), keys=KEYS, resamples=resamples, **how)
    return np.asarray(out, np.float64)


def test_the_known_part_is_kept_exactly():
    assert (inpainted(1)[:, 0] == 0.5).all() and (inpainted(10)[:, 0] == 0.5).all()


def test_resampling_brings_the_unknown_part_to_its_conditional_law():
    """E[b | a] = 0.9 a, Var[b | a] = 0.25 (1 - 0.9²); the deviation stays a little small."""
    mean = [inpainted(r)[:, 1].mean() for r in (1, 10)]
    assert abs(mean[1] - 0.45) < 0.02 < 0.1 < abs(mean[0] - 0.45)
    assert inpainted(10)[:, 1].std() == pytest.approx(0.5 * np.sqrt(1 - 0.81), rel=0.15)


@pytest.mark.parametrize("resamples", [1, 3])
def test_the_known_part_is_noised_as_much_as_the_rest(resamples):
    """Whenever the denoiser sees it, before or after the way back up, it is alpha_t known + sigma_t noise."""
    seen = []

    def denoise(x, t):
        jax.debug.callback(lambda t, x: seen.append((int(t), x.mean(), x.std())), t[0], x[:, 0], ordered=True)
        return x

    how = {"schedule": SCHEDULE, "sample_timesteps": 5, "spacing": "trailing", "resamples": resamples}
    editing.inpaint(denoise, jnp.full((2000, 2), 0.8), jnp.array([True, False]), keys=KEYS, **how)
    jax.effects_barrier()
    assert [t for t, _, _ in seen] == [t for t in (999, 799, 599, 399) for _ in range(resamples)] + [199]
    for t, mean, std in seen[1:]:
        alpha = np.sqrt(SCHEDULE.alphas_cumprod[t])
        assert (mean, std) == pytest.approx((0.8 * alpha, np.sqrt(1 - alpha**2)), abs=0.07)


def test_inpainting_everything_is_sampling():
    """With nothing known, resampling or not, it is DDIM with eta = 1 and keeps the law of the data."""
    how = {"schedule": SCHEDULE, "sample_timesteps": 100, "spacing": "trailing", "resamples": 2}
    out = editing.inpaint(MIXTURE, jnp.zeros((2000, 1)), jnp.array(False), keys=KEYS, **how)
    x = np.sort(analytic.mixture_cdf(np.asarray(out)[:, 0], 1.0))
    assert np.abs(x - (np.arange(2000) + 0.5) / 2000).max() < 1.95 / np.sqrt(2000)


def test_resamples_must_be_positive():
    with pytest.raises(InputError, match="resamples = 0"):
        how = {"schedule": SCHEDULE, "sample_timesteps": 3, "spacing": "trailing", "resamples": 0}
        editing.inpaint(pair, jnp.zeros((2, 2)), jnp.array([True, False]), keys=KEYS[:2], **how)


# --- longer walks


def correlated(x, t):
    """Exact denoiser of N(0, C) along time, C falling with the distance: windows of 8 frames."""
    where = jnp.arange(8)
    cov = 0.25 * jnp.exp(-jnp.abs(where[:, None] - where) / 2.0)
    abar = jnp.asarray(SCHEDULE.alphas_cumprod, jnp.float32)[t[0]]
    gain = jnp.sqrt(abar) * cov @ jnp.linalg.inv(abar * cov + (1 - abar) * jnp.eye(8))
    return jnp.einsum("st,bftc->bfsc", gain, x)


def test_longer_walks_have_no_seam():
    """Frames are as like their neighbours where a window begins as inside of windows, and as strong."""
    keys = jax.random.split(jax.random.key(0), 3000)
    joined = editing.overlapping_windows(correlated, 4, np.full(3000, 8), 8)
    x = samplers.sample(
        joined,
        samplers.initial_noise(keys, (1, 20, 1)),
        schedule=SCHEDULE,
        method="ddim",
        sample_timesteps=50,
        spacing="trailing",
    )
    x = np.asarray(x)[:, 0, :, 0]
    change = ((x[:, 1:] - x[:, :-1]) ** 2).mean(0)
    assert change.max() / change.min() < 1.5
    assert x.std(0).max() / x.std(0).min() < 1.25


def test_a_walk_of_one_window_is_that_window():
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 1)).astype(np.float32)
    t = np.array([500, 500])
    joined = editing.overlapping_windows(correlated, 1, np.full(2, 8), 8)
    np.testing.assert_allclose(joined(x, t), correlated(x, t), atol=1e-6)


def test_each_walk_is_joined_of_windows_of_its_own_frames():
    """Windows begin half of their frames apart, and what is behind their frames does not count."""
    frames, windows, columns = np.array([6, 8]), 3, 8
    seen = []

    def denoise(x, t):
        seen.append(np.asarray(x))
        behind = np.arange(columns) >= np.repeat(frames, windows)[:, None]
        return np.where(behind[:, None, :, None], 99.0, x)

    x = np.random.default_rng(0).normal(size=(2, 3, columns + (windows - 1) * columns // 2, 1)).astype(np.float32)
    joined = np.asarray(editing.overlapping_windows(denoise, windows, frames, columns)(x, np.array([5, 5])))
    for walk, n in enumerate(frames):
        for window in range(windows):
            start = window * (n // 2)
            np.testing.assert_array_equal(seen[0][walk * windows + window], x[walk, :, start : start + columns])
        own = slice(n + (windows - 1) * (n // 2))
        np.testing.assert_allclose(joined[walk, :, own], x[walk, :, own], atol=1e-5)
