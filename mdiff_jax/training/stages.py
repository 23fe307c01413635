"""The training stages: what each trains on, its loss, its optimiser, and its phases of timesteps or segments."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from mdiff_jax.config import build_encoder, init_parameters
from mdiff_jax.diffusion import consistency
from mdiff_jax.inference.denoisers import decoder_denoiser, decoder_sampler, prior_denoiser, student_sampler
from mdiff_jax.models.encoder import CosineClassifier
from mdiff_jax.runtime import parallel, prng
from mdiff_jax.runtime.array_types import Batch
from mdiff_jax.training import losses, optimizers
from mdiff_jax.training.augmentation import Augmentation
from mdiff_jax.training.train_state import Frozen, Loss, TrainState, create_train_state, train_step
from mdiff_jax.validation import DISTILL, STAGES

FAST_COMPILATION = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def make_loss(
    config: ConfigDict, name: str, num_users: int, timesteps: int | None = None, batch_size: int | None = None
) -> Loss:
    """The loss of the named stage, (variables, batch, key, collectives) → (loss, metrics); that of the student takes
    `teacher` too, what the decoder is applied to.

    `variables` are the network's collections, {'params': …}; of the encoder {'params': {'encoder', 'classifier'}}.
    Prior and decoder are noised over `timesteps` timesteps if not over their own number, spread evenly over batches of
    `batch_size` examples if not of the stage's; of the student these are segments, if not those of its last phase.
    """
    makers = {"encoder": _encoder_loss, "prior": _prior_loss, "decoder": _decoder_loss, DISTILL: _distillation_loss}
    return makers[name](config, num_users, timesteps, batch_size or config[name].batch_size)


def make_parameter_loss(config: ConfigDict, name: str, num_users: int, timesteps: int | None = None) -> Loss:
    """The same loss as a function of the parameters alone, which is what training changes, and what is frozen."""
    loss = make_loss(config, name, num_users, timesteps)
    return lambda params, *rest, **frozen: loss({"params": params}, *rest, **frozen)


def _encoder_loss(config: ConfigDict, num_users: int, timesteps: int | None, batch_size: int) -> Loss:
    c, network, classifier = config.encoder, build_encoder(config), CosineClassifier(num_users)
    return functools.partial(
        losses.encoder_loss,
        embed=lambda variables, x, frames: network.apply({"params": variables["params"]["encoder"]}, x, frames),
        classify=lambda variables, z: classifier.apply({"params": variables["params"]["classifier"]}, z),
        settings=losses.EncoderLossSettings(
            Augmentation(**c.augment), c.temperature, c.contrastive_weight, c.classification_weight
        ),
    )


def _prior_loss(config: ConfigDict, num_users: int, timesteps: int | None, batch_size: int) -> Loss:
    c = config.prior
    return functools.partial(
        losses.prior_loss,
        denoiser=prior_denoiser(config, num_users, timesteps),
        settings=losses.DenoisingLossSettings(batch_size, c.cond_drop_prob, config.people.row_drop_prob),
    )


def _decoder_loss(config: ConfigDict, num_users: int, timesteps: int | None, batch_size: int) -> Loss:
    c = config.decoder
    return functools.partial(
        losses.decoder_loss,
        denoiser=decoder_denoiser(config, num_users, timesteps),
        settings=losses.DenoisingLossSettings(
            batch_size, c.cond_drop_prob, config.people.row_drop_prob, c.conditioning_noise, c.weighting
        ),
    )


def _distillation_loss(config: ConfigDict, num_users: int, segments: int | None, batch_size: int) -> Loss:
    c, teacher = config.distill, decoder_sampler(config, num_users)
    schedule, segments = teacher.denoiser.schedule, segments or c.curriculum[-1][0]
    return functools.partial(
        losses.distillation_loss,
        teacher_spec=teacher,
        student_spec=student_sampler(config, num_users),
        steps=consistency.teacher_steps(schedule, c.teacher_timesteps, segments, config.sample.noise_scale),
        settings=losses.DistillationLossSettings(
            batch_size,
            config.people.row_drop_prob,
            config.decoder.conditioning_noise,
            (float(c.scales[0]), float(c.scales[1])),
            c.huber,
        ),
    )


# ----------------------------------------------------------------------------- state, step, optimiser, phases


def init_train_state(
    config: ConfigDict, name: str, num_users: int, total_steps: int, constants: dict[str, np.ndarray]
) -> TrainState:
    """A fresh state of a stage. `constants` are kept in it as they are."""
    params = init_parameters(config, name, num_users, prng.purpose_key(config.seed, "init", name))
    optimizer = make_optimizer(config, name, total_steps)
    return create_train_state(params, optimizer, tuple(config.ema_decays), constants, config.precision == "float16")


def compile_init(init: Callable[[], TrainState]) -> Callable[[], TrainState]:
    """Compiles what makes a fresh state, quickly; its shapes (`jax.eval_shape`) and its call are traced once."""
    return jax.jit(init, compiler_options=FAST_COMPILATION)


def compile_train_step(
    config: ConfigDict, name: str, num_users: int, total_steps: int, timesteps: int
) -> parallel.CompiledStep:
    """The training step of a stage over so many timesteps of noise, on all devices."""
    step = functools.partial(
        train_step,
        loss=make_parameter_loss(config, name, num_users, timesteps),
        optimizer=make_optimizer(config, name, total_steps),
        dynamic_scale=config.precision == "float16",
        accumulate=accumulation_parts(config, name),
    )
    return parallel.compile_step(step)


def accumulation_parts(config: ConfigDict, name: str) -> int:
    """Parts of accumulation. The encoder's loss compares the windows of a batch, so it has one."""
    return 1 if name == "encoder" else config[name].accumulate


