"""Laws of the single measures, on arrays whose answer is known."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.linalg import sqrtm

from mdiff_jax.data import colormap
from mdiff_jax.metrics import (
    augmentation_utility,
    bootstrap,
    cnn_classifier,
    distances,
    identity,
    kinematics,
    memorization,
    reference,
)
from mdiff_jax.metrics.reference import WindowSet
from mdiff_jax.runtime.errors import InputError

RNG = np.random.default_rng(0)


def gait(count: int, user: int, rng: np.random.Generator, columns: int = 64) -> np.ndarray:
    """Ridge with a bob and four lobes that rise slowly and fall fast, at any phase; users differ in height."""
    time = np.arange(columns)[None] / columns * 4 + rng.uniform(size=(count, 1))
    rise = (time % 1.0) ** 2
    zero, torso, leg = 52, 9 + np.sin(2 * np.pi * time), (30 + 7 * user) * rise
    row = zero - np.arange(64)[None, :, None]
    inside = (row > 2) & (row < np.maximum(torso + 2, leg)[:, None])
    speckle = rng.uniform(-0.4, 0.2, size=inside.shape)
    x = np.where(np.abs(row - torso[:, None]) < 1.5, 1.0, np.where(inside, speckle, -1.0))
    return x.astype(np.float32)


@pytest.fixture(scope="module")
def walks() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return np.concatenate([gait(24, u, rng) for u in range(2)]), np.repeat([0, 1], 24)


# ------------------------------------------------------------------- identity


def test_confusion_calibration_and_users_by_hand():
    p = np.array([[0.9, 0.1], [0.7, 0.3], [0.35, 0.65], [0.05, 0.95]], np.float32)
    users = np.array([0, 1, 1, 1])
    assert identity.confusion_matrix(p, users).tolist() == [[1, 0], [1, 2]]
    assert identity.accuracy_by_user(p, users) == {0: 1.0, 1: pytest.approx(2 / 3)}
    expected = (abs((0.9 - 1) + (0.95 - 1)) + abs(0.7 - 0) + abs(0.65 - 1)) / 4
    assert identity.calibration_error(p, users) == pytest.approx(expected, abs=1e-6)
    one_right = identity.calibration_error(np.array([[0.05, 0.95]] * 2, np.float32), np.array([0, 1]))
    assert one_right == pytest.approx(0.45, abs=1e-6)  # 95 % sure, right for half


def test_columns_are_users_also_where_one_was_never_shown(walks):
    x, users = walks
    p = identity.fit_linear(x, users * 2).probabilities(x)  # users 0 and 2
    assert p.shape == (48, 3) and not p[:, 1].any()
    assert (p.argmax(1) == users * 2).mean() > 0.9


def test_a_judge_of_one_user_is_refused(walks):
    with pytest.raises(InputError, match="2 users"):
        identity.fit_linear(walks[0], np.zeros(48, int))


def test_the_convolutional_judge_learns_and_repeats_itself(monkeypatch):
    monkeypatch.setattr(cnn_classifier, "WIDTHS", (8, 16))
    x, users = np.concatenate([gait(24, 2 * u, RNG) for u in range(2)]), np.repeat([0, 1], 24)
    x = x.reshape(48, 16, 4, 16, 4).mean((2, 4))
    judge, again = (cnn_classifier.fit_cnn(x[::2], users[::2], seed=3, steps=40) for _ in range(2))
    p = judge.probabilities(x[1::2])
    assert (p.argmax(1) == users[1::2]).mean() > 0.9
    np.testing.assert_allclose(p, again.probabilities(x[1::2]), atol=1e-4)
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)
    assert judge.features(x).shape == (48, 64) and np.abs(judge.features(x)).max() <= 3


# ------------------------------------------------------------------- distances


@pytest.mark.parametrize("count", [200, 6], ids=["more windows than features", "fewer"])
def test_frechet_is_the_formula_of_the_paper(count):
    a, b = RNG.normal(size=(count, 8)), 1 + 2 * RNG.normal(size=(count, 8))
    A, B = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    shift = ((a.mean(0) - b.mean(0)) ** 2).sum()
    expected = shift + np.trace(A + B - 2 * sqrtm(A @ B + 1e-12 * np.eye(8)).real)
    assert distances.frechet_distance(a, b) == pytest.approx(expected, rel=1e-3)
    assert distances.frechet_distance(a, a) == pytest.approx(0, abs=1e-8)


def test_manifold_of_the_same_of_far_and_of_repeated_windows():
    real, other = RNG.normal(size=(2, 60, 4))
    same = distances.manifold_metrics(real, real, 5)
    assert same.precision == same.recall == same.coverage == 1
    assert distances.manifold_metrics(real + 50, real, 5) == (0, 0, 0, 0)
    fresh = distances.manifold_metrics(other, real, 5)
    one = distances.manifold_metrics(np.tile(other[np.abs(other).sum(1).argmin()], (60, 1)), real, 5)
    assert one.precision == 1 and one.recall < 0.1 and one.coverage < 0.5 * fresh.coverage


def test_density_and_coverage_by_hand():
    """Three real points on a line, k = 1: the balls are [-1, 1], [0, 2] and [-1, 5]."""
    real, made = np.array([[0.0], [1.0], [2.0]]), np.array([[-0.5], [9.0]])
    found = distances.manifold_metrics(np.repeat(made, 1, 0), real, 1)
    assert found.precision == 0.5 and found.density == 0.5 and found.coverage == pytest.approx(1 / 3)


def test_dimensions_count_the_directions():
    x = np.zeros((4000, 10))
    x[:, :3] = RNG.normal(size=(4000, 3))
    assert distances.effective_dimensions(x) == pytest.approx(3, abs=0.05)


# ------------------------------------------------------------------- intervals


def test_walks_that_agree_within_count_as_one():
    """100 windows of 5 walks, all alike within a walk, say no more than 5 windows do."""
    right = np.repeat([1.0, 0.0, 1.0, 1.0, 0.0], 20)
    wide = bootstrap.bootstrap_interval(right, np.repeat(np.arange(5), 20), seed=0)
    five = bootstrap.bootstrap_interval(right[::20], np.arange(5), seed=0)
    narrow = bootstrap.bootstrap_interval(right, np.arange(100), seed=0)
    assert wide == five and wide[1] - wide[0] > 3 * (narrow[1] - narrow[0])
    assert wide[0] < right.mean() < wide[1]


def test_halves_of_walks_share_no_pixel():
    """One user of a single walk, one of three."""
    users = np.repeat([0, 1], 30)
    units = np.concatenate([np.zeros(30, int), 1 + np.arange(30) // 10])
    places = np.tile(np.arange(30), 2) + 1000 * units
    for seed in range(20):
        a, b = bootstrap.split_halves(users, units, places, 3, np.random.default_rng(seed))
        assert not (a & b).any() and min(a.sum(), b.sum()) >= 20
        assert not bootstrap.share_pixels(a, b, places, 3) and bootstrap.share_pixels(a, ~a, places, 3)
        assert min(np.bincount(users[a], minlength=2)) > 0 < min(np.bincount(users[b], minlength=2))


def test_halves_of_next_to_nothing_share_pixels():
    places = np.arange(4)
    a, b = bootstrap.split_halves(np.zeros(4, int), np.zeros(4, int), places, 3, np.random.default_rng(0))
    assert a.sum() == b.sum() == 2 and bootstrap.share_pixels(a, b, places, 3)


# ------------------------------------------------------------------- novelty


def by_hand(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation of the columns in common, at the best lag that leaves half of them."""
    frames, best = a.shape[1], -1.0
    for lag in range(-(frames // 2), frames // 2 + 1):
        x = a[:, max(lag, 0) : frames + min(lag, 0)]
        y = b[:, max(-lag, 0) : frames + min(-lag, 0)]
        best = max(best, np.corrcoef(x.ravel(), y.ravel())[0, 1])
    return best


def test_correlation_of_a_part_is_the_correlation_by_hand():
    made, real = RNG.normal(size=(4, 6, 12)).astype(np.float32), RNG.normal(size=(5, 6, 12)).astype(np.float32)
    table = np.array([[by_hand(a, b) for b in real] for a in made])
    value, place = memorization.nearest_overlapping_window(made, real)
    np.testing.assert_allclose(value, table.max(1), atol=1e-5)
    np.testing.assert_array_equal(place, table.argmax(1))


def test_chunks_do_not_matter(monkeypatch):
    made, real = RNG.normal(size=(7, 6, 12)).astype(np.float32), RNG.normal(size=(5, 6, 12)).astype(np.float32)
    whole = memorization.nearest_overlapping_window(made, real)
    monkeypatch.setattr(memorization, "CHUNK", 3)
    for a, b in zip(whole, memorization.nearest_overlapping_window(made, real), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("by", [5, 32, 50])
def test_rolled_and_moved_on_windows_are_found(by):
    long = gait(6, 0, np.random.default_rng(2), 128)
    training = np.ascontiguousarray(long[:, :, :64])
    rolled = np.roll(training, by, axis=2)
    np.testing.assert_allclose(memorization.nearest_overlapping_window(rolled, training)[0], 1, atol=1e-4)
    moved = np.ascontiguousarray(long[:, :, min(by, 32) : min(by, 32) + 64])
    value, place = memorization.nearest_overlapping_window(moved, training)
    np.testing.assert_allclose(value, 1, atol=1e-4)
    np.testing.assert_array_equal(place, np.arange(6))


def test_a_copy_is_shown_where_it_was_rolled_to(walks):
    rolled = np.stack([np.roll(window, 5 * k, 1) for k, window in enumerate(walks[0][:4])])
    np.testing.assert_array_equal(memorization.align_in_time(rolled, walks[0][:4]), rolled)


def test_a_copy_is_found_after_jet_and_jpeg(walks):
    training, unseen = walks[0][:12], walks[0][12:24]
    buffer, out = io.BytesIO(), []
    for window in np.roll(training, 11, axis=2):
        Image.fromarray(colormap.to_rgb(np.kron((window + 1) / 2, np.ones((4, 4))), "jet")).save(buffer, "JPEG")
        out.append(colormap.to_scalar(np.asarray(Image.open(buffer).convert("RGB")), "jet") * 2 - 1)
        buffer = io.BytesIO()
    found, scale = (
        memorization.nearest_overlapping_window(made, training)[0]
        for made in (memorization.pool_windows(np.stack(out)), unseen)
    )
    assert memorization.copy_share(found, scale) == 1 and memorization.copy_share(scale, scale) == 0


# ------------------------------------------------------------------- kinematics


def test_time_has_an_arrow(walks):
    x = walks[0]
    forward = kinematics.measure_kinematics(x, 52 / 64)["arrow"]
    backward = kinematics.measure_kinematics(np.ascontiguousarray(x[:, :, ::-1]), 52 / 64)["arrow"]
    assert (forward < 0).mean() > 0.95
    np.testing.assert_allclose(forward, -backward, atol=1e-6)


def test_steps_coincide_whenever_windows_begin(walks):
    """The envelope of a window and of the same rolled, each moved into step, are one to a frame or a step."""
    envelope = kinematics.measure_envelopes(walks[0][:6], 52 / 64)["highest"]
    rolled = np.roll(envelope, 7, axis=1)
    by, again = kinematics.align_steps(envelope), kinematics.align_steps(rolled)
    assert (np.abs((again + 7 - by + 8) % 16 - 8) <= 1).all()  # 16 frames a step


def test_strides_alternate_where_left_and_right_differ():
    time = np.arange(64) / 64 * 4
    same = np.sin(np.pi * time) ** 2 * 10
    uneven = same * np.where(time.astype(int) % 2, 1.0, 0.85)
    level = kinematics.left_right_alternation(np.stack([same, uneven]), np.array([4.0, 4.0]))
    assert level[1] > level[0] + 0.03
    assert kinematics.left_right_alternation(same[None], np.zeros(1)) == 0


def test_the_lowest_return_mirrors_the_highest(walks):
    x = walks[0]
    rows = kinematics.top_rows(np.ascontiguousarray(x[:, ::-1]))
    np.testing.assert_allclose(kinematics.lowest_rows(x), 64 - rows)


# ------------------------------------------------------------------- usefulness


def test_the_curve_rewards_good_windows_and_punishes_wrong_names(walks):
    every = WindowSet(*walks)
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


def test_additions_are_of_the_same_number_and_of_the_right_users(walks):
    every = WindowSet(*walks)
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


# ------------------------------------------------------------------- a function of somebody's own


def test_a_feature_function_that_gives_no_features_is_refused(walks):
    for wrong in (lambda x: x, lambda x: x.mean((1, 2)), lambda x: np.full((len(x), 2), np.nan)):
        with pytest.raises(InputError, match="feature function"):
            reference.check_features(wrong)(walks[0])
    assert reference.check_features(lambda x: x[:, :, 0])(walks[0]).shape == (48, 64)
