"""Laws of the forward process, the posterior, the parametrisations, the loss weights and the training timesteps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdiff_jax.diffusion import gaussian, schedules
from mdiff_jax.runtime import ranges
from mdiff_jax.runtime.errors import InputError

SCHEDULES = {
    "linear": schedules.linear(200),
    "cosine": schedules.cosine(200),
    "zero": schedules.make("cosine", 200, zero_terminal_snr=True),
}
EVERY_T = np.arange(200)
rng = np.random.default_rng(0)
X0, NOISE, OUTPUT = (rng.normal(size=(200, 3, 2)) for _ in range(3))


def each_schedule_and_prediction():
    return [(s, p) for s in SCHEDULES for p in ranges.PREDICTIONS if (s, p) != ("zero", "eps")]


@pytest.mark.parametrize("name", SCHEDULES)
def test_noised_data_keep_unit_variance_and_have_the_snr(name):
    schedule = SCHEDULES[name]
    signal = gaussian.q_sample(schedule, np.ones((200, 1)), EVERY_T, np.zeros((200, 1)))[:, 0]
    noise = gaussian.q_sample(schedule, np.zeros((200, 1)), EVERY_T, np.ones((200, 1)))[:, 0]
    np.testing.assert_allclose(signal**2 + noise**2, 1.0, rtol=1e-12)
    np.testing.assert_allclose(signal**2, schedule.alphas_cumprod, rtol=1e-12)


@pytest.mark.parametrize(("name", "prediction"), each_schedule_and_prediction())
def test_conversions_round_trip_at_every_t_in_float32(name, prediction):
    schedule = SCHEDULES[name]
    x_t, output, t = jnp.asarray(X0, jnp.float32), jnp.asarray(OUTPUT, jnp.float32), jnp.asarray(EVERY_T)
    x0, eps = gaussian.predict_x0_and_eps(schedule, x_t, t, output, prediction)
    again = gaussian.prediction_target(schedule, x0, eps, t, prediction)
    scale = jnp.abs(x0) + jnp.abs(eps) if prediction == "v" else jnp.abs(output)
    assert float(jnp.max(jnp.abs(again - output) / scale)) < 1e-6


@pytest.mark.parametrize(("name", "prediction"), each_schedule_and_prediction())
def test_what_the_target_says_is_found_again_at_every_t(name, prediction):
    schedule = SCHEDULES[name]
    x_t = gaussian.q_sample(schedule, X0, EVERY_T, NOISE)
    output = gaussian.prediction_target(schedule, X0, NOISE, EVERY_T, prediction)
    x0, eps = gaussian.predict_x0_and_eps(schedule, x_t, EVERY_T, output, prediction)
    np.testing.assert_allclose(x0, X0, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(eps, NOISE, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(x0, gaussian.predict_x0(schedule, x_t, EVERY_T, output, prediction))


def test_v_is_that_of_salimans_and_ho():
    """v is the velocity along the circle: x_t = cos(phi) x_0 + sin(phi) eps, v = d x_t / d phi."""
    schedule, d = SCHEDULES["cosine"], 1e-6
    phi = np.arccos(np.sqrt(schedule.alphas_cumprod))[:, None, None]
    velocity = (np.cos(phi + d) - np.cos(phi - d)) * X0 + (np.sin(phi + d) - np.sin(phi - d)) * NOISE
    np.testing.assert_allclose(
        gaussian.prediction_target(schedule, X0, NOISE, EVERY_T, "v"), velocity / (2 * d), atol=1e-6
    )


def test_float32_coefficients_are_rounded_once():
    """1 - abar is taken before rounding: at small t it is not a difference of float32 ones."""
    schedule = schedules.cosine(10_000)
    t = np.arange(10_000)
    of_noise = gaussian.q_sample(schedule, jnp.zeros((10_000, 1)), jnp.asarray(t), jnp.ones((10_000, 1)))[:, 0]
    np.testing.assert_allclose(of_noise, np.sqrt(1 - schedule.alphas_cumprod), rtol=1e-7)
    told = jax.jit(lambda t: gaussian.log_snr(schedule, t))(t)
    assert told.dtype == jnp.float32
    np.testing.assert_allclose(told, schedule.log_snr, rtol=1e-6, atol=1e-6)


def test_posterior_is_bayes_rule():
    """q(x_s | x_t, x_0) ∝ q(x_t | x_s) q(x_s | x_0), a product of Gaussians: precisions add."""
    abar = schedules.linear(100).alphas_cumprod
    for t, s in [(1, 0), (50, 49), (99, 98), (99, 0), (80, 13)]:
        alpha, x_t, x_0 = abar[t] / abar[s], 0.7, -0.4
        likelihood, prior = alpha / (1 - alpha), 1 / (1 - abar[s])
        variance = 1 / (likelihood + prior)
        mean = variance * (likelihood * x_t / np.sqrt(alpha) + prior * np.sqrt(abar[s]) * x_0)
        of_x_t, of_x_0, var = gaussian.posterior_coefficients(abar[[t]], abar[[s]])
        assert of_x_t * x_t + of_x_0 * x_0 == pytest.approx(mean, rel=1e-9)
        assert var == pytest.approx(variance, rel=1e-9)


# --- loss weights


@pytest.mark.parametrize("weighting", ["min_snr", "sigmoid"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_weighted_loss_does_not_depend_on_the_parametrisation(name, weighting):
    """An error of the estimate costs the same however it was said, but for eps, which cannot be said at zero SNR."""
    schedule, t = SCHEDULES[name], EVERY_T[:-1]
    cost = {}
    for prediction in [p for s, p in each_schedule_and_prediction() if s == name]:
        x_t = gaussian.q_sample(schedule, X0[:-1], t, NOISE[:-1])
        wrong = OUTPUT[:-1]
        noise = gaussian.predict_x0_and_eps(schedule, x_t, t, wrong, "x0")[1]
        error = [
            gaussian.prediction_target(schedule, x0, eps, t, prediction)
            for x0, eps in ((X0[:-1], NOISE[:-1]), (wrong, noise))
        ]
        mse = np.mean((error[0] - error[1]) ** 2, axis=(1, 2))
        cost[prediction] = mse * gaussian.loss_weight(schedule, t, prediction, weighting)
    for other in cost.values():
        np.testing.assert_allclose(other, cost["x0"], rtol=1e-6)


def test_min_snr_weights_of_hang_et_al():
    schedule = SCHEDULES["linear"]
    snr = schedule.alphas_cumprod / (1 - schedule.alphas_cumprod)
    assert snr.max() > 5 > snr.min()
    np.testing.assert_allclose(gaussian.loss_weight(schedule, EVERY_T, "x0", "min_snr"), np.minimum(snr, 5), rtol=1e-9)


def test_plain_weight_is_one():
    assert (gaussian.loss_weight(SCHEDULES["zero"], EVERY_T, "v", "plain") == 1).all()


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_sigmoid_weight_does_not_depend_on_the_schedule(name):
    """Its mean over t is 1/2 the integral of sigmoid(bias - log-SNR) over the log-SNR there is."""
    schedule = schedules.make(name, 4000)
    weight = gaussian.loss_weight(schedule, np.arange(3900), "eps", "sigmoid")
    antiderivative = -np.logaddexp(0, gaussian.SIGMOID_BIAS - schedule.log_snr[[3899, 0]])
    assert weight.sum() / 4000 == pytest.approx(0.5 * np.diff(antiderivative)[0], rel=0.01)


def test_weights_inside_jit_are_those_outside():
    schedule = SCHEDULES["cosine"]
    inside = jax.jit(lambda t: gaussian.loss_weight(schedule, t, "v", "min_snr"))(EVERY_T)
    np.testing.assert_allclose(inside, gaussian.loss_weight(schedule, EVERY_T, "v", "min_snr"), rtol=1e-6)


# --- training timesteps


@pytest.mark.parametrize(("batch", "T"), [(8, 1000), (128, 128), (64, 100), (100, 7)])
def test_timesteps_are_spread_evenly_over_the_batch(batch, T):
    t = np.asarray(gaussian.stratified_timesteps(jax.random.key(3), jnp.arange(batch), batch, T))
    assert t.min() >= 0 and t.max() < T
    for bins in (2, 3, 5):  # each part of the range holds its share, to a step's or an example's granularity
        counts = np.histogram(t, bins, (0, T))[0]
        assert np.abs(counts - batch / bins).max() <= 1 + batch / T


def test_each_timestep_is_uniform_by_itself():
    keys = jax.random.split(jax.random.key(0), 4000)
    draw = jax.vmap(lambda k: gaussian.stratified_timesteps(k, jnp.array([0, 5]), 8, 10))
    for t in np.asarray(draw(keys)).T:
        counts = np.bincount(t, minlength=10)
        assert ((counts - 400) ** 2 / 400).sum() < 28  # chi-square, 9 degrees of freedom, 99.9 %


def test_timesteps_depend_on_the_global_position_alone():
    key, index = jax.random.key(7), jnp.arange(640, 656)
    whole = gaussian.stratified_timesteps(key, index, 16, 1000)
    parts = [gaussian.stratified_timesteps(key, index[k : k + 4], 16, 1000) for k in range(0, 16, 4)]
    assert (whole == jnp.concatenate(parts)).all()
    for start in (0, 16 * 10**7):  # far into training, where example times T is beyond int32
        assert (whole == gaussian.stratified_timesteps(key, start + jnp.arange(16), 16, 1000)).all()
    assert (whole != gaussian.stratified_timesteps(jax.random.key(8), index, 16, 1000)).any()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: gaussian.predict_x0(SCHEDULES["zero"], X0, EVERY_T, X0, "eps"), "zero terminal SNR: use 'v' or 'x0'"),
        (lambda: gaussian.prediction_target(SCHEDULES["zero"], X0, X0, EVERY_T, "eps"), "zero terminal SNR"),
        (lambda: gaussian.prediction_target(SCHEDULES["linear"], X0, X0, EVERY_T, "score"), "'score'.*eps, x0, v"),
        (lambda: gaussian.predict_x0(SCHEDULES["linear"], X0, EVERY_T, X0, "score"), "'score'"),
        (lambda: gaussian.loss_weight(SCHEDULES["linear"], EVERY_T, "v", "p2"), "'p2'.*min_snr"),
        (lambda: gaussian.loss_weight(SCHEDULES["linear"], EVERY_T, "score", "plain"), "'score'"),
    ],
)
def test_bad_input_is_named(call, says):
    with pytest.raises(InputError, match=says):
        call()
