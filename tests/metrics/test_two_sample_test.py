"""Laws of telling two sets of windows apart: what is the same cannot be told, what is changed can."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter
from walker_sets import drawn_walks

from mdiff_jax.metrics import spectra, two_sample_test
from mdiff_jax.metrics.reference import MeasuredSet, WindowSet

ZERO_DOPPLER = 52 / 64
FILE_KINDS = [kind for kind in two_sample_test.KINDS if kind != two_sample_test.JUDGE_FEATURES]


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch):
    monkeypatch.setattr(two_sample_test, "DRAWS", 3)


def measured(windows, users, recordings=None, indices=None) -> MeasuredSet:
    """A set with the measures that the test needs; the judge's features are areas."""
    files = spectra.measure_files(windows, ZERO_DOPPLER)
    features = {"judge": windows.reshape(len(windows), 8, -1).std(2)}
    windows, none = WindowSet(windows, users, recordings, indices), np.zeros(len(users))
    return MeasuredSet(windows, "judge", {}, features, {}, none, none.astype(int), None, None, files)


def recorded(seed: int, walks: int = 60) -> MeasuredSet:
    """Walks of a window each, so that all windows are independent."""
    users = np.arange(walks) % 2
    rng = np.random.default_rng(seed)
    windows = np.stack([drawn_walks(1, user, rng)[0] for user in users])
    return measured(windows, users, np.array([f"walk/{i}" for i in range(walks)]), np.zeros(walks, int))


def generated_by(change, seed: int = 1) -> MeasuredSet:
    """As many other windows, changed."""
    made = recorded(seed).window_set
    return measured(np.clip(change(made.windows), -1, 1).astype(np.float32), made.users)


def test_windows_of_one_distribution_cannot_be_told_apart():
    told = [
        two_sample_test.tell_from_recorded(recorded(seed), generated_by(lambda x: x, 9 + seed)) for seed in (0, 1, 2)
    ]
    for kind in two_sample_test.KINDS:
        of_generated, of_real = (np.mean([found[kind][k].mean() for found in told]) for k in (0, 1))
        assert 0.4 < of_generated < 0.6, kind
        assert 0.4 < of_real < 0.6, kind


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda x: x + np.random.default_rng(0).normal(0, 0.2, x.shape), "gradients"),
        (lambda x: uniform_filter(x, (0, 3, 3)), "gradients"),
        (lambda x: uniform_filter(x, (0, 3, 3)), "levels"),
        (lambda x: x + 0.15, "levels"),
        (lambda x: np.roll(x, 3, 1), "row statistics"),
        (lambda x: np.roll(x, 3, 1), "16x16 averages"),
        (lambda x: 0.8 * x, "judge features"),
    ],
    ids=["noise", "smoothing", "smoothing, by levels", "brighter", "moved", "moved, by areas", "weaker"],
)
def test_what_was_changed_is_told(change, kind):
    told = two_sample_test.tell_from_recorded(recorded(0), generated_by(change))[kind]
    assert told.generated.mean() > 0.95 and told.real.mean() < 0.6


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 3)), min_size=4, max_size=60))
def test_folds_share_no_recording_and_users_weigh_the_same_in_both_sets(windows):
    kind, users, groups = np.array(sorted(windows)).T
    groups = 4 * users + groups
    first = int((kind == 0).sum())
    folds = two_sample_test.make_folds(users[:first], groups[:first], users[first:], groups[first:], seed=0)
    for train, weights, test in folds:
        assert not set(groups[train]) & set(groups[test])
        assert set(kind[train]) == set(kind[test]) == {0, 1} and (weights > 0).all()
        for user in users[train]:
            both = [weights[(users[train] == user) & (kind[train] == k)].sum() for k in (0, 1)]
            assert both[0] == pytest.approx(both[1])


def test_neither_recordings_nor_users_tell_sets_of_one_distribution_apart():
    """Marks of recordings count where folds cut through them; marks of users pull the figure down without weights."""
    values = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        users, groups = np.repeat(np.arange(6), 12), np.arange(72) // 4  # three recordings of each user in each set
        of_user, of_group = 3 * rng.normal(size=(6, 20)), rng.normal(size=(36, 20))
        x = [of_user[users] + of_group[g] + rng.normal(0, 0.1, (72, 20)) for g in (groups, 18 + groups)]
        windows = np.arange(144)
        folds = two_sample_test.make_folds(users, groups, users, 18 + groups, seed=0)
        cut = two_sample_test.make_folds(users, windows[:72], users, windows[72:], seed=0)
        plain = [fold._replace(train=np.setdiff1d(windows, fold.test)) for fold in folds]
        plain = [fold._replace(weights=np.ones(len(fold.train))) for fold in plain]
        values.append([two_sample_test.held_out_auc(*x, kind) for kind in (folds, cut, plain)])
    grouped, through, unweighted = np.mean(values, axis=0)
    assert 0.42 < grouped < 0.58 and through > 0.7 and unweighted < grouped - 0.08


def test_the_order_of_generated_windows_decides_nothing_but_the_draw():
    test, made = recorded(0), generated_by(lambda x: x + 0.15)
    turned = made.pick(np.arange(made.count())[::-1])
    a, b = (two_sample_test.tell_from_recorded(test, s) for s in (made, turned))
    for kind in two_sample_test.KINDS:
        assert a[kind].generated.mean() == pytest.approx(b[kind].generated.mean(), abs=0.06)
        assert np.array_equal(a[kind].real, b[kind].real)


def test_rewritten_windows_are_compared_as_the_other_half_is():
    test = recorded(0)
    told = two_sample_test.tell_from_recorded(test._replace(rewritten={k: test.files[k] for k in FILE_KINDS}), test)
    for kind in FILE_KINDS:
        assert np.array_equal(told[kind].rewritten, told[kind].real)
    assert told[two_sample_test.JUDGE_FEATURES].rewritten is None


def test_a_single_recording_cannot_be_compared():
    test = recorded(0)
    one = test._replace(window_set=test.window_set._replace(recordings=None, indices=None))
    assert two_sample_test.tell_from_recorded(one, one) is not None
    walk = test.window_set._replace(
        recordings=np.full(60, "walk/1"), indices=10 * np.arange(60), users=np.zeros(60, int)
    )
    assert two_sample_test.tell_from_recorded(test._replace(window_set=walk), test) is None


def test_level_histograms_are_shares():
    windows = np.random.default_rng(0).uniform(-1, 1, (3, 8, 9)).astype(np.float32)
    windows[0], windows[1] = -1, 1
    shares = two_sample_test.level_histogram(windows, 16)
    assert np.allclose(shares.sum(1), 1) and shares[0, 0] == shares[1, -1] == 1
    assert np.allclose(shares[2], np.histogram(windows[2], 16, (-1, 1))[0] / 72)


@pytest.mark.parametrize("size", [(8, 8), (16, 100), (256, 256), (130, 17)])
def test_windows_of_any_size_have_features(size):
    x = np.random.default_rng(0).uniform(-1, 1, (2, *size)).astype(np.float32)
    features = two_sample_test.window_features(x)
    assert list(features) == FILE_KINDS or set(features) == set(FILE_KINDS)
    assert all(len(value) == 2 and np.isfinite(value).all() for value in features.values())
