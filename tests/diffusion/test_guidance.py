"""Laws of guidance, clipping and thresholding."""

import analytic
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdiff_jax.diffusion import guidance, samplers, schedules

SCHEDULE = schedules.cosine(1000)
CONDITION = {"mean": jnp.array([0.5, -0.6, 0.8])}  # of each sample; without it the mean is 0.1
X, T = jax.random.normal(jax.random.key(0), (3, 4)), jnp.full(3, 400)


class Pair:
    """The exact denoisers of N(mean, std²) with the condition, N(0.1, std²) without; counts its passes."""

    def __init__(self):
        self.batches = []

    def __call__(self, x, t, condition, keep):
        self.batches.append(len(x))
        mean = jnp.where(keep, condition["mean"], 0.1)[:, None]
        return analytic.gaussian(SCHEDULE.alphas_cumprod, mean)(x, t)


def alone(mean):
    return analytic.gaussian(SCHEDULE.alphas_cumprod, jnp.asarray(mean).reshape(-1, 1))(X, T)


@pytest.mark.parametrize(("scale", "mean"), [(1, CONDITION["mean"]), (1.0, CONDITION["mean"]), (0, 0.1), (0.0, 0.1)])
def test_scales_1_and_0_cost_one_pass(scale, mean):
    pair = Pair()
    np.testing.assert_allclose(guidance.classifier_free_guidance(pair, CONDITION, scale)(X, T), alone(mean), rtol=1e-6)
    assert pair.batches == [3]


def test_other_scales_cost_one_batch_of_both_passes():
    pair = Pair()
    got = guidance.classifier_free_guidance(pair, CONDITION, 2.5)(X, T)
    assert pair.batches == [6]
    np.testing.assert_allclose(got, alone(0.1) + 2.5 * (alone(CONDITION["mean"]) - alone(0.1)), rtol=1e-5)


@pytest.mark.parametrize(("scale", "passes"), [(0, [0, 1]), (1, [1, 0]), (2.5, [1, 1])])
def test_a_weaker_model_under_the_same_condition_takes_the_place_of_none(scale, passes):
    strong, weak = Pair(), Pair()
    weaker = lambda x, t, condition, keep: weak(x, t, {"mean": condition["mean"] - 0.3}, keep)  # noqa: E731
    got = guidance.classifier_free_guidance(strong, CONDITION, scale, weaker=weaker)(X, T)
    with_it, without = alone(CONDITION["mean"]), alone(CONDITION["mean"] - 0.3)
    np.testing.assert_allclose(got, without + scale * (with_it - without), rtol=1e-5)
    assert [strong.batches, weak.batches] == [[3] * n for n in passes]


@pytest.mark.parametrize("scale", [0, 0.5, 1, 3])
def test_guidance_of_a_gaussian_pair_is_the_known_tilt(scale):
    """p_with^s p_without^(1 - s) of equal deviations is a Gaussian of the same, its mean moved on along the line."""
    x_T = samplers.initial_noise(jax.random.split(jax.random.key(1), 3), (4,))

    def draw(denoise):
        return samplers.sample(denoise, x_T, schedule=SCHEDULE, method="ddim", sample_timesteps=20, spacing="trailing")

    tilted = 0.1 + scale * (CONDITION["mean"][:, None] - 0.1)
    expected = draw(analytic.gaussian(SCHEDULE.alphas_cumprod, tilted))
    np.testing.assert_allclose(
        draw(guidance.classifier_free_guidance(Pair(), CONDITION, scale)), expected, rtol=1e-4, atol=1e-5
    )


def test_traced_scales_share_a_program_and_agree_with_python_ones():
    pair = Pair()
    call = jax.jit(lambda scale: guidance.classifier_free_guidance(pair, CONDITION, scale)(X, T))
    for scale in (0.0, 1.0, 2.0):
        np.testing.assert_allclose(
            call(scale), guidance.classifier_free_guidance(Pair(), CONDITION, scale)(X, T), rtol=1e-5
        )
    assert pair.batches == [6]