def make_optimizer(config: ConfigDict, name: str, total_steps: int) -> optax.GradientTransformation:
    c = config[name].optimizer
    rate = optimizers.make_learning_rate(c.learning_rate, c.schedule, c.warmup_steps, max(total_steps, 2))
    return optimizers.make_adamw(rate, weight_decay=c.weight_decay, clip_norm=c.clip_norm, b2=c.b2)


class Phase(NamedTuple):
    """A part of a stage with one number of timesteps (0: none, the encoder), or segments, up to the step `last`."""

    timesteps: int
    last: int


def make_phases(config: ConfigDict, name: str, steps_per_epoch: int) -> list[Phase]:
    """A stage's curriculum, or `timesteps` for `epochs`."""
    c = config[name]
    if name == "encoder":
        return [Phase(0, c.epochs * steps_per_epoch)]
    result, epochs = [], 0
    for timesteps, more in c.curriculum or ((c.timesteps, c.epochs),):
        epochs += more
        result.append(Phase(timesteps, epochs * steps_per_epoch))
    return result


def stage_names(config: ConfigDict) -> tuple[str, ...]:
    """The stages that a configuration has, in order."""
    return (*STAGES, DISTILL) if config.distill.curriculum else STAGES


class StageSetup(NamedTuple):
    """The part of a stage that training and a dry run have in common."""

    name: str
    phases: list[Phase]
    init: Callable[[], TrainState]
    compile_step: Callable[[int], parallel.CompiledStep]  # timesteps → step, each compiled once
    key: jax.Array
    parts: int  # of accumulation

    @property
    def total_steps(self) -> int:
        return self.phases[-1].last

    def timesteps_at(self, step: int) -> int:
        """Timesteps of noise, or segments, that `step`, counted from 1, is trained over."""
        return next(phase.timesteps for phase in self.phases if step <= phase.last)

    def measure_cost(self, step: int, state: TrainState, batch: Batch, frozen: Frozen) -> parallel.StepCost:
        """Costs of `step` by the compiler, which counts the parts of accumulation as one."""
        cost = self.compile_step(self.timesteps_at(step)).cost(state, batch, self.key, frozen)
        return cost._replace(flops=cost.flops and cost.flops * self.parts)


def set_up_stage(
    config: ConfigDict, name: str, num_users: int, windows: int, constants: dict[str, np.ndarray]
) -> StageSetup:
    """The set-up of a stage that is trained on so many windows."""
    phases = make_phases(config, name, max(1, windows // config[name].batch_size))
    total = phases[-1].last
    return StageSetup(
        name,
        phases,
        compile_init(functools.partial(init_train_state, config, name, num_users, total, constants)),
        functools.cache(lambda timesteps: compile_train_step(config, name, num_users, total, timesteps)),
        prng.purpose_key(config.seed, "train", name),
        accumulation_parts(config, name),
    )
