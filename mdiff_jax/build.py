"""Configuration → networks, schedules, losses, optimisers, samplers. The only reader of the model's configuration."""

import functools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from mdiff_jax import diffusion, generate, guidance, objectives, optim, samplers, schedules
from mdiff_jax.augment import Augmentation
from mdiff_jax.errors import InputError
from mdiff_jax.models import layers
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
    "remat": layers.REMAT,
    "data.kind": ("folder", "walkers"),
    "data.channels": ("scalar", "rgb"),
    "prior.schedule": ("cosine", "linear"),
    "decoder.schedule": ("cosine", "linear"),
    "decoder.prediction": diffusion.PREDICTIONS,
    "decoder.weighting": diffusion.WEIGHTINGS,
    "sample.sampler": samplers.METHODS,
    "sample.spacing": schedules.SPACINGS,
    "sample.threshold": ("clip", "dynamic"),
    "sample.checkpoint": ("latest", "best"),
}
PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float16": jnp.float16}


class Phase(NamedTuple):
    """A part of a stage with one number of timesteps (0: none, the encoder), up to the step `last`."""

    timesteps: int
    last: int


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


def prior_schedule(config: ConfigDict, timesteps: int | None = None) -> schedules.NoiseSchedule:
    """Over `timesteps` steps, if not over `prior.timesteps`."""
    c = config.prior
    return schedules.make(c.schedule, timesteps or c.timesteps)


def decoder_schedule(config: ConfigDict, timesteps: int | None = None) -> schedules.NoiseSchedule:
    """Over `timesteps` steps, if not over `decoder.timesteps`."""
    c = config.decoder
    return schedules.make(
        c.schedule, timesteps or c.timesteps, shift=c.log_snr_shift, zero_terminal_snr=c.zero_terminal_snr
    )


# ----------------------------------------------------------------------------- training


def phases(config: ConfigDict, name: str, steps_per_epoch: int) -> list[Phase]:
    """What a stage trains one after the other: its curriculum, or `timesteps` for `epochs`."""
    c = config[name]
    if name == "encoder":
        return [Phase(0, c.epochs * steps_per_epoch)]
    result, epochs = [], 0
    for timesteps, more in c.curriculum or ((c.timesteps, c.epochs),):
        epochs += more
        result.append(Phase(timesteps, epochs * steps_per_epoch))
    return result


def stage(config: ConfigDict, name: str, num_users: int, timesteps: int | None = None) -> Stage:
    """The named one of `STAGES`, over `timesteps` steps of noise if not over its own number."""
    makers = {"encoder": _encoder_stage, "prior": _prior_stage, "decoder": _decoder_stage}
    return makers[name](config, num_users, timesteps)


def _encoder_stage(config: ConfigDict, num_users: int, _: int | None) -> Stage:
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


def _prior_stage(config: ConfigDict, num_users: int, timesteps: int | None) -> Stage:
    c, network = config.prior, prior(config, num_users)

    def init(key: Key) -> dict:
        z, one = jnp.zeros((1, config.encoder.embedding_dim)), jnp.zeros(1)
        return network.init(key, z, one, one.astype(int), one > 0)["params"]

    loss = functools.partial(
        objectives.prior_loss,
        network=apply(network),
        schedule=prior_schedule(config, timesteps),
        batch_size=c.batch_size,
        cond_drop_prob=c.cond_drop_prob,
        self_condition=c.self_condition,
    )
    return Stage("prior", init, loss, ("embedding",))


