"""Laws of the samplers: the tables, their order of convergence, what is drawn from data that is known exactly."""

import functools
import os
import subprocess
import sys

import analytic
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdiff_jax.diffusion import samplers, schedules
from mdiff_jax.diffusion.schedules import NoiseSchedule
from mdiff_jax.runtime import ranges
from mdiff_jax.runtime.errors import InputError

LINEAR, COSINE = schedules.linear(1000), schedules.cosine(1000)
ZERO = schedules.make("cosine", 1000, zero_terminal_snr=True)
EVERY = [
    (method, schedule, n, spacing)
    for method in ranges.SAMPLERS
    for schedule in (LINEAR, COSINE, ZERO)
    for n, spacing in [(2, "linspace"), (7, "trailing"), (50, "leading"), (64, "logsnr")]
]


def plan(method, schedule, n, spacing, **options):
    return samplers.coefficient_table(schedule, samplers.select_timesteps(schedule, n, spacing), method, **options)


def levels(schedule, table):
    """abar at the beginning and at the end of each row."""
    abar = schedule.alphas_cumprod[table.t]
    return abar, np.append(abar[1:], 1.0)


# --- tables


@pytest.mark.parametrize("schedule", [LINEAR, COSINE])
@pytest.mark.parametrize("n", [7, 50, 1000])
def test_ddim_with_eta_1_is_ddpm_one_coefficient_after_the_other(schedule, n):
    ddim, ddpm = plan("ddim", schedule, n, "trailing", eta=1.0), plan("ddpm", schedule, n, "trailing")
    for name in samplers.Table._fields:
        np.testing.assert_allclose(getattr(ddim, name), getattr(ddpm, name), rtol=1e-9, atol=1e-12, err_msg=name)


def test_noise_is_in_proportion_to_eta():
    half, full = (plan("ddim", COSINE, 20, "trailing", eta=eta).noise for eta in (0.5, 1.0))
    np.testing.assert_allclose(half, full / 2)
    assert not plan("ddim", COSINE, 20, "trailing").noise.any()


@pytest.mark.parametrize(("method", "schedule", "n", "spacing"), EVERY)
def test_each_row_leads_to_the_next_steps_marginal(method, schedule, n, spacing):
    """With the estimate always right, x_t = alpha x_0 + sigma eps goes to just that at the next step of the table."""
    table = plan(method, schedule, n, spacing)
    abar_t, abar_s = levels(schedule, table)
    np.testing.assert_allclose(table.x * np.sqrt(abar_t) + table.x0 + table.other, np.sqrt(abar_s), rtol=1e-9)
    of_eps = np.hypot(table.x * np.sqrt(1 - abar_t), table.noise)
    np.testing.assert_allclose(of_eps, np.sqrt(1 - abar_s), rtol=1e-9, atol=1e-12)
    assert (table.t_next[:-1] == table.t[1:]).all() and table.t_next[-1] >= 0


@pytest.mark.parametrize(("method", "schedule", "n", "spacing"), EVERY)
def test_the_last_row_returns_the_estimate(method, schedule, n, spacing):
    table = plan(method, schedule, n, spacing)
    last = [float(c[-1]) for c in (table.x, table.x0, table.other, table.noise)]
    assert last == pytest.approx([0, 1, 0, 0], abs=1e-12)
    assert all(np.isfinite(c).all() for c in table)


def test_large_variance_is_beta():
    small, large = (plan("ddpm", LINEAR, 1000, "leading", variance=v) for v in ("small", "large"))
    np.testing.assert_allclose(large.noise[:-1] ** 2, np.linspace(0.02, 1e-4, 1000)[:-1], rtol=1e-9)
    assert large.noise[-1] == 0 and (large.noise[:-1] > small.noise[:-1]).all()
    np.testing.assert_array_equal(large.x, small.x)


