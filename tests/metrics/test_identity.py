"""Judges of identity: their scores by hand, and what they do not mind."""

import numpy as np
import pytest
from walker_sets import two_walkers, walker_sets

from mdiff_jax.metrics import identity
from mdiff_jax.runtime.errors import InputError


def test_confusion_calibration_and_users_by_hand():
    p = np.array([[0.9, 0.1], [0.7, 0.3], [0.35, 0.65], [0.05, 0.95]], np.float32)
    users = np.array([0, 1, 1, 1])
    assert identity.confusion_matrix(p, users).tolist() == [[1, 0], [1, 2]]
    assert identity.accuracy_by_user(p, users) == {0: 1.0, 1: pytest.approx(2 / 3)}
    assert identity.balanced_accuracy(p, users) == pytest.approx(5 / 6)
    expected = (abs((0.9 - 1) + (0.95 - 1)) + abs(0.7 - 0) + abs(0.65 - 1)) / 4
    assert identity.calibration_error(p, users) == pytest.approx(expected, abs=1e-6)
    one_right = identity.calibration_error(np.array([[0.05, 0.95]] * 2, np.float32), np.array([0, 1]))
    assert one_right == pytest.approx(0.45, abs=1e-6)  # 95 % sure, right for half


def test_columns_are_users_also_where_one_was_never_shown():
    x, users = two_walkers()
    p = identity.fit_linear(x, users * 2).probabilities(x)  # users 0 and 2
    assert p.shape == (48, 3) and not p[:, 1].any()
    assert (p.argmax(1) == users * 2).mean() > 0.9


def test_a_judge_of_one_user_is_refused():
    with pytest.raises(InputError, match="2 users"):
        identity.fit_linear(two_walkers()[0], np.zeros(48, int))


def test_the_judge_does_not_mind_a_shift_in_time():
    train, test = walker_sets()
    judge = identity.fit_linear(train.windows, train.users)
    a, b = judge.probabilities(test.windows), judge.probabilities(np.roll(test.windows, 9, axis=2))
    np.testing.assert_allclose(a, b, atol=1e-3)


@pytest.mark.parametrize("size", [(8, 8), (48, 20), (40, 72)])
def test_windows_of_any_size_have_features(size):
    windows = np.random.default_rng(0).uniform(-1, 1, (3, *size)).astype(np.float32)
    features = identity.linear_features(windows)
    assert features.shape == (3, min(size[0], 32) * min(size[1] // 2 + 1, 16)) and np.isfinite(features).all()


def test_a_soft_target_counts_as_weighted_copies():
    x, users = two_walkers()
    targets = identity.one_hot(users)
    targets[0] = [0.75, 0.25]
    soft = identity.fit_linear_softly(x, targets, np.where(np.arange(48) == 1, 2.0, 1.0))
    copies = np.concatenate([np.arange(48), [0, 1]])
    labels, weights = np.concatenate([users, [1, users[1]]]), np.ones(50)
    weights[[0, 48]] = 0.75, 0.25
    hard = identity.fit_linear_softly(x[copies], identity.one_hot(labels), weights)
    np.testing.assert_allclose(soft.probabilities(x), hard.probabilities(x), atol=1e-3)
    plain = identity.fit_linear(x, users)
    assert np.abs(soft.probabilities(x) - plain.probabilities(x)).max() > 1e-3


def test_windows_without_weight_do_not_count():
    x, users = two_walkers()
    weights = np.repeat([1.0, 0.0], 48)
    both = np.concatenate([users, 1 - users])
    judge = identity.fit_linear_softly(np.concatenate([x, x]), identity.one_hot(both), weights)
    np.testing.assert_allclose(judge.probabilities(x), identity.fit_linear(x, users).probabilities(x), atol=1e-3)
