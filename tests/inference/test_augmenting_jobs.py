"""Laws of samples that start from training windows or from other people's: what each depends on, and its label."""

import functools
import json

import numpy as np
import pytest

from mdiff_jax.data import labels
from mdiff_jax.inference import provenance, sample_writer, user_windows
from mdiff_jax.inference.augmenting_jobs import others_drawn_as, training_variations
from mdiff_jax.runtime.errors import InputError


def others(model, users, count, seed, strength=0.5, gamma=0.7):
    given = user_windows.training_windows(model, model.users)
    return others_drawn_as(model, given, users, strength, count, seed, gamma)


JOBS = {
    "training windows": functools.partial(training_variations, strength=0.5),
    "others": others,
}
each_job = pytest.mark.parametrize("make", JOBS.values(), ids=JOBS.keys())


def configured(model, **sample):
    config = model.config.copy_and_resolve_references()
    config.sample.update(sample)
    return model._replace(config=config)


@each_job
def test_a_sample_depends_on_seed_user_and_number_alone(trained, make):
    """Not on how many are asked for, of how many users, or on what else is in a batch."""
    many, few = make(trained, trained.users, count=2, seed=3), make(trained, trained.users[1:], count=1, seed=3)
    named = {task.name: i for i, task in enumerate(many.tasks)}
    (i,) = (named[task.name] for task in few.tasks)
    assert few.tasks[0].about == many.tasks[i].about
    drawn, alone = (
        np.concatenate([w.spectrograms for _, w in trained.run([t.request for t in job.tasks], 3, many.function, 4)])
        for job in (many, few)
    )
    np.testing.assert_allclose(alone[0], drawn[i], atol=1e-4)
    sources = [[t.about["source"] for t in make(trained, trained.users, count=9, seed=s).tasks] for s in (3, 4)]
    assert sources[0] != sources[1] and sources[0][9] == few.tasks[0].about["source"]


@each_job
def test_a_label_says_whose_a_window_is_and_what_it_was_made_from(trained, make):
    job = make(trained, ["walker_02"], count=3, seed=0)
    record = {"files": {f"{task.name}.png": task.about for task in job.tasks}}
    for label in provenance.make_labels(record):
        assert label.user == "walker_02" and label.weight == 1 and set(label.source) <= set(trained.split["train"])
        assert sum(label.soft_label.values()) == pytest.approx(1)
        (owner,) = {file.split("/")[0] for file in label.source}
        expected = {"walker_02": round(0.5**0.7, 4), "walker_01": ...} if make is others else {"walker_02": 1.0}
        assert label.soft_label.keys() == expected.keys()
        assert label.soft_label["walker_02"] == expected["walker_02"]
        assert (owner == "walker_02") == (make is not others)


def test_more_of_a_job_join_the_first_and_others_do_not(trained, tmp_path):
    first = sample_writer.write_job(training_variations(trained, ["walker_01"], 0.6, 1, 0), 0, tmp_path)
    job = training_variations(trained, trained.users, 0.6, 2, 0)
    files = sample_writer.write_job(job, 0, tmp_path)
    assert files[0] == first[0] and [tmp_path / label.file for label in labels.read_labels(tmp_path)] == files
    for other in (
        training_variations(trained, trained.users, 0.5, 2, 0),
        others(trained, trained.users, 2, 0, strength=0.6),
    ):
        with pytest.raises(InputError, match="give another --output_dir"):
            sample_writer.write_job(other, 0, tmp_path)
    assert labels.FILE in provenance.FILES


def test_every_training_window_is_varied_before_any_is_again(trained):
    job = training_variations(trained, trained.users, 1.0, 50, 0)
    for user in trained.users:
        own = [file for file in trained.split["train"] if file.startswith(f"{user}/")]
        sources = [task.about["source"][0] for task in job.tasks if task.about["user"] == user]
        assert set(sources[: len(own)]) == set(own) and sources[len(own) :] == sources[: 50 - len(own)]


def test_what_a_window_is_drawn_as_knows_nothing_of_its_owner_but_the_noised_window(trained):
    """The inputs have neither embedding nor index of the owner; as another user the same windows become others."""
    job = others(trained, ["walker_01"], 2, 0)
    for task in job.tasks:
        assert task.request.inputs.keys() == {"window", "frames"} and task.request.index == 0
    drawn, as_other = [], [t.request._replace(index=1) for t in job.tasks]
    for requests in ([t.request for t in job.tasks], as_other):
        drawn += [windows.spectrograms for _, windows in trained.run(requests, 0, job.function)]
    assert np.abs(drawn[0] - drawn[1]).mean() > 1e-3


def test_a_window_drawn_as_a_user_keeps_its_frames(native):
    job = others(native, native.users, 4, 0)
    frames = dict(zip(native.dataset.files, native.dataset.frames.tolist(), strict=True))
    got = np.concatenate([w.frames for _, w in native.run([t.request for t in job.tasks], 0, job.function)])
    assert got.tolist() == [frames[task.about["source"][0]] for task in job.tasks]
    assert len(set(got.tolist())) > 1


@pytest.mark.parametrize("gamma", [0.5, 0.7, 1.0])
def test_the_soft_label_is_the_users_the_more_the_noisier(trained, gamma):
    shares = [others(trained, ["walker_01"], 1, 0, s, gamma).tasks[0].about["soft_label"] for s in (0.3, 0.6, 0.9)]
    assert [label["walker_01"] for label in shares] == [round(s**gamma, 4) for s in (0.3, 0.6, 0.9)]
    assert [label["walker_02"] for label in shares] == [round(1 - s**gamma, 4) for s in (0.3, 0.6, 0.9)]


def test_a_file_of_somebody_else_is_drawn_as_a_new_user(enrolled, windows, tmp_path):
    given = user_windows.read_user_windows(enrolled, windows, None)
    job = others_drawn_as(enrolled, given, ["NEW"], 0.6, 8, 0)
    sample_writer.write_job(job, 0, tmp_path)
    read = labels.read_labels(tmp_path)
    assert {label.source[0] for label in read} == set(given.files)
    assert {frozenset(label.soft_label) for label in read} == {frozenset({"NEW", "stranger"})}
    assert json.loads((tmp_path / "provenance.json").read_text())["enrolled"].keys() == {"NEW"}
    with pytest.raises(InputError, match=r"gamma=0\.7, now it is 0\.5"):
        sample_writer.write_job(others_drawn_as(enrolled, given, ["NEW"], 0.6, 9, 0, 0.5), 0, tmp_path)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda m: others(m, ["walker_01"], 1, 0, 1.0), "strength is 1.0, which keeps nothing"),
        (lambda m: others(m, ["walker_01"], 1, 0, 0.5, 0.0), "soft_label_gamma is 0.0"),
        (lambda m: others(m, ["nobody"], 1, 0), "user 'nobody' is unknown"),
        (lambda m: training_variations(m, ["walker_01", "walker_01"], 0.5, 1, 0), "twice"),
        (lambda m: training_variations(m, ["NEW"], 0.5, 1, 0), "'NEW' was enrolled and has no training windows"),
        (
            lambda m: others_drawn_as(m, user_windows.training_windows(m, ["walker_01"]), ["walker_01"], 0.5, 1, 0),
            "are all of that user",
        ),
    ],
)
def test_jobs_that_cannot_be_are_refused(enrolled, make, says):
    with pytest.raises(InputError, match=says):
        make(enrolled)


@each_job
def test_each_job_is_of_its_kind(trained, make):
    settings = make(trained, ["walker_01"], count=1, seed=0).settings
    assert provenance.job_kind(settings) == "like"
