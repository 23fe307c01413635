"""Configuration → networks, schedules, losses, optimisers, samplers. The only reader of the model's configuration."""

import functools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from mdiff_jax import diffusion, generate, objectives, optim, samplers, schedules
from mdiff_jax.augment import Augmentation
from mdiff_jax.errors import InputError
from mdiff_jax.models.encoder import CosineClassifier, Encoder
from mdiff_jax.models.prior import PriorTransformer
from mdiff_jax.models.unet import UNet
from mdiff_jax.state import Loss
from mdiff_jax.types import Array, Key

STAGES = ("encoder", "prior", "decoder")
OPTIMIZED = {f"{name}.optimizer.schedule": ("cosine", "constant") for name in STAGES}
CHOICES = OPTIMIZED | {
    "precision": ("float32", "bfloat16", "float16"),
    "stage": ("all", *STAGES),
    "attention": ("einsum", "cudnn"),
    "data.kind": ("folder", "walkers"),
    "data.channels": ("scalar", "rgb"),
    "prior.schedule": ("cosine", "linear"),
    "decoder.schedule": ("cosine", "linear"),
    "decoder.prediction": diffusion.PREDICTIONS,
    "decoder.weighting": diffusion.WEIGHTINGS,
    "sample.sampler": samplers.METHODS,
    "sample.spacing": schedules.SPACINGS,
}
PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float16": jnp.float16}


class Stage(NamedTuple):
    """One training stage: how its parameters start and what they are trained on."""

    name: str
    init: Callable[[Key], Any]
    loss: Loss
    fields: tuple[str, ...]  # of a batch, beside 'user' and 'example'


# ----------------------------------------------------------------------------- networks


def encoder(config: ConfigDict) -> Encoder:
    c = config.encoder
    return Encoder(c.embedding_dim, tuple(c.channels), c.blocks, c.patch, config.remat, PRECISIONS[config.precision])


def prior(config: ConfigDict, num_users: int) -> PriorTransformer:
    c = config.prior
    return PriorTransformer(
        num_users,
        c.width,
        c.depth,
        c.heads,
        c.self_condition,
        attention_implementation=config.attention,
        remat=config.remat,
        dtype=PRECISIONS[config.precision],
    )


def decoder(config: ConfigDict, num_users: int) -> UNet:
    c = config.decoder
    return UNet(
        channels=tuple(c.channels),
        blocks=c.blocks,
        attention=tuple(c.attention),
        head_width=c.head_width,
        patch=c.patch,
        cond_width=c.cond_width,
        num_users=num_users if c.user_conditioning else 0,
        attention_implementation=config.attention,
        remat=config.remat,
        dtype=PRECISIONS[config.precision],
    )


def spectrogram_shape(config: ConfigDict) -> tuple[int, int, int]:
    """(F, T, C) of one window."""
    return (*config.data.image_size, {"scalar": 1, "rgb": 3}[config.data.channels])


def schedule(config: ConfigDict, stage: str) -> schedules.NoiseSchedule:
    return schedules.make(config[stage].schedule, config[stage].timesteps)


# ----------------------------------------------------------------------------- training


def stage(config: ConfigDict, name: str, num_users: int) -> Stage:
    """The named one of `STAGES`."""
    return {"encoder": _encoder_stage, "prior": _prior_stage, "decoder": _decoder_stage}[name](config, num_users)


def _encoder_stage(config: ConfigDict, num_users: int) -> Stage:
    c, network, classifier = config.encoder, encoder(config), CosineClassifier(num_users)

    def init(key: Key) -> dict:
        z = jnp.zeros((1, c.embedding_dim))
        return {
            "encoder": network.init(key, jnp.zeros((1, *spectrogram_shape(config))))["params"],
            "classifier": classifier.init(key, z)["params"],
        }

    loss = functools.partial(
        objectives.encoder_loss,
        embed=lambda params, x: network.apply({"params": params["encoder"]}, x),
        classify=lambda params, z: classifier.apply({"params": params["classifier"]}, z),
        strength=Augmentation(**c.augment),
        temperature=c.temperature,
        contrastive_weight=c.contrastive_weight,
        classification_weight=c.classification_weight,
    )
    return Stage("encoder", init, loss, ("spectrogram",))


def _prior_stage(config: ConfigDict, num_users: int) -> Stage:
    c, network = config.prior, prior(config, num_users)

    def init(key: Key) -> dict:
        z, one = jnp.zeros((1, config.encoder.embedding_dim)), jnp.zeros(1)
        return network.init(key, z, one, one.astype(int), one > 0)["params"]

    loss = functools.partial(
        objectives.prior_loss,
        network=apply(network),
        schedule=schedule(config, "prior"),
        batch_size=c.batch_size,
        cond_drop_prob=c.cond_drop_prob,
        self_condition=c.self_condition,
    )
    return Stage("prior", init, loss, ("embedding",))


