"""The three training stages: what each trains on, its loss, its optimiser, and its phases of timesteps."""

import functools
from typing import NamedTuple

import optax
from ml_collections import ConfigDict

from mdiff_jax.config import (
    apply_function,
    build_decoder,
    build_encoder,
    build_prior,
    decoder_schedule,
    prior_schedule,
)
from mdiff_jax.models.encoder import CosineClassifier
from mdiff_jax.training import losses, optimizers
from mdiff_jax.training.augmentation import Augmentation
from mdiff_jax.training.train_state import Loss


class Phase(NamedTuple):
    """A part of a stage with one number of timesteps (0: none, the encoder), up to the step `last`."""

    timesteps: int
    last: int


class Stage(NamedTuple):
    """What a stage is trained by."""

    loss: Loss
    fields: tuple[str, ...]  # of a batch, beside 'user' and 'example'


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


def make_stage(config: ConfigDict, name: str, num_users: int, timesteps: int | None = None) -> Stage:
    """The named one of `config.STAGES`, over `timesteps` timesteps of noise if not over its own number."""
    makers = {"encoder": _encoder_stage, "prior": _prior_stage, "decoder": _decoder_stage}
    return makers[name](config, num_users, timesteps)


def _encoder_stage(config: ConfigDict, num_users: int, _: int | None) -> Stage:
    c, network, classifier = config.encoder, build_encoder(config), CosineClassifier(num_users)
    loss = functools.partial(
        losses.encoder_loss,
        embed=lambda params, x: network.apply({"params": params["encoder"]}, x),
        classify=lambda params, z: classifier.apply({"params": params["classifier"]}, z),
        strength=Augmentation(**c.augment),
        temperature=c.temperature,
        contrastive_weight=c.contrastive_weight,
        classification_weight=c.classification_weight,
    )
    return Stage(loss, ("spectrogram",))


def _prior_stage(config: ConfigDict, num_users: int, timesteps: int | None) -> Stage:
    c = config.prior
    loss = functools.partial(
        losses.prior_loss,
        network=apply_function(build_prior(config, num_users)),
        schedule=prior_schedule(config, timesteps),
        batch_size=c.batch_size,
        cond_drop_prob=c.cond_drop_prob,
        self_condition=c.self_condition,
    )
    return Stage(loss, ("embedding",))


def _decoder_stage(config: ConfigDict, num_users: int, timesteps: int | None) -> Stage:
    c = config.decoder
    loss = functools.partial(
        losses.decoder_loss,
        network=apply_function(build_decoder(config, num_users)),
        schedule=decoder_schedule(config, timesteps),
        batch_size=c.batch_size,
        prediction=c.prediction,
        weighting=c.weighting,
        cond_drop_prob=c.cond_drop_prob,
        conditioning_noise=c.conditioning_noise,
        floor_margin=c.floor_margin,
    )
    return Stage(loss, ("spectrogram", "embedding"))


def make_stage_optimizer(config: ConfigDict, name: str, total_steps: int) -> optax.GradientTransformation:
    c = config[name].optimizer
    rate = optimizers.make_learning_rate(c.learning_rate, c.schedule, c.warmup_steps, total_steps)
    return optimizers.make_adamw(rate, weight_decay=c.weight_decay, clip_norm=c.clip_norm, b2=c.b2)
