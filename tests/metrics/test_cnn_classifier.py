"""The convolutional judge learns, and the same training gives the same judge."""

import time

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from walker_sets import drawn_walks

from mdiff_jax.metrics import cnn_classifier, identity
from mdiff_jax.runtime import progress
from mdiff_jax.runtime.errors import InputError

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def walks():
    """48 windows of 16x16 of two users, and the users."""
    x = np.concatenate([drawn_walks(24, 2 * u, RNG) for u in range(2)])
    return x.reshape(48, 16, 4, 16, 4).mean((2, 4)), np.repeat([0, 1], 24)


def test_the_convolutional_judge_learns_and_repeats_itself(monkeypatch, walks):
    monkeypatch.setattr(cnn_classifier, "WIDTHS", (8, 16))
    x, users = walks
    judge, again = (cnn_classifier.fit_cnn(x[::2], users[::2], seed=3, steps=40) for _ in range(2))
    p = judge.probabilities(x[1::2])
    assert (p.argmax(1) == users[1::2]).mean() > 0.9
    np.testing.assert_allclose(p, again.probabilities(x[1::2]), atol=1e-4)
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)
    assert judge.features(x).shape == (48, 64) and np.abs(judge.features(x)).max() <= 3


def test_preparing_the_judge_is_not_silent(monkeypatch, walks, capsys):
    def prepare(*_):
        time.sleep(0.3)
        raise ZeroDivisionError

    monkeypatch.setattr(progress, "LOG_TICK_SECONDS", 0.05)
    monkeypatch.setattr(cnn_classifier, "init_training", prepare)
    with pytest.raises(ZeroDivisionError):
        cnn_classifier.fit_cnn(*walks)
    assert "teaching a convolutional judge" in capsys.readouterr().err


# ----------------------------------------------------------------------------- the compact one


@pytest.fixture
def fit_compact(monkeypatch):
    monkeypatch.setattr(cnn_classifier, "COMPACT_STEPS", 60)
    monkeypatch.setattr(cnn_classifier, "COMPACT_WIDTHS", (8, 16))
    return cnn_classifier.fit_compact


def test_the_compact_judge_learns_repeats_itself_and_differs_by_seed(fit_compact, walks):
    x, users = walks
    targets, weights = identity.one_hot(users[::2]), np.ones(24)
    judge, again, other = (fit_compact(x[::2], targets, weights, seed) for seed in (0, 0, 1))
    p = judge.probabilities(x[1::2])
    assert (p.argmax(1) == users[1::2]).mean() > 0.9
    np.testing.assert_array_equal(p, again.probabilities(x[1::2]))
    assert np.abs(p - other.probabilities(x[1::2])).max() > 1e-3
    assert judge.features(x).shape == (48, 64)


def test_one_program_serves_all_seeds_and_numbers_of_windows(fit_compact, walks, monkeypatch):
    x, users = walks
    targets, programs = identity.one_hot(users), cnn_classifier.train_compact._cache_size
    fit_compact(x, targets, np.ones(48), 0)
    before = programs()
    fit_compact(x[4:], targets[4:], np.ones(44), 1)
    assert programs() == before
    monkeypatch.setattr(cnn_classifier, "COMPACT_ROOM", 8)
    fit_compact(x[6:], targets[6:], np.ones(42), 1)
    fit_compact(x, targets, np.ones(48), 2)
    assert programs() == before + 1


def test_windows_without_weight_teach_nothing(fit_compact, walks):
    x, users = walks
    right, wrong = identity.one_hot(users), identity.one_hot(1 - users)
    weights = np.repeat([1.0, 0.0], 48)
    judge = fit_compact(np.concatenate([x, x]), np.concatenate([right, wrong]), weights)
    assert (judge.probabilities(x).argmax(1) == users).mean() > 0.9


def test_a_soft_target_is_what_the_judge_answers(fit_compact, walks):
    x, users = walks
    targets = np.where(users[:, None] == 0, [0.7, 0.3], [0.0, 1.0]).astype(np.float32)
    p = fit_compact(x, targets, np.ones(48)).probabilities(x[:24])
    assert np.abs(p.mean(0) - [0.95 * 0.7, 0.3]).max() < 0.15


def test_users_are_drawn_equally_often():
    targets = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0.5, 0.5]])
    balanced = cnn_classifier.balance_users(targets, np.array([1, 1, 2, 1, 1.0]))
    np.testing.assert_allclose(balanced[2] / balanced[0], 2)
    hard = identity.one_hot(np.array([0, 0, 0, 1]))
    np.testing.assert_allclose(cnn_classifier.balance_users(hard, np.ones(4)), [1 / 3, 1 / 3, 1 / 3, 1])


def test_a_compact_judge_of_one_user_is_refused(walks):
    with pytest.raises(InputError, match="needs windows of 2 users"):
        cnn_classifier.fit_compact(walks[0][:4], np.eye(2)[[0] * 4], np.ones(4))


@pytest.mark.parametrize(("size", "stride", "shape"), [(4, 4, (16, 12)), (3, 2, (15, 9)), (5, 2, (16, 7))])
def test_patches_times_a_matrix_are_a_convolution(size, stride, shape):
    h = RNG.normal(size=(2, *shape, 3)).astype(np.float32)
    kernel = RNG.normal(size=(size, size, 3, 4)).astype(np.float32)
    made = cnn_classifier.cut_patches(jnp.asarray(h), size, stride) @ kernel.reshape(-1, 4)
    conv = nn.Conv(4, (size, size), strides=(stride, stride), use_bias=False)
    np.testing.assert_allclose(made, conv.apply({"params": {"kernel": kernel}}, h), atol=1e-3)
