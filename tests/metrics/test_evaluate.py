"""Laws that an evaluation must pass before its figures are believed, on walkers."""

import numpy as np
import pytest

from mdiff_jax import evaluate
from mdiff_jax.data import walker
from mdiff_jax.metrics import distances, identity, kinematics, novelty

ZERO = 104.5 / 128  # of the walkers' axis


@pytest.fixture(scope="module")
def sets():
    """Training and test windows of three walkers, from different walks."""
    windows = list(
        walker.make_windows(num_users=3, recordings_per_user=9, windows_per_recording=3, seed=0, size=(64, 64))
    )
    users = np.array([int(w.user[-2:]) - 1 for w in windows])
    held_out = np.array([w.recording in ("walk_07", "walk_08", "walk_09") for w in windows])
    x = np.stack([w.spectrogram for w in windows])
    return evaluate.WindowSet(x[~held_out], users[~held_out]), evaluate.WindowSet(x[held_out], users[held_out])


def figures(train, test, generated) -> dict[str, evaluate.Figure]:
    return {f.name: f for f in evaluate.evaluate(train, test, generated, ZERO)}


def test_real_windows_score_as_real_and_are_no_copies(sets):
    train, test = sets
    f = figures(train, test, test)
    for name in ("accuracy", "recognised", "plausible", "median similarity", "median variety"):
        assert f[name].generated == pytest.approx(f[name].real, abs=1e-6), name
    assert f["suspected copies"].generated == 0
    assert f["accuracy"].real > 0.6


def test_training_windows_are_copies_also_when_shifted_and_noisy(sets):
    train, test = sets
    noise = np.random.default_rng(0).normal(0, 0.03, train.windows.shape).astype(np.float32)
    shifted = np.clip(np.roll(train.windows, 17, axis=2) + noise, -1, 1)
    assert figures(train, test, evaluate.WindowSet(shifted, train.users))["suspected copies"].generated > 0.95


def test_wrong_names_lose_identity_and_keep_the_rest(sets):
    train, test = sets
    f, wrong = figures(train, test, test), figures(train, test, evaluate.WindowSet(test.windows, (test.users + 1) % 3))
    assert wrong["accuracy"].generated < 0.34
    for name in ("plausible", "kernel distance", "median similarity"):
        assert wrong[name].generated == pytest.approx(f[name].generated, abs=1e-6)


@pytest.mark.parametrize(
    "spoil",
    [lambda x: x[:, ::-1], lambda x: np.roll(x, 20, 1), lambda x: np.repeat(x[:, :, :32], 2, 2)],
    ids=["frequency flipped", "moved along the Doppler axis", "half of the steps, twice as slow"],
)
def test_spoilt_windows_are_not_plausible(sets, spoil):
    train, test = sets
    windows = np.ascontiguousarray(spoil(test.windows))
    f = figures(train, test, evaluate.WindowSet(windows, test.users))
    assert f["plausible"].generated < 0.5 * f["plausible"].real
    assert f["kernel distance"].generated > 3 * abs(f["kernel distance"].real)


def test_blurred_windows_are_far_from_real_ones(sets):
    """Averages can look possible, but no real walk is so smooth."""
    train, test = sets
    mean = np.stack([test.windows[test.users == u].mean(0) for u in range(3)])[test.users]
    f = figures(train, test, evaluate.WindowSet(mean, test.users))
    assert f["kernel distance"].generated > 3 * abs(f["kernel distance"].real)
    assert f["median variety"].generated < 0.1 * f["median variety"].real


def test_one_window_a_user_has_no_variety(sets):
    train, test = sets
    first = np.array([np.flatnonzero(test.users == u)[0] for u in test.users])
    f = figures(train, test, evaluate.WindowSet(test.windows[first], test.users))
    assert f["median variety"].generated == pytest.approx(0, abs=1e-5) and f["median variety"].real > 0.02


def test_windows_of_some_users_only_can_be_judged(sets):
    train, test = sets
    two = evaluate.WindowSet(test.windows[test.users == 1][:2], test.users[test.users == 1][:2])
    f = figures(train, test, two)
    assert "train on generated, test on real" not in f and 0 <= f["accuracy"].generated <= 1


def test_the_order_of_windows_does_not_matter(sets):
    train, test = sets
    order = np.random.default_rng(1).permutation(len(test.users))
    a = figures(train, test, test)
    b = figures(train, test, evaluate.WindowSet(test.windows[order], test.users[order]))
    for name in ("accuracy", "plausible", "suspected copies", "median variety"):
        assert a[name].generated == pytest.approx(b[name].generated, abs=1e-6)


def test_correlation_by_fft_is_the_correlation_by_hand():
    x = np.random.default_rng(0).normal(size=(3, 8, 12)).astype(np.float32)
    unit = x - x.mean((1, 2), keepdims=True)
    unit /= np.linalg.norm(unit, axis=(1, 2), keepdims=True)
    expected = [[max((np.roll(a, s, 1) * b).sum() for s in range(12)) for b in unit] for a in unit]
    np.testing.assert_allclose(novelty.best_correlation(x, x), expected, atol=1e-5)


def test_kernel_distance_by_hand_and_without_bias():
    rng = np.random.default_rng(0)
    values = [distances.kernel_distance(*rng.normal(size=(2, 20, 4))) for _ in range(300)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(300)
    far = distances.kernel_distance(rng.normal(size=(20, 4)), rng.normal(size=(20, 4)) + 2)
    assert far > np.max(values)


def test_steps_of_a_periodic_envelope():
    time = np.arange(64)
    for count in (3, 4, 5):
        envelope = np.abs(np.sin(np.pi * count * (time + 0.5) / 64))[None]
        assert kinematics.steps(envelope)[0] == pytest.approx(count, rel=0.1)


def test_torso_speed_of_walkers_is_found():
    """The ridge lies where the truth says: metres a second over the span of the axis, 6.4 m/s."""
    windows = list(
        walker.make_windows(num_users=4, recordings_per_user=3, windows_per_recording=1, seed=3, size=(128, 64))
    )
    ridge = kinematics.measure(np.stack([w.spectrogram for w in windows]), ZERO)["ridge"] * 6.4
    truth = np.array([w.truth["speed"] for w in windows])
    assert np.abs(ridge / truth - 1).mean() < 0.1
    assert np.corrcoef(ridge, truth)[0, 1] > 0.8


def test_the_judge_does_not_mind_a_shift_in_time(sets):
    train, test = sets
    judge = identity.fit_linear(train.windows, train.users)
    a, b = judge.probabilities(test.windows), judge.probabilities(np.roll(test.windows, 9, axis=2))
    np.testing.assert_allclose(a, b, atol=1e-3)
