"""The stage `distill`: its loss by exact denoisers, and the whole of it: trained, interrupted, resumed, repeated."""

import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from analytic import MEAN, STD
from small_run import FAULTS, get_config, interrupt, losses

from mdiff_jax.config import from_plain_dict, to_plain_dict
from mdiff_jax.data import loader
from mdiff_jax.diffusion import consistency, guidance, schedules
from mdiff_jax.inference import loading
from mdiff_jax.inference.denoisers import DenoiserSpec, SamplerSettings, SamplerSpec
from mdiff_jax.runtime import parallel
from mdiff_jax.runtime.checkpointing import CheckpointReader
from mdiff_jax.runtime.errors import InputError, Stopped
from mdiff_jax.runtime.workdir import Workdir
from mdiff_jax.training import distillation, train_loop
from mdiff_jax.training.losses import DistillationLossSettings, distillation_loss

SCHEDULE = schedules.cosine(100)
B, STEPS, SEGMENTS = 8, 20, 4
UNGUIDED = 0.3  # what the null condition adds to an estimate


def exact(log_snr, x):
    """(gain, constant) of E[x_0 | x_t] of a Gaussian, for a level of noise."""
    abar = jax.nn.sigmoid(log_snr)
    gain = jnp.sqrt(abar) * STD**2 / (abar * STD**2 + 1 - abar)
    return gain, MEAN * (1 - gain * jnp.sqrt(abar))


def teacher_network(variables, x_t, log_snr, z, user, keep, frames):
    gain, constant = (c[:, None, None, None] for c in exact(log_snr, x_t))
    return gain * x_t + constant + jnp.where(keep, 0.0, UNGUIDED)[:, None, None, None]


def student_network(slopes, offsets, shifts, variables, x_t, log_snr, z, user, scale, frames):
    t = jnp.abs(jnp.asarray(SCHEDULE.log_snr) - log_snr[:, None]).argmin(axis=1)
    slope, offset, shift = (jnp.asarray(c)[t][:, None, None, None] for c in (slopes, offsets, shifts))
    return variables["params"] * (slope * x_t + offset + shift * (scale - 1)[:, None, None, None])


def closed_form():
    """(slope, offset, shift) by timestep: the student's x_0 is slope x_t + offset + (scale - 1) shift."""
    steps = consistency.teacher_steps(SCHEDULE, STEPS, SEGMENTS)
    gain, constant = (np.asarray(c, float) for c in exact(jnp.asarray(SCHEDULE.log_snr[steps.t]), None))
    table = np.zeros((3, SCHEDULE.timesteps))
    for i in range(STEPS):
        first = i // (STEPS // SEGMENTS) * (STEPS // SEGMENTS)
        a, c, d = 1.0, 0.0, 0.0  # of x_t, constant, by scale - 1; guidance adds (1 - scale) UNGUIDED
        for k in range(i, first - 1, -1):
            of_x = steps.x[k] + steps.x0[k] * gain[k]
            a, c, d = of_x * a, of_x * c + steps.x0[k] * constant[k], of_x * d - steps.x0[k] * UNGUIDED
        end = consistency.CLEAN if first == 0 else steps.t[first - 1]
        x, x0 = consistency.ddim(SCHEDULE, steps.t[i : i + 1], np.array([end]), 1.0)
        table[:, steps.t[i]] = (a - x[0]) / x0[0], c / x0[0], d / x0[0]
    return table


def specs(student=student_network, **changes):
    denoiser = DenoiserSpec(teacher_network, SCHEDULE, "x0", (8, 8, 1))
    settings, free = SamplerSettings(SCHEDULE, "ddim", STEPS, "trailing", 0.0), lambda denoise, low, high: denoise
    guide = functools.partial(guidance.classifier_free_guidance, scale=1.0)
    teacher = SamplerSpec(denoiser, settings, guide, free)
    network = functools.partial(student, *closed_form())
    learner = teacher._replace(denoiser=denoiser._replace(network=network), guide=guidance.guidance_as_input)
    options = {"scales": (1.0, 3.0), "huber": 1e-3} | changes
    return {
        "teacher_spec": teacher,
        "student_spec": learner,
        "steps": consistency.teacher_steps(SCHEDULE, STEPS, SEGMENTS),
        "settings": DistillationLossSettings(B, 0.0, 0.5, **options),
    }


def make_batch():
    x = MEAN + STD * jax.random.normal(jax.random.key(1), (B, 8, 8, 1))
    batch = {"spectrogram": x, "embedding": jnp.zeros((B, 4)), "frames": jnp.full(B, 8)}
    return batch | {"user": jnp.zeros(B, int), "example": 16 + jnp.arange(B)}


def loss(variables=1.0, batch=None, key=0, **changes):
    batch = batch or make_batch()
    args = {"params": jnp.float32(variables)}, batch, jax.random.key(key), parallel.SINGLE_DEVICE
    return float(distillation_loss(*args, teacher={}, **specs(**changes))[0])


def test_the_loss_is_least_for_the_consistency_function_of_the_guided_teacher():
    assert loss() < 1e-4
    assert loss(0.9) > 100 * loss() and loss(1.1) > 100 * loss()


def test_at_a_scale_of_one_the_student_learns_the_unguided_teacher():
    assert loss(scales=(1.0, 1.0)) < 1e-4

    def regardless(slopes, offsets, shifts, *rest):
        return student_network(slopes, offsets, 0.0 * shifts, *rest)

    assert loss(scales=(1.0, 1.0), student=regardless) < 1e-4 and loss(student=regardless) > 0.01