@pytest.mark.parametrize("scale", [0, 1, 4.0])
def test_interval_of_noise_levels(scale):
    """Inside it the scale holds, ends included; outside it is 1, in one pass."""
    log_snr, condition = np.float32(SCHEDULE.log_snr), {"mean": jnp.array([0.5])}
    interval = (float(log_snr[600]), float(log_snr[300]))
    executed = []

    def denoise(x, t, condition, keep):
        jax.debug.callback(lambda: executed.append(len(x)))
        return Pair()(x, t, condition, keep)

    call = jax.jit(guidance.classifier_free_guidance(denoise, condition, scale, schedule=SCHEDULE, interval=interval))
    everywhere = guidance.classifier_free_guidance(Pair(), condition, scale)
    for t, inside in [(299, False), (300, True), (450, True), (600, True), (601, False)]:
        executed.clear()
        x, t = X[:1], jnp.array([t])
        expected = everywhere(x, t) if inside else Pair()(x, t, condition, jnp.array([True]))
        np.testing.assert_allclose(call(x, t), expected, rtol=1e-5)
        jax.effects_barrier()
        assert executed == [2 if inside and scale != 1 else 1]


def test_interval_holds_for_each_sample_of_a_batch_of_mixed_noise():
    interval = (SCHEDULE.log_snr[500], SCHEDULE.log_snr[100])
    t = jnp.array([50, 300, 700])
    got = guidance.classifier_free_guidance(Pair(), CONDITION, 3.0, schedule=SCHEDULE, interval=interval)(X, t)
    inside = guidance.classifier_free_guidance(Pair(), CONDITION, 3.0)(X, t)
    outside = guidance.classifier_free_guidance(Pair(), CONDITION, 1)(X, t)
    np.testing.assert_allclose(got, jnp.stack([outside[0], inside[1], outside[2]]), rtol=1e-5)


@pytest.mark.parametrize("amount", [0.7, 1.0])
def test_rescale_brings_the_deviation_back(amount):
    plain = guidance.classifier_free_guidance(Pair(), CONDITION, 5.0)(X, T) * jnp.array([1.0, 3.0, 0.2])[:, None]
    conditional = guidance.classifier_free_guidance(Pair(), CONDITION, 1)(X, T)
    got = guidance.rescale_guidance(plain, conditional, amount)
    np.testing.assert_allclose(got.std(1), amount * conditional.std(1) + (1 - amount) * plain.std(1), rtol=1e-5)
    np.testing.assert_allclose(got / got.std(1, keepdims=True), plain / plain.std(1, keepdims=True), rtol=1e-5)


def test_rescale_is_used_and_bears_a_flat_estimate():
    plain, conditional = (guidance.classifier_free_guidance(Pair(), CONDITION, s)(X, T) for s in (5.0, 1))
    got = guidance.classifier_free_guidance(Pair(), CONDITION, 5.0, rescale=0.7)(X, T)
    np.testing.assert_allclose(got, guidance.rescale_guidance(plain, conditional, 0.7), rtol=1e-6)
    assert jnp.isfinite(guidance.rescale_guidance(jnp.zeros((2, 3)), jnp.ones((2, 3)), 0.7)).all()


def test_clipping_holds_estimates_inside():
    wild = guidance.clip_x0(lambda x, t: 3 * x)(jnp.array([[-1.0, 0.1, 0.4]]), T[:1])
    np.testing.assert_allclose(wild, [[-1, 0.3, 1]], rtol=1e-6)
    wider = guidance.clip_x0(lambda x, t: 3 * x, -1.5, 2.0)(jnp.array([[-1.0, 0.1, 1.0]]), T[:1])
    np.testing.assert_allclose(wider, [[-1.5, 0.3, 2]], rtol=1e-6)


def test_dynamic_thresholding_scales_by_the_samples_own_percentile():
    x0 = jnp.stack([jnp.linspace(-0.5, 0.5, 201), jnp.linspace(-4, 4, 201)]).reshape(2, 67, 3)
    got = guidance.dynamic_thresholding(lambda x, t: x, percentile=0.95)(x0, T[:2])
    np.testing.assert_allclose(got[0], x0[0])  # inside [-1, 1] nothing happens
    np.testing.assert_allclose(got[1], jnp.clip(x0[1] / 3.8, -1, 1), rtol=1e-5)
    # a range that is not centred: the same, measured from its middle
    wide = guidance.dynamic_thresholding(lambda x, t: x * 1.5 + 0.5, -1.0, 2.0, percentile=0.95)(x0, T[:2])
    np.testing.assert_allclose(wide, got * 1.5 + 0.5, rtol=1e-4, atol=1e-5)
