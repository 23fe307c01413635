"""Laws of the targets of distillation, with the teacher of a Gaussian, whose consistency function is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from analytic import MEAN, STD, gaussian
from hypothesis import given, settings
from hypothesis import strategies as st

from mdiff_jax.diffusion import consistency, guidance, samplers, schedules
from mdiff_jax.runtime.errors import InputError

SCHEDULE = schedules.shift_log_snr(schedules.cosine(1000), -1.0)


def gaussian_student(schedule, count, segments, noise_scale=1.0):
    """(x_t, t) → the x_0 whose DDIM step leads to where the teacher's steps lead, by their closed form: each is an
    affine function of x_t, and so is what they do together.
    """
    steps = consistency.teacher_steps(schedule, count, segments, noise_scale)
    abar = schedule.alphas_cumprod[steps.t]
    gain = np.sqrt(abar) * STD**2 / (abar * STD**2 + 1 - abar)
    of_x, constant = steps.x + steps.x0 * gain, steps.x0 * MEAN * (1 - gain * np.sqrt(abar))
    slope, offset = np.zeros(schedule.timesteps), np.zeros(schedule.timesteps)
    for first in range(0, count, count // segments):
        a, c = 1.0, 0.0
        for i in range(first, first + count // segments):
            a, c = a * of_x[i], a * constant[i] + c
            end = consistency.CLEAN if first == 0 else steps.t[first - 1]
            x, x0 = consistency.ddim(schedule, steps.t[i : i + 1], np.array([end]), noise_scale)
            slope[steps.t[i]], offset[steps.t[i]] = (a - x[0]) / x0[0], c / x0[0]
    return lambda x, t: jnp.asarray(slope)[t][:, None] * x + jnp.asarray(offset)[t][:, None]


def differences(schedule, student, steps, x_t):
    """(n, d): of a student's estimates at the start of each of the teacher's steps to their targets."""
    rows = jnp.arange(len(steps.t))
    taught = gaussian(schedule.alphas_cumprod)(x_t, jnp.asarray(steps.t))
    x_s = consistency.step(steps, rows, x_t, taught)
    target = consistency.target(steps, rows, taught, student(x_s, jnp.asarray(steps.s)))
    return student(x_t, jnp.asarray(steps.t)) - target


def noisy(schedule, steps, width=5):
    noise = np.random.default_rng(0).normal(size=(len(steps.t), width))
    abar = schedule.alphas_cumprod[steps.t][:, None]
    return jnp.asarray(np.sqrt(abar) * MEAN + np.sqrt(abar * STD**2 + 1 - abar) * noise)


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("noise_scale", [1.0, 1.01])
@pytest.mark.parametrize("segments", [1, 2, 4, 8, 64])
def test_the_closed_form_is_the_fixed_point(segments, noise_scale):
    steps = consistency.teacher_steps(SCHEDULE, 64, segments, noise_scale)
    student, x_t = gaussian_student(SCHEDULE, 64, segments, noise_scale), noisy(SCHEDULE, steps)
    np.testing.assert_allclose(differences(SCHEDULE, student, steps, x_t), 0.0, atol=1e-6)
    other = lambda x, t: student(x, t) + 0.1  # noqa: E731
    assert np.abs(differences(SCHEDULE, other, steps, x_t)).max() > 0.05


def test_the_teacher_itself_is_the_fixed_point_of_as_many_segments_as_steps():
    steps = consistency.teacher_steps(SCHEDULE, 64, 64)
    teacher = gaussian(SCHEDULE.alphas_cumprod)
    np.testing.assert_allclose(differences(SCHEDULE, teacher, steps, noisy(SCHEDULE, steps)), 0.0, atol=1e-12)
    np.testing.assert_allclose(steps.student, 0.0, atol=1e-12)


@pytest.mark.parametrize(("segments", "noise_scale"), [(1, 1.0), (2, 1.0), (4, 1.0), (8, 1.0), (4, 1.01)])
def test_few_steps_of_the_student_are_the_many_of_its_teacher(segments, noise_scale):
    """From the same noise to the same samples, and so with the same distribution."""
    x_T = jax.random.normal(jax.random.key(0), (20_000, 1))
    common = {"schedule": SCHEDULE, "method": "ddim", "spacing": "trailing", "noise_scale": noise_scale}
    student = gaussian_student(SCHEDULE, 64, segments, noise_scale)
    few = samplers.sample(student, x_T, sample_timesteps=segments, **common)
    many = samplers.sample(gaussian(SCHEDULE.alphas_cumprod), x_T, sample_timesteps=64, **common)
    np.testing.assert_allclose(few, many, atol=1e-6)
    if noise_scale == 1:
        assert few.mean() == pytest.approx(MEAN, abs=0.02) and few.std() == pytest.approx(STD, rel=0.05)
        untaught = samplers.sample(gaussian(SCHEDULE.alphas_cumprod), x_T, sample_timesteps=segments, **common)
        assert abs(few.std() - STD) < abs(untaught.std() - STD)


@settings(max_examples=200, deadline=None)
@given(st.integers(2, 300), st.integers(1, 16), st.integers(1, 8))
def test_segments_begin_where_the_student_samples_and_end_where_the_next_begins(timesteps, segments, each):
    count = segments * each
    if 2 * count > timesteps:
        return
    schedule = schedules.cosine(timesteps)
    steps = consistency.teacher_steps(schedule, count, segments)
    starts = schedules.sampling_timesteps(timesteps, segments, "trailing")[::-1]
    np.testing.assert_array_equal(steps.t[each - 1 :: each], starts)
    assert (np.diff(steps.t) > 0).all() and steps.t[-1] == timesteps - 1
    np.testing.assert_array_equal(steps.s, [0, *steps.t[:-1]])
    first = np.arange(0, count, each)  # of a segment: the teacher alone says where it ends
    np.testing.assert_allclose(steps.teacher[first], 1.0)
    np.testing.assert_allclose(steps.student[first], 0.0, atol=1e-12)
    np.testing.assert_allclose(steps.teacher + steps.student, 1.0)
    assert (steps.teacher >= 0).all() and (steps.student >= 0).all()
    assert all(np.isfinite(column).all() for column in steps)


def test_the_steps_of_the_teacher_are_those_of_the_sampler():
    steps = consistency.teacher_steps(SCHEDULE, 64, 4, 1.01)
    t = samplers.select_timesteps(SCHEDULE, 64, "trailing")
    table = samplers.coefficient_table(SCHEDULE, t, "ddim", noise_scale=1.01)
    np.testing.assert_array_equal(steps.t, table.t[::-1])
    np.testing.assert_allclose(steps.x, table.x[::-1], atol=1e-12)
    np.testing.assert_allclose(steps.x0, table.x0[::-1], atol=1e-12)


def test_a_schedule_that_ends_in_pure_noise_has_targets():
    schedule = schedules.rescale_to_zero_terminal_snr(schedules.cosine(100))
    for segments in (1, 4):
        assert all(np.isfinite(column).all() for column in consistency.teacher_steps(schedule, 20, segments))


@pytest.mark.parametrize(("count", "segments", "says"), [(64, 3, "do not divide"), (2000, 4, "more than its 1000")])
def test_steps_that_do_not_divide_are_refused(count, segments, says):
    with pytest.raises(InputError, match=says):
        consistency.teacher_steps(SCHEDULE, count, segments)


def test_the_huber_loss_is_square_below_its_bend_and_the_root_beyond():
    small, large = (float(consistency.pseudo_huber(jnp.asarray(x**2), 0.1)) for x in (1e-3, 10.0))
    assert small == pytest.approx(1e-6 / 0.2, rel=1e-3) and large == pytest.approx(9.9, rel=1e-3)
    assert np.isfinite(jax.grad(consistency.pseudo_huber)(0.0, 0.1))


def test_a_scale_for_each_example_guides_each_by_its_own():
    """And 1 is no guidance."""

    def denoise(x, t, condition, keep):
        return jnp.where(keep[:, None], condition, 0.0) + 0.1 * x

    x, t, condition = jnp.ones((3, 2)), jnp.zeros(3, int), jnp.arange(6.0).reshape(3, 2)
    scale = jnp.array([1.0, 2.0, 3.0])
    guided = guidance.classifier_free_guidance(denoise, condition, scale)(x, t)
    for i in range(3):
        alone = guidance.classifier_free_guidance(denoise, condition[i : i + 1], float(scale[i]))
        np.testing.assert_allclose(guided[i : i + 1], alone(x[i : i + 1], t[:1]))
    np.testing.assert_allclose(guided[0], denoise(x, t, condition, jnp.full(3, True))[0])