def test_the_loss_of_a_batch_is_the_mean_over_its_parts():
    whole = make_batch()
    halves = [loss(0.7, {k: v[rows] for k, v in whole.items()}) for rows in (slice(4), slice(4, 8))]
    assert loss(0.7, whole) == pytest.approx(sum(halves) / 2, rel=1e-5)


def test_what_lies_behind_the_frames_does_not_count():
    batch = make_batch() | {"frames": jnp.full(B, 5)}
    other = batch | {"spectrogram": batch["spectrogram"].at[:, :, 5:].set(9.0)}
    assert loss(0.7, batch) == pytest.approx(loss(0.7, other), rel=1e-6)


def test_no_gradient_reaches_the_target():
    """With the target held, the gradient by a factor of the estimate is that of a plain regression."""
    args = make_batch(), jax.random.key(0), parallel.SINGLE_DEVICE
    value = lambda v: distillation_loss({"params": v}, *args, teacher={}, **specs())[0]  # noqa: E731
    slope = (value(1.2 + 1e-3) - value(1.2 - 1e-3)) / 2e-3  # here the target moves along
    assert abs(float(jax.grad(value)(1.2)) - float(slope)) > 0.01


# ----------------------------------------------------------------------------- the stage

CURRICULUM = ((4, 1), (2, 1))


def distilled(**changes):
    config = get_config()
    config.distill.update({"curriculum": CURRICULUM, "teacher_timesteps": 8, "batch_size": 4} | changes)
    return config


@pytest.fixture(scope="module")
def distilled_run(programs_shared, finished, tmp_path_factory):
    """Trained without a student, then with."""
    root = shutil.copytree(finished, tmp_path_factory.mktemp("distilled") / "run")
    before = {path: path.stat().st_mtime_ns for path in (root / "decoder" / "checkpoints").rglob("*")}
    config = distilled()
    config.stage = "distill"
    train_loop.train(config, root)
    assert {path: path.stat().st_mtime_ns for path in before} == before, "the teacher is read, and not written"
    return root


@pytest.mark.thorough
def test_a_finished_run_gets_a_student_which_then_draws(distilled_run):
    lines = [json.loads(line) for line in Workdir(distilled_run).metrics("distill").read_text().splitlines()]
    assert [line["segments"] for line in lines if "segments" in line] == 4 * [4] + 4 * [2]
    assert np.isfinite([line["loss"] for line in lines if "loss" in line]).all()
    assert any("validation_loss" in line for line in lines)
    model = loading.load(distilled_run)
    assert model.drawn_by.startswith("drawn by the student in 2 steps") and model.student_step == 8
    assert np.isfinite(model.sample(model.users, 1)).all()


@pytest.mark.thorough
def test_the_student_starts_as_its_teacher(distilled_run):
    config = from_plain_dict(Workdir(distilled_run).read_config())
    teacher = distillation.read_teacher(config, Workdir(distilled_run), 2)
    model = loading.load(distilled_run)
    jax.tree.map(np.testing.assert_array_equal, dict(teacher.frozen["teacher"]["params"]), model.params["decoder"])
    moved = [
        np.abs(np.asarray(a) - np.asarray(b)).max()
        for a, b in zip(
            jax.tree.leaves(model.params["decoder"]),
            jax.tree.leaves({name: model.student[name] for name in model.params["decoder"]}),
            strict=True,
        )
    ]
    assert 0 < max(moved) < 0.1


@pytest.mark.thorough
def test_an_interrupted_stage_ends_as_if_it_had_not_been(distilled_run, tmp_path, monkeypatch):
    root = shutil.copytree(distilled_run, tmp_path / "run")
    shutil.rmtree(root / "distill")
    config = distilled()
    with monkeypatch.context() as patch:
        patch.setattr(loader, "train_batches", interrupt(FAULTS["TERM"], loader.train_batches))
        with pytest.raises(Stopped):
            train_loop.train(config, root)
    assert "stage distill is not finished" in loading.load(root).drawn_by.replace("the stage", "stage")
    train_loop.train(config, root)
    assert losses(root, ("distill",)) == losses(distilled_run, ("distill",))
    jax.tree.map(np.testing.assert_array_equal, loading.load(root).student, loading.load(distilled_run).student)


@pytest.mark.slow
def test_a_decoder_that_is_trained_on_makes_its_student_anew(distilled_run, tmp_path):
    root = shutil.copytree(distilled_run, tmp_path / "run")
    config = distilled()
    config.decoder.epochs, config.stage = 3, "decoder"
    train_loop.train(config, root)
    assert "the decoder was trained on since" in loading.load(root).drawn_by
    config.stage = "all"
    train_loop.train(config, root)
    assert "distill: the teacher has changed since" in (root / "train.log").read_text()
    assert (root / "distill.before_1").is_dir() and loading.load(root).student


@pytest.mark.thorough
def test_a_student_is_made_as_it_was_begun(distilled_run):
    with pytest.raises(InputError, match=r"distill\.teacher_timesteps=8, now it is 16"):
        train_loop.train(distilled(teacher_timesteps=16), distilled_run)
    assert CheckpointReader(Workdir(distilled_run).checkpoints("distill")).latest() == 8


def test_without_a_curriculum_there_is_no_such_stage():
    config = get_config()
    config.stage = "distill"
    with pytest.raises(InputError, match=r"distill\.curriculum is \(\): give phases"):
        train_loop.train(config, "nowhere")
    assert to_plain_dict(get_config())["distill"]["curriculum"] == []
