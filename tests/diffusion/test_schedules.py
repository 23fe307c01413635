"""Laws of the noise schedules and of the sampling sub-sequences."""

import numpy as np
import pytest

from mdiff_jax.diffusion import schedules
from mdiff_jax.runtime import ranges
from mdiff_jax.runtime.errors import InputError

BOTH = pytest.mark.parametrize("make", [schedules.linear, schedules.cosine])


def betas(schedule):
    abar = schedule.alphas_cumprod
    return 1 - abar / np.concatenate([[1.0], abar[:-1]])


def test_linear_is_that_of_ho_et_al():
    np.testing.assert_allclose(betas(schedules.linear(1000)), np.linspace(1e-4, 0.02, 1000), rtol=1e-9)


def test_linear_of_another_length_ends_at_about_the_same_noise():
    assert betas(schedules.linear(250))[[0, -1]] == pytest.approx([4e-4, 0.08])
    ends = [np.log(schedules.linear(T).alphas_cumprod[-1]) for T in (250, 1000, 4000)]
    assert np.ptp(ends) < 0.05 * abs(ends[1])


def test_cosine_is_that_of_nichol_and_dhariwal():
    T = 1000
    f = np.cos((np.arange(T + 1) / T + 0.008) / 1.008 * np.pi / 2) ** 2
    abar = schedules.cosine(T).alphas_cumprod
    np.testing.assert_allclose(abar[:-1], f[1:-1] / f[0], rtol=1e-9)
    assert betas(schedules.cosine(T))[-1] == pytest.approx(0.999)


def test_cosine_of_any_length_is_the_same_curve():
    fine = schedules.cosine(1000).log_snr
    for stride in (2, 4, 10):
        np.testing.assert_allclose(schedules.cosine(1000 // stride).log_snr[:-1], fine[stride - 1 :: stride][:-1])


@BOTH
@pytest.mark.parametrize("T", [2, 3, 10, 100, 1000])
def test_tables_are_float64_strictly_falling_and_read_only(make, T):
    schedule = make(T)
    abar = schedule.alphas_cumprod
    assert schedule.timesteps == T and abar.shape == (T,) and abar.dtype == np.float64
    assert (np.diff(abar) < 0).all() and abar[-1] > 0 and abar[0] < 1
    with pytest.raises(ValueError, match="read-only"):
        abar[0] = 0.5


@BOTH
def test_log_snr_is_the_logit(make):
    schedule = make(1000)
    np.testing.assert_allclose(1 / (1 + np.exp(-schedule.log_snr)), schedule.alphas_cumprod, rtol=1e-9)


def test_log_snr_is_clipped_where_it_is_infinite():
    assert schedules.make("cosine", 100, zero_terminal_snr=True).log_snr[-1] == pytest.approx(-20)
    assert schedules.NoiseSchedule(np.array([1 - 1e-12, 0.5])).log_snr[0] == pytest.approx(20)


@BOTH
def test_shift_moves_the_log_snr(make):
    schedule = make(300)
    moved = schedules.shift_log_snr(schedule, -1.5)
    np.testing.assert_allclose(moved.log_snr, np.maximum(schedule.log_snr - 1.5, -20), atol=1e-9)


@BOTH
def test_zero_terminal_snr(make):
    schedule = make(100)
    alpha = np.sqrt(schedule.alphas_cumprod)
    scaled = np.sqrt(schedules.rescale_to_zero_terminal_snr(schedule).alphas_cumprod)
    assert scaled[-1] == 0 and scaled[0] == pytest.approx(alpha[0])
    np.testing.assert_allclose(np.diff(scaled) / np.diff(alpha), alpha[0] / (alpha[0] - alpha[-1]), rtol=1e-6)


def test_make_is_the_one_entry():
    assert (schedules.make("linear", 50).alphas_cumprod == schedules.linear(50).alphas_cumprod).all()
    cosine = schedules.make("cosine", 50, shift=1.0, zero_terminal_snr=True)
    by_hand = schedules.rescale_to_zero_terminal_snr(schedules.shift_log_snr(schedules.cosine(50), 1.0))
    assert (cosine.alphas_cumprod == by_hand.alphas_cumprod).all()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: schedules.make("quadratic", 10), "'quadratic'.*'linear' or 'cosine'"),
        (lambda: schedules.cosine(1), "timesteps = 1"),
        (lambda: schedules.linear(0), "timesteps = 0"),
        (lambda: schedules.NoiseSchedule(np.array([0.5, 0.6])), "fall strictly"),
        (lambda: schedules.NoiseSchedule(np.array([1.0, 0.6])), "inside"),
        (lambda: schedules.NoiseSchedule(np.array([0.5, -0.1])), "inside"),
        (lambda: schedules.sampling_timesteps(10, 11, "leading"), "11 .* 1 … 10"),
        (lambda: schedules.sampling_timesteps(10, 0, "leading"), "0 .* 1 … 10"),
        (lambda: schedules.sampling_timesteps(10, 5, "karras"), "'karras'.*trailing"),
        (lambda: schedules.sampling_timesteps(10, 5, "logsnr"), "log_snr=schedule.log_snr"),
    ],
)
def test_bad_input_is_named(call, says):
    with pytest.raises(InputError, match=says):
        call()