def test_dpmpp_2m_is_algorithm_2_of_lu_et_al():
    """Written as there: r_i = h_(i-1) / h_i, D_i = (1 + 1 / (2 r_i)) D_(i-1) - 1 / (2 r_i) D_(i-2)."""
    table = plan("dpmpp_2m", LINEAR, 10, "linspace")
    alpha, sigma = (f(LINEAR.alphas_cumprod[table.t]) for f in (np.sqrt, lambda a: np.sqrt(1 - a)))
    lam = np.log(alpha / sigma)
    for i in range(1, 9):  # from t[i] to t[i + 1]
        h, r = lam[i + 1] - lam[i], (lam[i] - lam[i - 1]) / (lam[i + 1] - lam[i])
        assert table.x[i] == pytest.approx(sigma[i + 1] / sigma[i])
        assert table.x0[i] == pytest.approx(-alpha[i + 1] * np.expm1(-h) * (1 + 1 / (2 * r)))
        assert table.other[i] == pytest.approx(alpha[i + 1] * np.expm1(-h) / (2 * r))
    assert table.other[0] == 0


def test_heun_integrates_a_line_in_log_snr_exactly():
    table = plan("heun", COSINE, 12, "linspace")
    abar_t, abar_s = levels(COSINE, table)
    for row in range(11):
        lam_t, lam_s = (np.arctanh(2 * abar[row] - 1) for abar in (abar_t, abar_s))  # 1/2 logit
        lam, dlam = np.linspace(lam_t, lam_s, 20_001, retstep=True)
        line = 0.3 - 0.2 * lam
        integral = np.sqrt(1 - abar_s[row]) * np.trapezoid(np.exp(lam) * line, dx=dlam)
        assert table.x0[row] * line[0] + table.other[row] * line[-1] == pytest.approx(integral, rel=1e-5)


@pytest.mark.parametrize("method", ranges.SAMPLERS)
def test_noise_scale_leaves_more_noise_the_same_in_any_number_of_steps(method):
    for n in (8, 32, 64):
        plain, scaled = (plan(method, COSINE, n, "trailing", noise_scale=scale) for scale in (1.0, 1.01))
        left = np.prod(scaled.x[:-1] / plain.x[:-1])
        reached = COSINE.log_snr[plain.t[-1]].clip(-8, 8) + 8
        assert left == pytest.approx(1.01**reached), "a factor for each unit of log-SNR"
        np.testing.assert_array_equal(scaled.x0, plain.x0)
        assert scaled.x[-1] == plain.x[-1]


# --- order of convergence

UNIFORM = NoiseSchedule(1 / (1 + np.exp(-np.linspace(12.0, -6.0, 4097))))  # log-SNR uniform in t


@functools.partial(jax.jit, static_argnames="heun")
def flow(x, table, heun):
    denoise = analytic.mixture(UNIFORM.alphas_cumprod)
    return samplers.trajectory(denoise, x, table, heun=heun)[0][-2]  # at the last timestep of the table


