"""The decoder's student stands for it where it is finished and drawn from as it was taught, and nowhere else."""

import shutil

import numpy as np
import pytest

from mdiff_jax.inference import augmenting_jobs, exported, provenance, sampling_jobs
from mdiff_jax.inference.loading import load
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir


@pytest.fixture(scope="module")
def with_student(workdirs, root, tmp_path_factory):
    """As `root`, with a student."""
    return workdirs.add_student(shutil.copytree(root, tmp_path_factory.mktemp("student") / "run"))


def test_a_finished_student_draws_in_its_own_steps(with_student, root):
    model, teacher = load(with_student), load(with_student, {"sample.teacher": True})
    assert model.drawn_by.startswith("drawn by the student in 4 steps") and "--teacher" in model.drawn_by
    assert (model.decoder_steps, teacher.decoder_steps) == (4, 2) and teacher.drawn_by == ""
    user = model.users[:1]
    np.testing.assert_array_equal(teacher.sample(user, 1), load(root).sample(user, 1))
    assert np.abs(model.sample(user, 1) - teacher.sample(user, 1)).max() > 1e-3
    np.testing.assert_array_equal(model.with_teacher("it says so").sample(user, 1), teacher.sample(user, 1))
    assert model.with_teacher("it says so").drawn_by == "drawn by the decoder in 2 steps: it says so"


def test_a_sample_depends_on_its_seed_and_number_alone(with_student):
    model = load(with_student)
    both = model.sample(model.users, 2, seed=3)
    np.testing.assert_allclose(model.sample(model.users[1:], 2, seed=3), both[2:], atol=1e-5)


def test_the_scale_is_an_input(with_student):
    one, two = (load(with_student, {"sample.cond_scale": scale}) for scale in (1.0, 2.0))
    assert np.abs(one.sample(one.users[:1], 1) - two.sample(two.users[:1], 1)).max() > 1e-4
    assert not load(with_student, {"sample.guide": "null"}).weaker
    with pytest.raises(InputError, match=r"sample\.cond_scale is 5\.0: the student learns 1\.0 to 3\.0"):
        load(with_student, {"sample.cond_scale": 5.0})
    assert load(with_student, {"sample.cond_scale": 5.0, "sample.teacher": True}).drawn_by == ""


@pytest.mark.parametrize("steps", [1, 2, 8])
def test_other_steps_are_those_of_whoever_draws(with_student, steps):
    model = load(with_student).with_steps(steps)
    assert model.decoder_steps == steps and model.config.prior.sample_timesteps == 2
    assert np.isfinite(model.sample(model.users[:1], 1)).all()
    teacher = load(with_student, {"sample.teacher": True}).with_steps(steps)
    assert (teacher.decoder_steps, teacher.config.prior.sample_timesteps) == (steps, steps)
    for one in (model, teacher):
        with pytest.raises(InputError, match=r"give .* 1000"):
            one.with_steps(1001)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("meta", "settings", "says"),
    [
        ({"finished": False}, {}, "the stage distill is not finished"),
        ({"teacher_steps": 2}, {}, "the decoder was trained on since, repeat the stage distill"),
        ({"depends": "another encoder-a teacher"}, {}, "the decoder was trained on since"),
        ({}, {"sample.noise_scale": 1.01}, "the student was taught with sample.noise_scale=1.0"),
        ({}, {"sample.guidance_interval": (-3.0, 3.0)}, "the student was taught with sample.guidance_interval=()"),
    ],
)
def test_a_student_that_does_not_stand_for_the_decoder_does_not_draw(workdirs, writable_root, meta, settings, says):
    model = load(workdirs.add_student(writable_root, meta), settings)
    assert not model.student and says in model.drawn_by
    before = load(writable_root, settings | {"sample.teacher": True})
    np.testing.assert_array_equal(model.sample(model.users[:1], 1), before.sample(model.users[:1], 1))


def test_what_starts_from_windows_is_drawn_by_the_decoder(with_student):
    model = load(with_student)
    user = model.users[:1]
    jobs = [
        augmenting_jobs.training_variations(model, user, 0.5, 1, 0),
        sampling_jobs.long_walks(model, user, 1, 0, 5.0, 2.1),
    ]
    assert not any(job.model.student for job in jobs)
    assert all("many steps" in job.model.drawn_by for job in jobs)
    assert sampling_jobs.plain_samples(model, user, 1, 0).model.student


def test_a_strip_between_two_users_is_drawn_by_the_student(with_student):
    model = load(with_student)
    job = sampling_jobs.interpolate(model, tuple(model.users), 2, 1, 0)
    drawn = [x for _, x in job.model.run([task.request for task in job.tasks], 0, job.function)]
    assert job.model.student and all(np.isfinite(x.spectrograms).all() for x in drawn)


def test_the_record_says_who_drew(with_student, tmp_path):
    model, teacher = load(with_student), load(with_student, {"sample.teacher": True})
    settings, before = (provenance.describe_settings(m, 0) for m in (model, teacher))
    assert settings["student_checkpoint_step"] == 4 and settings["decoder_sample_timesteps"] == 4
    assert "student_checkpoint_step" not in before and settings["checkpoint_step"] == before["checkpoint_step"]
    names = [provenance.default_folder(m, tmp_path, 0).name for m in (model, teacher)]
    assert names[0].startswith("seed0_student4_") and names[1].startswith("seed0_ddim2_")


def test_an_exported_model_takes_its_student_along(with_student, tmp_path):
    model = load(with_student)
    exported.export_model(model, tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.drawn_by == model.drawn_by and again.student_step == 4
    np.testing.assert_allclose(again.sample(model.users[:1], 1), model.sample(model.users[:1], 1), atol=0.05)
    assert not load(tmp_path / "model", {"sample.teacher": True}).student
    other = load(tmp_path / "model", {"sample.noise_scale": 1.01})
    assert not other.student and "noise_scale" in other.drawn_by


def test_a_damaged_student_is_refused_in_one_line(workdirs, writable_root):
    workdirs.add_student(writable_root)
    meta = Workdir(writable_root).checkpoints("distill") / "4" / "meta" / "metadata"
    meta.write_text(meta.read_text()[:-5])
    with pytest.raises(InputError, match="cannot be read"):
        load(writable_root)
    assert load(writable_root, {"sample.teacher": True}).params
