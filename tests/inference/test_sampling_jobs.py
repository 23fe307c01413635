"""Laws of what can be sampled: strips between users, variations of given windows, longer walks."""

import dataclasses
import itertools
import json
import re

import numpy as np
import pytest
from PIL import Image

from mdiff_jax.data import labels
from mdiff_jax.inference import sample_writer, sampling_jobs, user_windows
from mdiff_jax.runtime.errors import InputError


def test_a_strip_goes_from_one_user_to_the_other_by_small_steps(trained, tmp_path):
    job = sampling_jobs.interpolate(trained, trained.users, 6, 1, 0)
    files = sample_writer.write_job(job, 0, tmp_path, sample_writer.SaveOptions(npz=True))
    assert len(files) == 6 and (tmp_path / "strip.png").stat().st_size > 1000
    with np.load(tmp_path / "samples.npz") as npz:
        x = npz["spectrogram"]
    steps = [np.abs(a - b).mean() for a, b in itertools.pairwise(x)]
    assert 0 < max(steps) < 0.5 * np.abs(x[0] - x[-1]).mean()
    back = sampling_jobs.interpolate(trained, trained.users, 2, 1, 0)  # the ends do not depend on what lies between
    ends = np.concatenate(
        [w.spectrograms for _, w in back.model.run([t.request for t in back.tasks], 0, back.function)]
    )
    np.testing.assert_allclose(ends, x[[0, -1]], atol=1e-5)
    shares = [f["share_of_second"] for f in json.loads((tmp_path / "provenance.json").read_text())["files"].values()]
    assert shares[0] == 0 and shares[-1] == 1
    written = labels.read_labels(tmp_path)
    assert [label.soft_label.get(trained.users[1], 0) for label in written] == shares
    assert written[0].soft_label == {trained.users[0]: 1} and written[0].user == "walker_01_to_walker_02"


def test_many_strips_are_drawn_in_batches_as_one_by_one(trained):
    """`sample.batch_size` is 2."""
    many = sampling_jobs.interpolate(trained, trained.users, 2, 3, 0)
    one = sampling_jobs.interpolate(trained, trained.users, 2, 1, 0)
    for few, all_ in zip(one.tasks, many.tasks, strict=False):
        np.testing.assert_allclose(few.request.inputs["embedding"], all_.request.inputs["embedding"], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"seconds": 1e5}, "seconds is 100000.0: give a number above 0, at most 600"),
        ({"seconds": float("nan")}, "seconds is nan"),
        ({"seconds": 500.0, "window_duration": 1e-3}, "windows: give a walk of at most 1000"),
        ({"seconds": 5.0, "window_duration": 0.0}, "window_seconds is 0.0"),
    ],
)
def test_a_walk_that_memory_does_not_hold_is_refused(trained, arguments, says):
    with pytest.raises(InputError, match=re.escape(says)):
        sampling_jobs.long_walks(trained, trained.users, 1, 0, **({"window_duration": None} | arguments))


def test_a_strip_between_a_user_and_a_new_person_ends_at_both(enrolled, tmp_path):
    """The decoder hears of the last window of the strip what it hears of the person."""
    job = sampling_jobs.interpolate(enrolled, ("walker_01", "NEW"), 3, 1, 0)
    tables = job.model.adapters["decoder"]["modulations"]
    for name, table in tables.items():
        np.testing.assert_allclose(table[-1], enrolled.enrolled["NEW"].modulations[name], atol=1e-6)
        np.testing.assert_allclose(table[-3], 0.0)
        np.testing.assert_allclose(table[-2], (table[-1] + table[-3]) / 2, atol=1e-6)


def test_variations_stay_the_nearer_the_weaker(trained, windows):
    distance = []
    for strength in (0.6, 1.0):
        config = trained.config.copy_and_resolve_references()
        config.decoder.sample_timesteps = 10
        job = sampling_jobs.variations(
            trained._replace(config=config),
            user_windows.read_user_windows(trained, windows, "walker_02"),
            strength,
            1,
            0,
        )
        x = np.concatenate([w.spectrograms for _, w in job.model.run([t.request for t in job.tasks], 0, job.function)])
        distance.append(np.abs(x - np.stack([t.request.inputs["window"][..., 0] for t in job.tasks])).mean())
    assert distance[0] < distance[1]


def test_a_strength_that_cannot_be_leaves_nothing_behind(trained, windows, tmp_path):
    job = sampling_jobs.variations(
        trained, user_windows.read_user_windows(trained, next(windows.glob("*.png")), "walker_01"), 1e-6, 1, 0
    )
    with pytest.raises(InputError, match="strength = 1e-06"):
        sample_writer.write_job(job, 0, tmp_path)
    assert not list(tmp_path.iterdir())


def test_variations_are_of_users_that_the_model_knows(trained, windows):
    with pytest.raises(InputError, match="user 'stranger' is unknown"):
        sampling_jobs.variations(trained, user_windows.read_user_windows(trained, windows, None), 0.5, 1, 0)


def test_seconds_give_wider_images(trained, tmp_path):
    lasts = trained.dataset.metadata["window_seconds"]
    job = sampling_jobs.long_walks(trained, ["walker_01"], 1, 0, 2.6 * lasts, None)
    (file,) = sample_writer.write_job(job, 0, tmp_path)
    frames = round(2.6 * 16)
    with Image.open(file) as image:
        assert image.size == (round(256 * frames / 16), 256)
    with pytest.raises(InputError, match="the duration of one window"):
        sampling_jobs.long_walks(trained, ["walker_01"], 1, 0, lasts, None)
    unknown = trained.dataset.metadata | {"window_seconds": None}
    blind = trained._replace(dataset=dataclasses.replace(trained.dataset, metadata=unknown))
    with pytest.raises(InputError, match="give --window_seconds"):
        sampling_jobs.long_walks(blind, ["walker_01"], 1, 0, 10.0, None)