@functools.cache
def errors(method):
    """Largest error at t = 0 of the probability-flow ODE of the mixture, in 64, 128, 256 steps."""
    x = np.linspace(-2.5, 2.5, 41)
    exact = analytic.mixture_flow(x, UNIFORM.alphas_cumprod[-1], UNIFORM.alphas_cumprod[0])
    found = []
    for n in (64, 128, 256):
        table = samplers.coefficient_table(UNIFORM, np.arange(4096, -1, -4096 // n), method)
        found.append(np.abs(flow(x, table, method == "heun") - exact).max())
    return np.array(found)


@pytest.mark.parametrize(("method", "order"), [("ddim", 1), ("dpmpp_2m", 2), ("heun", 2)])
def test_order_of_convergence(method, order):
    e = errors(method)
    assert np.log2(e[:-1] / e[1:])[-1] == pytest.approx(order, abs=0.12), e


def test_second_order_pays():
    assert errors("dpmpp_2m")[0] < errors("ddim")[0] / 4 and errors("heun")[0] < errors("dpmpp_2m")[0]


# --- samples of known data


def gaussian_moments(schedule, table):
    """Mean and deviation of what a table of one estimate a row makes of N(0, 1), exactly: every row is affine."""
    abar = schedule.alphas_cumprod[table.t]
    gain = np.sqrt(abar) * analytic.STD**2 / (abar * analytic.STD**2 + 1 - abar)
    offset = analytic.MEAN * (1 - gain * np.sqrt(abar))
    state, last = np.array([1.0, 0.0]), np.zeros(2)  # factor of x_T, constant
    var = 0.0
    for i in range(len(abar)):
        estimate = gain[i] * state + [0.0, offset[i]]
        state, last = table.x[i] * state + table.x0[i] * estimate + table.other[i] * last, estimate
        var = (table.x[i] + table.x0[i] * gain[i]) ** 2 * var + table.noise[i] ** 2
    return state[1], np.sqrt(state[0] ** 2 + var)


@pytest.mark.parametrize("schedule", [LINEAR, COSINE])
@pytest.mark.parametrize(("method", "n", "bound"), [("ddpm", 1000, 1e-2), ("ddim", 500, 1e-2), ("dpmpp_2m", 50, 1e-2)])
def test_gaussian_data_are_drawn_with_their_moments(schedule, method, n, bound):
    mean, std = gaussian_moments(schedule, plan(method, schedule, n, "trailing"))
    assert mean == pytest.approx(analytic.MEAN, abs=bound) and std == pytest.approx(analytic.STD, abs=bound)


KEYS = jax.random.split(jax.random.key(0), 4096)


@functools.partial(jax.jit, static_argnames="heun")
def draw_mixture(table, keys, heun):
    x_T = samplers.initial_noise(KEYS, ())
    return samplers.run(analytic.mixture(COSINE.alphas_cumprod), x_T, table, heun=heun, keys=keys)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("ddpm", {}),
        ("ddpm", {"variance": "large"}),
        ("ddim", {}),
        ("ddim", {"eta": 0.5}),
        ("dpmpp_2m", {}),
        ("heun", {}),
    ],
)
def test_mixture_is_drawn_with_its_density(method, options):
    """Moments, share of each mode, log-likelihood against that of 10^6 exact draws, distance of distributions."""
    table = plan(method, COSINE, 200, "trailing", **options)
    x = np.asarray(draw_mixture(table, KEYS if table.noise.any() else None, method == "heun"), np.float64)
    rng = np.random.default_rng(0)
    exact = rng.choice(analytic.MODES, 10**6, p=analytic.WEIGHTS) + analytic.WIDTH * rng.normal(size=10**6)
    assert x.mean() == pytest.approx(exact.mean(), abs=0.035)  # 3 deviations of a mean of 4096
    assert x.std() == pytest.approx(exact.std(), abs=0.03)
    assert (x < 0).mean() == pytest.approx(0.3, abs=0.022)
    likelihood, known = analytic.mixture_log_density(x).mean(), analytic.mixture_log_density(exact).mean()
    assert likelihood == pytest.approx(known, abs=0.06)
    order = np.sort(analytic.mixture_cdf(x, 1.0))
    assert np.abs(order - (np.arange(4096) + 0.5) / 4096).max() < 1.95 / np.sqrt(4096)  # Kolmogorov, 99.9 %


# --- contract


def sample(x_T, method="ddpm", denoise=None, **options):
    options = {"schedule": COSINE, "sample_timesteps": 5, "spacing": "trailing"} | options
    return samplers.sample(denoise or analytic.gaussian(COSINE.alphas_cumprod), x_T, method=method, **options)


def test_a_sample_does_not_depend_on_its_batch_bit_for_bit():
    keys = KEYS[:9]
    x_T = samplers.initial_noise(keys, (5, 3))
    together = np.asarray(sample(x_T, keys=keys))
    alone = np.asarray(sample(x_T[4:5], keys=keys[4:5]))
    reordered = np.asarray(sample(x_T[::-1], keys=keys[::-1]))[::-1]
    assert (together[4:5] == alone).all() and (together == reordered).all()
    assert np.std(together, axis=0).min() > 0


