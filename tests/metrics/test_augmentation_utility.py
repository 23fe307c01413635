"""Training with added windows: good ones help, wrong names do not, and numbers are equal."""

import numpy as np
import pytest
from walker_sets import two_walkers

from mdiff_jax.metrics import augmentation_utility, identity
from mdiff_jax.metrics.reference import WindowSet
from mdiff_jax.runtime.errors import InputError

RNG = np.random.default_rng(0)


def test_the_curve_rewards_good_windows_and_punishes_wrong_names():
    every = WindowSet(*two_walkers())
    rows = np.random.default_rng(5).permutation(48)
    train, test, pool = (every.pick(r) for r in (rows[:8], rows[8:24], rows[24:]))

    def curve(generated):
        points = augmentation_utility.augmentation_curve(
            train, test, generated, identity.fit_linear, (0,), (1.0, 2.0), seeds=1
        )
        return {(p.source, p.share): p.accuracy for p in points}

    good, bad = curve(pool), curve(pool._replace(users=1 - pool.users))
    assert good["generated", 1.0] >= good["real", 0.0] > bad["generated", 2.0]
    assert {s for s, _ in good} == {"real", "generated", "shift", "noise", "mask", "mixup"}
    few = curve(pool.pick(np.arange(3)))
    assert ("generated", 2.0) not in few and ("mask", 2.0) in few
    assert not augmentation_utility.augmentation_curve(train, test, pool, identity.fit_linear, (50,), (1.0,), seeds=1)


def test_additions_are_of_the_same_number_and_of_the_right_users():
    every = WindowSet(*two_walkers())
    for name, made, users in augmentation_utility.augmentation_sources(every, every, 0.5, np.random.default_rng(0)):
        assert np.bincount(users).tolist() == [12, 12], name
        assert made.shape == (24, 64, 64) and np.abs(made).max() <= 1 and made.dtype == np.float32, name


def test_mixed_windows_lie_between_two_of_the_same_user():
    users = RNG.integers(2, size=48)
    x = (users * 2 - 1)[:, None, None] * np.ones((48, 4, 4), np.float32)
    rows = RNG.integers(48, size=20)
    mixed = augmentation_utility.mixup(x.astype(np.float32), users, rows, np.random.default_rng(0))
    np.testing.assert_allclose(mixed, x[rows], atol=1e-6)


def test_each_is_taken_once_before_any_is_taken_again():
    rows = augmentation_utility.sample_like(np.array([0, 0, 0, 1]), np.array([1, 0, 0, 1]), RNG)
    assert sorted(rows[:3]) in ([1, 1, 2], [1, 2, 2]) and rows[3] in (0, 3)
    assert not len(augmentation_utility.sample_like(np.array([2]), np.array([0]), RNG))


def test_labels_of_files_are_what_judges_are_trained_on():
    plain = augmentation_utility.label_windows(np.zeros((3, 4, 4), np.float32), np.array([0, 1, 1]), 2)
    soft = augmentation_utility.soften_labels(
        plain, ["a", "b", "c"], {"b": (0.5, {"Bo": 0.7, "Al": 0.3}), "z": (1.0, {"Bo": 1.0})}, ["Al", "Bo"]
    )
    np.testing.assert_allclose(soft.targets, [[1, 0], [0.3, 0.7], [0, 1]])
    assert soft.weights.tolist() == [1, 0.5, 1] and soft.users.tolist() == [0, 1, 1]
    assert plain.weights.tolist() == [1, 1, 1]
    with pytest.raises(InputError, match="'a' names 'Cy'"):
        augmentation_utility.soften_labels(plain, ["a", "b", "c"], {"a": (1.0, {"Cy": 1.0})}, ["Al", "Bo"])


def test_each_source_adds_so_many_windows_of_each_user():
    x, users = two_walkers()
    recorded = augmentation_utility.label_windows(x, users, 2).pick(np.arange(20, 40))  # 4 and 16
    for name in augmentation_utility.CLASSICAL_NAMES:
        made = augmentation_utility.classical_source(name, recorded, 0.5)(np.random.default_rng(0))
        assert np.bincount(made.users).tolist() == [2, 8] == made.targets.sum(0).tolist(), name
    pool = augmentation_utility.label_windows(x, users, 2)
    made = augmentation_utility.pool_source(pool, recorded, 1.0)(np.random.default_rng(0))
    assert np.bincount(made.users).tolist() == [4, 16] and len(np.unique(made.windows, axis=0)) == 20
    assert len(augmentation_utility.join_training_sets(recorded, made).windows) == 40
