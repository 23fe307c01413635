"""Laws of what networks are told of people, and that they hear it whichever way a person is sampled."""

import numpy as np
import pytest

from mdiff_jax.inference import people, sampling_jobs, user_windows
from mdiff_jax.inference.loading import load
from mdiff_jax.inference.user_adapters import write_adapter
from mdiff_jax.models.layers import NO_ROW


def test_references_are_told_by_mean_deviation_and_number():
    z = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)
    told = people.pool_references(z, np.array([[True, False, True], [False, True, False]]))
    np.testing.assert_allclose(told[0, :5], (z[0, 0] + z[0, 2]) / 2, rtol=1e-5)
    np.testing.assert_allclose(told[0, 5:10], np.abs(z[0, 0] - z[0, 2]) / 2, rtol=1e-4)
    np.testing.assert_allclose(told[:, 10], np.log([0.2, 0.1]), rtol=1e-6)
    np.testing.assert_array_equal(told[1, :5], z[1, 1])
    np.testing.assert_array_equal(told[1, 5:10], 0.0)
    np.testing.assert_allclose(people.describe_person(z[0]), people.pool_references(z, np.ones((2, 3), bool))[0])


def test_a_trained_user_is_told_by_windows_spread_from_first_to_last():
    z = np.arange(30.0, dtype=np.float32)[:, None]
    told = people.describe_users(z, [np.arange(20), np.arange(20, 23)], most=4)
    np.testing.assert_allclose(told[0, 0], np.mean([0, 6, 13, 19]))
    np.testing.assert_allclose(told[:, 2], np.log([0.4, 0.3]), rtol=1e-6)


def drawn(job):
    return np.concatenate([x.spectrograms for _, x in job.model.run([t.request for t in job.tasks], 0, job.function)])


@pytest.fixture(scope="module")
def model(reference_root):
    return load(reference_root)


@pytest.fixture(scope="module")
def other(model):
    """The model, told of another first user."""
    told = model.constants["people"].copy()
    told[0] += 1.0
    return model._replace(constants=model.constants | {"people": told})


def test_a_trained_user_is_sampled_as_its_references_say_and_nobody_else_changes(model, other):
    first, second = model.sample(model.users, 1), other.sample(model.users, 1)
    assert np.abs(first[0] - second[0]).max() > 1e-3
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.thorough
def test_each_way_to_sample_hears_the_references(model, other):
    given = model.dataset.load(np.arange(1))
    jobs = {
        "like": lambda m: sampling_jobs.variations(m, windows_of(model, given), 0.7, 1, 0),
        "seconds": lambda m: sampling_jobs.long_walks(m, m.users[:1], 1, 0, 5.0, 2.0),
        "interpolate": lambda m: sampling_jobs.interpolate(m, m.users, 2, 1, 0),
    }
    for name, make in jobs.items():
        one, two = make(model), make(other)
        two = two._replace(function=one.function)  # compiled once
        assert np.abs(drawn(one)[0] - drawn(two)[0]).max() > 1e-3, name


def windows_of(model, x):
    return user_windows.UserWindows(("file",), model.users[:1], x, model.dataset.frames[:1], "", {})


def test_the_null_condition_is_nobody(model, other):
    scales = {"sample.cond_scale": 0.0, "sample.prior_cond_scale": 0.0}
    configs = []
    for m in (model, other):
        config = m.config.copy_and_resolve_references()
        config.update_from_flattened_dict(scales)
        configs.append(m._replace(config=config))
    np.testing.assert_array_equal(*(m.sample(m.users[:1], 1) for m in configs))


def with_rows(model, change):
    """The model with other rows of its trained users."""
    params = dict(model.params)
    for name in ("prior", "decoder"):
        table = np.array(params[name]["user"]["embedding"])
        table[:-1] += change
        params[name] = params[name] | {"user": params[name]["user"] | {"embedding": table}}
    return model._replace(params=params)


def test_windows_of_a_user_whose_row_is_dropped_do_not_depend_on_it(model):
    other = with_rows(model, 1.0)
    for index, depends in ((0, True), (NO_ROW, False)):
        requests = [r._replace(index=index) for r in model.requests(model.users[:1], [0])]
        both = [np.concatenate([x.spectrograms for _, x in m.run(requests, 0)]) for m in (model, other)]
        assert (np.abs(both[0] - both[1]).max() > 1e-3) == depends


@pytest.fixture(scope="module", params=[True, False], ids=["row", "no row"])
def with_new(request, workdirs, tmp_path_factory):
    """A model to which the windows of the first trained user were added as NEW; with and without rows."""
    root = tmp_path_factory.mktemp("new")
    model = load(workdirs.make_workdir(root, people={"references": True, "user_row": request.param}))
    adapter = people.person_adapter(model, model.dataset.load(np.arange(6)), model.dataset.frames[:6])
    write_adapter(root / "enrolled" / "NEW.npz", adapter)
    return load(root)


def test_a_new_person_has_no_row_and_is_sampled_by_references_alone(with_new):
    expected = people.describe_person(with_new.embed(with_new.dataset.load(np.arange(6)), with_new.dataset.frames[:6]))
    np.testing.assert_allclose(with_new.people["NEW"]["person"], expected, atol=1e-5)
    request = with_new.requests(["NEW"], [0])
    ways = [request, [request[0]._replace(index=NO_ROW)]]
    windows = [np.concatenate([x.spectrograms for _, x in with_new.run(way, 0)]) for way in ways]
    np.testing.assert_array_equal(*windows)


@pytest.mark.thorough
def test_a_strip_between_a_trained_user_and_a_new_person_ends_at_both(with_new):
    job = sampling_jobs.interpolate(with_new, ("walker_02", "NEW"), 3, 1, 0)
    told = [task.request.inputs["person"] for task in job.tasks]
    for i, user in ((0, "walker_02"), (2, "NEW")):
        np.testing.assert_allclose(told[i], with_new.people[user]["person"], atol=1e-6)
    np.testing.assert_allclose(told[1], (told[0] + told[2]) / 2, atol=1e-6)
    x = drawn(job)
    for i, user in ((0, "walker_02"), (2, "NEW")):  # the decoder hears of an end what it hears of that user
        request = job.tasks[i].request._replace(index=with_new.index(user))
        (alone,) = [w.spectrograms for _, w in with_new.run([request], 0, job.function)]
        np.testing.assert_allclose(x[i], alone[0], atol=1e-4)