def test_a_sample_does_not_depend_on_the_number_of_devices():
    """Four devices made of one, in a process of its own."""
    program = """
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from mdiff_jax.diffusion import samplers, schedules
schedule, keys = schedules.cosine(100), jax.random.split(jax.random.key(0), 8)
def draw(keys):
    return samplers.sample(lambda x, t: 0.7 * x, samplers.initial_noise(keys, (6,)), schedule=schedule, method="ddpm",
                           sample_timesteps=4, spacing="trailing", keys=keys)
over = NamedSharding(Mesh(np.array(jax.devices()), ("d",)), P("d"))
one, four = jax.jit(draw)(keys), jax.jit(draw, in_shardings=over, out_shardings=over)(keys)
assert len(jax.devices()) == 4 and len(four.sharding.device_set) == 4
np.testing.assert_allclose(np.asarray(four), np.asarray(one), rtol=1e-6, atol=1e-6)
"""
    env = os.environ | {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4"}
    subprocess.run([sys.executable, "-c", program], env=env, check=True, timeout=120)


def test_noise_is_fresh_in_each_step_and_for_each_key():
    assert jnp.std(samplers.initial_noise(KEYS, ())) == pytest.approx(1, abs=0.05)
    drawn = [samplers.initial_noise(KEYS[:500], (2,)), *(samplers.normal(KEYS[:500], t, (2,)) for t in (0, 1, 999))]
    correlation = np.corrcoef(np.concatenate(drawn, axis=1).T)
    assert np.abs(correlation - np.eye(8)).max() < 0.2


def test_noise_of_a_step_is_folded_with_its_timestep():
    """Zero estimates leave the noise alone: what two rows add is what their timesteps give."""
    x_T = jnp.zeros((3, 4))
    got = samplers.trajectory(lambda x, t: 0 * x, x_T, plan("ddpm", COSINE, 3, "trailing"), keys=KEYS[:3])[0][0]
    table = plan("ddpm", COSINE, 3, "trailing")
    np.testing.assert_allclose(got, table.noise[0] * samplers.normal(KEYS[:3], int(table.t[0]), (4,)), rtol=1e-6)


def test_denoiser_sees_the_tables_timesteps_in_turn():
    seen = samplers.trajectory(
        lambda x, t: jnp.broadcast_to(t[:, None].astype(float), x.shape),
        jnp.zeros((2, 3)),
        plan("ddim", LINEAR, 30, "leading"),
    )[1]
    assert seen.shape == (30, 2, 3)
    assert (seen[:, 0, 0] == schedules.sampling_timesteps(1000, 30, "leading")).all()


def test_heun_sees_the_end_of_each_step():
    calls = []

    def denoise(x, t):
        jax.debug.callback(lambda t: calls.append(int(t)), t[0], ordered=True)
        return x

    sample(jnp.zeros((1, 2)), "heun", denoise, sample_timesteps=3)
    jax.effects_barrier()
    assert calls[:5] == [999, 666, 666, 332, 332]


def test_trajectory_ends_where_run_does():
    x_T, table = samplers.initial_noise(KEYS[:2], (3,)), plan("dpmpp_2m", COSINE, 5, "trailing")
    denoise = analytic.gaussian(COSINE.alphas_cumprod)
    states, estimates = samplers.trajectory(denoise, x_T, table)
    assert states.shape == estimates.shape == (5, 2, 3)
    np.testing.assert_allclose(states[-1], samplers.run(denoise, x_T, table), rtol=1e-6)
    np.testing.assert_allclose(states[-1], estimates[-1], rtol=1e-6)


def test_tables_of_one_length_share_a_program_and_the_state_is_given_away():
    traced = []

    def denoise(x, t):
        traced.append(x.shape)
        return 0.5 * x

    run = jax.jit(functools.partial(samplers.run, denoise), donate_argnums=0)
    for method, schedule, spacing in [("ddim", LINEAR, "leading"), ("dpmpp_2m", COSINE, "trailing")]:
        x_T = jnp.ones((2, 3))
        run(x_T, plan(method, schedule, 6, spacing))
        assert x_T.is_deleted()
    assert len(traced) == 1


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_state_is_float32_whatever_the_network_computes_in(dtype):
    x = sample(jnp.ones((2, 3), dtype), "dpmpp_2m", lambda x, t: (0.5 * x).astype(dtype))
    assert x.dtype == jnp.float32


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "plms"}, "'plms'.*ddpm, ddim, dpmpp_2m, heun"),
        ({"method": "ddpm"}, "pass keys"),
        ({"method": "ddim", "eta": 0.1}, "eta = 0.1.*pass keys"),
        ({"method": "ddim", "eta": 1.5, "keys": KEYS[:2]}, r"eta = 1.5.*\[0, 1\]"),
        ({"method": "ddim", "eta": -0.1, "keys": KEYS[:2]}, "eta = -0.1"),
        ({"method": "heun", "eta": 0.5, "keys": KEYS[:2]}, "'ddim' alone"),
        ({"method": "ddpm", "variance": "learned", "keys": KEYS[:2]}, "'learned'.*'small' or 'large'"),
        ({"method": "ddim", "sample_timesteps": 1001}, "1001"),
    ],
)
def test_bad_input_is_named(options, says):
    with pytest.raises(InputError, match=says):
        sample(jnp.zeros((2, 3)), **options)
