"""Laws that an evaluation must pass before its figures are believed, on walkers."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter
from walker_sets import ZERO_DOPPLER, walker_sets

from mdiff_jax.evaluation import fidelity_measures, measures, report
from mdiff_jax.metrics import cnn_classifier, reference, simulator_truth
from mdiff_jax.metrics.reference import WindowSet


@pytest.fixture(scope="module")
def sets() -> tuple[WindowSet, WindowSet]:
    return walker_sets()


@pytest.fixture(scope="module")
def judged(sets):
    """Judges windows put in as samples: figures by name, of the group that is asked for."""
    train, test = sets
    judges = reference.make_reference(train, ZERO_DOPPLER, convolutional=False)
    real = judges.measure(test)

    def figures(group, windows, users) -> dict[str, measures.Figure]:
        made = judges.measure(WindowSet(np.ascontiguousarray(windows), users).sort_by_content())
        return {f.name: f for f in group(judges, real, made)}

    return figures


IDENTITY = lambda judges, real, made: measures.identity_figures(real, made)  # noqa: E731
PHYSICS = lambda judges, real, made: measures.physics_figures(real, made)  # noqa: E731
FIDELITY = lambda judges, real, made: fidelity_measures.fidelity_figures(judges, real, made)  # noqa: E731
NOVELTY = measures.novelty_figures
ALL = measures.all_figures
ACCURACY, KERNEL = "accuracy, linear judge", "kernel distance, linear judge"


def test_real_windows_score_as_real_and_are_no_copies(sets, judged):
    f = judged(ALL, *sets[1][:2])
    for name in [name for name in f if "distance" in name]:
        assert f[name].generated < f[name].real_range[1], name
    for name in (ACCURACY, "recognised, linear judge", "plausible", "median similarity", "median variety"):
        assert f[name].generated == pytest.approx(f[name].real, abs=1e-6), name
    assert f["suspected copies"].generated == f["suspected copies of a part"].generated == 0
    assert f[ACCURACY].real > 0.6 and f[ACCURACY].reliable


@pytest.mark.parametrize(
    "change",
    [lambda x: x, lambda x: np.roll(x, 17, 2), lambda x: np.concatenate([x[:, :, 20:], x[:, ::-1, :20]], 2)],
    ids=["as they are", "rolled in time", "moved on in time"],
)
def test_training_windows_are_copies(sets, judged, change):
    train, _ = sets
    noise = np.random.default_rng(0).normal(0, 0.03, train.windows.shape).astype(np.float32)
    f = judged(NOVELTY, np.clip(change(train.windows) + noise, -1, 1), train.users)
    assert f["suspected copies of a part"].generated > 0.95


def test_rolled_training_windows_are_betrayed_as_members(sets, judged):
    gap = judged(NOVELTY, np.roll(sets[0].windows, 17, 2), sets[0].users)["membership gap"]
    assert gap.generated > 0.005 + gap.real


def test_wrong_names_lose_identity_and_keep_the_rest(sets, judged):
    x, users = sets[1][:2]
    wrong = (users + 1) % 3
    f = judged(IDENTITY, x, wrong)
    assert f[ACCURACY].generated < 0.34 and f["balanced accuracy, linear judge"].generated < 0.34
    assert f["calibration error, linear judge"].generated > 2 * f["calibration error, linear judge"].real
    for group in (PHYSICS, FIDELITY):
        before, after = judged(group, x, users), judged(group, x, wrong)
        assert after == before


@pytest.mark.parametrize(
    ("spoil", "physics"),
    [
        (lambda x: x[:, ::-1], "plausible"),
        (lambda x: np.roll(x, 20, 1), "plausible"),
        (lambda x: np.repeat(x[:, :, :32], 2, 2), "plausible"),
        (lambda x: x[:, :, ::-1], "forward in time"),
    ],
    ids=["frequency flipped", "moved along the Doppler axis", "half of the steps, twice as slow", "time reversed"],
)
def test_spoilt_windows_are_not_possible(sets, judged, spoil, physics):
    f = judged(PHYSICS, spoil(sets[1].windows), sets[1].users)
    assert f[physics].generated < 0.5 * f[physics].real and f[physics].generated_range[1] < f[physics].real_range[0]
    if physics == "plausible":  # the measures' distributions do not hear time, nor does the linear judge
        far = f["distance of distributions"]
        assert far.generated > far.real_range[1]
        far = judged(FIDELITY, spoil(sets[1].windows), sets[1].users)[KERNEL]
        assert far.generated > far.real_range[1]


@pytest.mark.parametrize("kind", ["blurred", "averaged"])
def test_blurred_and_averaged_windows_are_far_from_real_ones(sets, judged, kind):
    """Averages can look possible, but no real walk is so smooth."""
    x, users = sets[1][:2]
    blurred = uniform_filter(x, (0, 9, 9))
    mean = np.stack([x[users == u].mean(0) for u in range(3)])[users]
    soft = blurred if kind == "blurred" else mean
    f = judged(FIDELITY, soft, users)[KERNEL]
    assert f.generated > f.real_range[1] and f.generated > 2 * f.real
    spread = judged(NOVELTY, soft, users)["median variety"]
    assert spread.generated < (0.8 if kind == "blurred" else 0.1) * spread.real


def test_one_window_a_user_has_no_variety(sets, judged):
    x, users = sets[1][:2]
    first = np.array([np.flatnonzero(users == u)[0] for u in users])
    f = judged(NOVELTY, x[first], users)["median variety"]
    assert f.generated == pytest.approx(0, abs=1e-5) and f.real > 0.02
    dimensions = judged(FIDELITY, x[first], users)[KERNEL]
    assert dimensions.generated > dimensions.real


def test_windows_of_some_users_only_can_be_judged(sets, judged):
    x, users = (field[sets[1].users == 1][:2] for field in sets[1][:2])
    f = judged(ALL, x, users)
    assert f["train on generated, test on real"].generated is None and 0 <= f[ACCURACY].generated <= 1
    sentences = report.state_verdict(list(f.values()), (), reference.LINEAR_JUDGE)
    assert len(sentences) == 6 and "some users" in sentences[4].text


def test_judges_are_trained_on_generated_windows_alone(sets, monkeypatch):
    """The linear one, and the convolutional one where the reference has it; wrong names teach nothing."""
    steps, fit = [], cnn_classifier.fit_cnn

    def fit_briefly(*given, **named):
        steps.append(named["steps"])
        return fit(*given, steps=4)

    monkeypatch.setattr(cnn_classifier, "fit_cnn", fit_briefly)
    train, test = sets
    judges = reference.make_reference(train, ZERO_DOPPLER, convolutional=False)
    judges.judges[reference.CONVOLUTIONAL_JUDGE] = judges.judges[reference.LINEAR_JUDGE]
    real, metric, found = judges.measure(test, overlaps=False), "train on generated, test on real", {}
    for name, users in (("right", train.users), ("wrong", (train.users + 1) % 3)):
        made = judges.measure(WindowSet(train.windows, users), overlaps=False)
        found[name] = {f.name: f for f in measures.usefulness_figures(judges, real, made)}
    assert steps == 4 * [measures.SHORT_TRAINING], "once on generated, once on recorded ones"
    assert found["right"][metric].generated > 0.6 > 0.3 > found["wrong"][metric].generated
    convolutional = found["right"][f"{metric}, {reference.CONVOLUTIONAL_JUDGE}"]
    assert convolutional.generated == convolutional.real, "the same windows teach the same"


def test_a_search_leaves_out_what_needs_more_windows(sets):
    judges = reference.make_reference(sets[0], ZERO_DOPPLER, convolutional=False)
    real = judges.measure(sets[1], overlaps=False)
    first = np.array([np.flatnonzero(sets[1].users == u)[0] for u in range(3)])
    assert measures.quick_figures(real, real).keys() >= {"variety", "kernel distance"}
    one_each = measures.quick_figures(real.pick(first), real.pick(first)).keys()
    assert "variety" not in one_each and "kernel distance" in one_each
    assert "kernel distance" not in measures.quick_figures(real.pick(first[:1]), real.pick(first))


def test_the_order_of_windows_does_not_matter(sets, judged):
    order = np.random.default_rng(1).permutation(len(sets[1].users))
    a, b = judged(ALL, *sets[1][:2]), judged(ALL, sets[1].windows[order], sets[1].users[order])
    for name in a:
        assert a[name].generated == pytest.approx(b[name].generated, abs=1e-6), name
        assert a[name].generated_range == pytest.approx(b[name].generated_range, abs=1e-6), name


def test_a_judge_trained_on_wrong_names_is_not_reliable(sets):
    train, test = sets
    shuffled = train._replace(users=np.random.default_rng(0).permutation(train.users))
    judges = reference.make_reference(shuffled, ZERO_DOPPLER, convolutional=False)
    real = judges.measure(test, overlaps=False)
    figures = list(measures.identity_figures(real, real))
    assert figures and not any(f.reliable for f in figures)


def test_walkers_are_scored_against_the_truth_of_who_they_are_said_to_be(sets, judged):
    known = simulator_truth.simulator_truth(3, 0, np.linspace(5.15, -1.15, 64).tolist())
    group = lambda judges, real, made: measures.truth_figures(known, real, made)  # noqa: E731
    x, users = sets[1][:2]
    right, wrong = judged(group, x, users), judged(group, x, (users + 1) % 3)
    assert len(right) == 3
    assert wrong["torso speed off the truth"].generated > 1.2 * right["torso speed off the truth"].generated
    for name in list(right)[1:]:
        assert right[name].generated == right[name].real > 0.5 > wrong[name].generated