# --- sub-sequences


def test_spacings_by_hand():
    steps = schedules.sampling_timesteps
    assert steps(1000, 5, "leading").tolist() == [800, 600, 400, 200, 0]
    assert steps(1000, 5, "trailing").tolist() == [999, 799, 599, 399, 199]
    assert steps(1000, 4, "linspace").tolist() == [999, 666, 333, 0]
    assert steps(1000, 3, "leading").tolist() == [666, 333, 0]
    assert steps(1000, 3, "trailing").tolist() == [999, 666, 332]
    assert steps(10, 4, "trailing").tolist() == [9, 7, 4, 1]  # 10, 7.5, 5, 2.5: half to even, less one
    assert steps(12, 3, "linspace").tolist() == [11, 6, 0]  # 11, 5.5, 0


@pytest.mark.parametrize("spacing", ranges.SPACINGS)
def test_spacings_have_n_distinct_descending_steps(spacing):
    for T in (10, 100, 1000):
        log_snr = schedules.linear(T).log_snr
        for n in {1, 2, 3, 7, 10, 61, 64, 99, 100, 103, 999, 1000}:
            if n <= T:
                t = schedules.sampling_timesteps(T, n, spacing, log_snr)
                assert t.shape == (n,) and t.dtype.kind == "i"
                assert (np.diff(t) < 0).all() and t[-1] >= 0 and t[0] <= T - 1


@pytest.mark.parametrize("spacing", ranges.SPACINGS)
def test_as_many_steps_as_there_are_is_all_of_them(spacing):
    t = schedules.sampling_timesteps(50, 50, spacing, schedules.cosine(50).log_snr)
    assert t.tolist() == list(range(49, -1, -1))


def test_ends_of_the_spacings():
    for n in range(2, 1001):
        ends = {s: schedules.sampling_timesteps(1000, n, s)[[0, -1]].tolist() for s in ranges.SPACINGS[:3]}
        assert ends["trailing"][0] == 999 and ends["leading"][1] == 0 and ends["linspace"] == [999, 0]


@BOTH
def test_logsnr_spacing_is_uniform_in_log_snr(make):
    """But for the first steps of cosine, which are further apart than that."""
    log_snr = make(4000).log_snr
    t = schedules.sampling_timesteps(4000, 9, "logsnr", log_snr)
    gaps = np.diff(log_snr[t][2:])
    assert np.ptp(gaps) < 0.05 * gaps.mean()
    assert t[0] == 3999 and t[-1] == 0