def _decoder_stage(config: ConfigDict, num_users: int) -> Stage:
    c, network = config.decoder, decoder(config, num_users)

    def init(key: Key) -> dict:
        x, one = jnp.zeros((1, *spectrogram_shape(config))), jnp.zeros(1)
        z = jnp.zeros((1, config.encoder.embedding_dim))
        return network.init(key, x, one, z, one.astype(int), one > 0)["params"]

    loss = functools.partial(
        objectives.decoder_loss,
        network=apply(network),
        schedule=schedule(config, "decoder"),
        batch_size=c.batch_size,
        prediction=c.prediction,
        weighting=c.weighting,
        cond_drop_prob=c.cond_drop_prob,
        conditioning_noise=c.conditioning_noise,
        floor_margin=c.floor_margin,
    )
    return Stage("decoder", init, loss, ("spectrogram", "embedding"))


def apply(network: nn.Module) -> Callable:
    """(params, *inputs) → outputs."""
    return lambda params, *inputs: network.apply({"params": params}, *inputs)


def optimizer(config: ConfigDict, name: str, total_steps: int) -> optax.GradientTransformation:
    c = config[name].optimizer
    rate = optim.learning_rate(c.learning_rate, c.schedule, c.warmup_steps, total_steps)
    return optim.adamw(rate, weight_decay=c.weight_decay, clip_norm=c.clip_norm, b2=c.b2)


# ----------------------------------------------------------------------------- frozen functions


def encode(config: ConfigDict) -> Callable[[Any, Array], Array]:
    """(encoder parameters, (B, F, T, C)) → (B, D) unit embeddings."""
    network = encoder(config)
    return lambda params, x: network.apply({"params": params["encoder"]}, x)


def draw(config: ConfigDict, num_users: int) -> generate.Draw:
    """({'prior', 'decoder'} parameters, {'user', 'prior_key', 'decoder_key'}) → embeddings and spectrograms."""
    c = config.sample
    common = {"method": c.sampler, "spacing": c.spacing, "eta": c.eta}
    return functools.partial(
        generate.draw,
        prior=generate.Denoiser(
            apply(prior(config, num_users)),
            schedule(config, "prior"),
            prediction="x0",
            sample_timesteps=config.prior.sample_timesteps,
            cond_scale=c.prior_cond_scale,
            **common,
        ),
        decoder=generate.Denoiser(
            apply(decoder(config, num_users)),
            schedule(config, "decoder"),
            prediction=config.decoder.prediction,
            sample_timesteps=config.decoder.sample_timesteps,
            cond_scale=c.cond_scale,
            **common,
        ),
        embedding_dim=config.encoder.embedding_dim,
        shape=spectrogram_shape(config),
        self_condition=config.prior.self_condition,
        floor_margin=config.decoder.floor_margin,
    )


# ----------------------------------------------------------------------------- checks


def validate(config: ConfigDict) -> None:
    """Raises InputError for the first value that cannot work, before anything is made."""
    for key, allowed in CHOICES.items():
        value = functools.reduce(lambda node, k: node[k], key.split("."), config)
        if value not in allowed:
            raise InputError(f"{key} is {value!r}: give one of {', '.join(allowed)}")
    if len(config.data.image_size) != 2:
        raise InputError(f"data.image_size is {tuple(config.data.image_size)}: give two numbers, (rows, frames)")
    fractions = config.data.fractions
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise InputError(f"data.fractions is {tuple(fractions)}: give three shares above 0 that add up to 1")
    rows, frames = config.data.image_size
    for name in ("encoder", "decoder"):
        c = config[name]
        unit = c.patch * 2 ** (len(c.channels) - 1)
        if rows % unit or frames % unit:
            raise InputError(
                f"data.image_size is {(rows, frames)}: with {name}.patch {c.patch} and {len(c.channels)} levels both "
                f"must be multiples of {unit}"
            )
    if len(config.decoder.attention) != len(config.decoder.channels):
        raise InputError("decoder.attention needs one true or false for each of decoder.channels")
    if config.prior.width % config.prior.heads:
        raise InputError(f"prior.width {config.prior.width} must be a multiple of prior.heads {config.prior.heads}")
    if config.sample.ema_decay not in config.ema_decays:
        raise InputError(f"sample.ema_decay {config.sample.ema_decay} is not among ema_decays {config.ema_decays}")
    for name in ("prior", "decoder"):
        steps, most = config[name].sample_timesteps, config[name].timesteps
        if not 1 <= steps <= most:
            raise InputError(f"{name}.sample_timesteps is {steps}: give 1 to {most} ({name}.timesteps)")
        if not 0.0 <= config[name].cond_drop_prob < 1.0:
            raise InputError(f"{name}.cond_drop_prob is {config[name].cond_drop_prob}: give 0 to less than 1")
    for name in STAGES:
        for key in ("epochs", "batch_size"):
            if config[name][key] < 1:
                raise InputError(f"{name}.{key} is {config[name][key]}: give at least 1")


def plain(config: ConfigDict) -> dict:
    """The configuration as JSON knows it: nested dicts, lists, numbers, text."""
    return json.loads(config.to_json_best_effort())


def from_plain(values: dict) -> ConfigDict:
    """The inverse of `plain`, locked: an unknown key raises."""
    return ConfigDict(_with_tuples(values)).lock()


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _with_tuples(v) for k, v in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def flatten(values: dict, prefix: str = "") -> dict[str, Any]:
    """{'a': {'b': 1}} → {'a.b': 1}."""
    flat = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