def _decoder_stage(config: ConfigDict, num_users: int, timesteps: int | None) -> Stage:
    c, network = config.decoder, decoder(config, num_users)

    def init(key: Key) -> dict:
        x, one = jnp.zeros((1, *spectrogram_shape(config))), jnp.zeros(1)
        z = jnp.zeros((1, config.encoder.embedding_dim))
        return network.init(key, x, one, z, one.astype(int), one > 0)["params"]

    loss = functools.partial(
        objectives.decoder_loss,
        network=apply(network),
        schedule=decoder_schedule(config, timesteps),
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


def draw(config: ConfigDict, num_users: int, windows: int = 1) -> generate.Draw:
    """({'prior', 'decoder'} parameters, {'user', 'prior_key', 'decoder_key'}) → embeddings and spectrograms, these as
    long as so many `windows` that overlap by half.
    """
    return functools.partial(
        generate.draw,
        prior=prior_denoiser(config, num_users),
        decoder=decoder_denoiser(config, num_users),
        embedding_dim=config.encoder.embedding_dim,
        shape=spectrogram_shape(config),
        windows=windows,
        self_condition=config.prior.self_condition,
        floor_margin=config.decoder.floor_margin,
    )


def decode(config: ConfigDict, num_users: int) -> Callable[[Any, dict[str, Array]], Array]:
    """(decoder parameters, {'embedding', 'user', 'decoder_key'}) → (B, F, T, C) spectrograms of given embeddings."""
    denoiser, shape, margin = (
        decoder_denoiser(config, num_users),
        spectrogram_shape(config),
        config.decoder.floor_margin,
    )
    return lambda params, batch: generate.draw_spectrograms(
        denoiser, params, batch["embedding"], batch["user"], batch["decoder_key"], shape, margin
    )


def draw_embeddings(config: ConfigDict, num_users: int) -> generate.Draw:
    """(parameters, {'user', 'prior_key'}) → {'embedding'}, by the prior alone."""
    denoiser, dim, twice = prior_denoiser(config, num_users), config.encoder.embedding_dim, config.prior.self_condition
    return lambda params, batch: {
        "embedding": generate.draw_embeddings(denoiser, params["prior"], batch["user"], batch["prior_key"], dim, twice)
    }


def vary(config: ConfigDict, num_users: int, strength: float) -> generate.Draw:
    """(parameters, {'embedding', 'user', 'decoder_key', 'window'}) → {'spectrogram'}: variations of given windows."""
    denoiser, margin = decoder_denoiser(config, num_users), config.decoder.floor_margin
    return lambda params, batch: {
        "spectrogram": generate.vary_spectrograms(denoiser, params["decoder"], batch, margin, strength)
    }


def prior_denoiser(config: ConfigDict, num_users: int) -> generate.Denoiser:
    c = config.sample
    return generate.Denoiser(
        apply(prior(config, num_users)),
        prior_schedule(config),
        prediction="x0",
        sample_timesteps=config.prior.sample_timesteps,
        method=c.sampler,
        spacing=c.spacing,
        eta=c.eta,
        guide=functools.partial(guidance.guided, scale=c.prior_cond_scale),
    )


def decoder_denoiser(config: ConfigDict, num_users: int) -> generate.Denoiser:
    c, schedule = config.sample, decoder_schedule(config)
    return generate.Denoiser(
        apply(decoder(config, num_users)),
        schedule,
        prediction=config.decoder.prediction,
        sample_timesteps=config.decoder.sample_timesteps,
        method=c.sampler,
        spacing=c.spacing,
        eta=c.eta,
        guide=functools.partial(
            guidance.guided,
            scale=c.cond_scale,
            schedule=schedule,
            interval=tuple(c.guidance_interval) or None,
            rescale=c.guidance_rescale,
        ),
        dynamic_threshold=c.threshold == "dynamic",
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
        for pair in config[name].curriculum:
            if not (isinstance(pair, tuple) and len(pair) == 2 and pair[0] >= 2 and pair[1] >= 1):
                raise InputError(
                    f"{name}.curriculum holds {pair!r}: give pairs of (timesteps, epochs), ((250, 10), (1000, 50))"
                )
        if config[name].accumulate < 1:
            raise InputError(f"{name}.accumulate is {config[name].accumulate}: give at least 1")
    if config.decoder.zero_terminal_snr and config.decoder.prediction == "eps":
        raise InputError("decoder.prediction is 'eps': with decoder.zero_terminal_snr give v or x0")
    interval, rescale = config.sample.guidance_interval, config.sample.guidance_rescale
    if interval and not (len(interval) == 2 and interval[0] < interval[1]):
        raise InputError(f"sample.guidance_interval is {interval}: give two log-SNRs, the lower first, or ()")
    if not 0 <= rescale <= 1:
        raise InputError(f"sample.guidance_rescale is {rescale}: give 0 to 1")
    for name in STAGES:
        for key in ("epochs", "batch_size"):
            if config[name][key] < 1:
                raise InputError(f"{name}.{key} is {config[name][key]}: give at least 1")


def plain(config: ConfigDict) -> dict:
    """The configuration as JSON knows it: nested dicts, lists, numbers, text."""
    return json.loads(config.to_json_best_effort())


def from_plain(values: dict) -> ConfigDict:
    """The inverse of `plain`, locked: an unknown key raises."""
    return ConfigDict(with_tuples(values)).lock()


def with_tuples(value: Any) -> Any:
    """Lists, which is what JSON has, to the tuples of a configuration."""
    if isinstance(value, dict):
        return {k: with_tuples(v) for k, v in value.items()}
    return tuple(map(with_tuples, value)) if isinstance(value, list) else value


def flatten(values: dict, prefix: str = "") -> dict[str, Any]:
    """{'a': {'b': 1}} → {'a.b': 1}."""
    flat = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
