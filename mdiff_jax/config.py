"""Configuration → networks, noise schedules, parameter shapes; its validation and its form as JSON.

The only reader of the model's part of a configuration that builds networks.
"""

import functools
import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import traverse_util
from ml_collections import ConfigDict

from mdiff_jax.diffusion import gaussian, samplers, schedules
from mdiff_jax.models import layers
from mdiff_jax.models.encoder import CosineClassifier, Encoder
from mdiff_jax.models.prior import PriorTransformer
from mdiff_jax.models.unet import UNet
from mdiff_jax.runtime.array_types import Key
from mdiff_jax.runtime.errors import InputError

STAGES = ("encoder", "prior", "decoder")
CHOICES = {f"{name}.optimizer.schedule": ("cosine", "constant") for name in STAGES} | {
    "precision": ("float32", "bfloat16", "float16"),
    "stage": ("all", *STAGES),
    "attention": ("einsum", "cudnn"),
    "remat": layers.REMAT,
    "data.kind": ("folder", "walkers"),
    "data.channels": ("scalar", "rgb"),
    "prior.schedule": ("cosine", "linear"),
    "decoder.schedule": ("cosine", "linear"),
    "decoder.prediction": gaussian.PREDICTIONS,
    "decoder.weighting": gaussian.WEIGHTINGS,
    "sample.sampler": samplers.METHODS,
    "sample.spacing": schedules.SPACINGS,
    "sample.threshold": ("clip", "dynamic"),
    "sample.checkpoint": ("latest", "best"),
}
PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float16": jnp.float16}

Params = dict[str, Any]  # a tree of parameters, by Flax module names


class EnrollmentSettings(NamedTuple):
    """The keys of `enrollment`; the defaults are for working directories that were made before there were such keys."""

    min_windows: int = 5
    max_windows: int = 20
    steps: int = 400
    learning_rate: float = 0.1
    deviation_penalty: float = 1e-2
    prior_batch_size: int = 64
    decoder_batch_size: int = 8
    seed: int = 0


# ----------------------------------------------------------------------------- networks


def build_encoder(config: ConfigDict) -> Encoder:
    c = config.encoder
    return Encoder(c.embedding_dim, tuple(c.channels), c.blocks, c.patch, config.remat, PRECISIONS[config.precision])


def build_prior(config: ConfigDict, num_users: int) -> PriorTransformer:
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


def build_decoder(config: ConfigDict, num_users: int) -> UNet:
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


# ----------------------------------------------------------------------------- parameters


def init_parameters(config: ConfigDict, name: str, num_users: int, key: Key) -> Params:
    """Fresh parameters of the named one of `STAGES`."""
    z, one = jnp.zeros((1, config.encoder.embedding_dim)), jnp.zeros(1)
    x = jnp.zeros((1, *spectrogram_shape(config)))
    if name == "encoder":
        return {
            "encoder": build_encoder(config).init(key, x)["params"],
            "classifier": CosineClassifier(num_users).init(key, z)["params"],
        }
    if name == "prior":
        return build_prior(config, num_users).init(key, z, one, one.astype(int), one > 0)["params"]
    return build_decoder(config, num_users).init(key, x, one, z, one.astype(int), one > 0)["params"]


def parameter_shapes(config: ConfigDict, name: str, num_users: int) -> Params:
    """Shapes and types of a stage's parameters; nothing is computed."""
    return jax.eval_shape(functools.partial(init_parameters, config, name, num_users), jax.random.key(0))


# ----------------------------------------------------------------------------- noise schedules


def prior_schedule(config: ConfigDict, timesteps: int | None = None) -> schedules.NoiseSchedule:
    """Over `timesteps` training timesteps, if not over `prior.timesteps`."""
    c = config.prior
    return schedules.make(c.schedule, timesteps or c.timesteps)


def decoder_schedule(config: ConfigDict, timesteps: int | None = None) -> schedules.NoiseSchedule:
    """Over `timesteps` training timesteps, if not over `decoder.timesteps`."""
    c = config.decoder
    return schedules.make(
        c.schedule, timesteps or c.timesteps, shift=c.log_snr_shift, zero_terminal_snr=c.zero_terminal_snr
    )


# ----------------------------------------------------------------------------- validation


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
    if not 0 < config.grace_seconds < float("inf"):
        raise InputError(f"grace_seconds is {config.grace_seconds}: give a number of seconds above 0")
    for name in STAGES:
        for key in ("epochs", "batch_size"):
            if config[name][key] < 1:
                raise InputError(f"{name}.{key} is {config[name][key]}: give at least 1")
    for key in ("min_windows", "max_windows", "steps", "prior_batch_size", "decoder_batch_size"):
        if config.enrollment[key] < 1:
            raise InputError(f"enrollment.{key} is {config.enrollment[key]}: give at least 1")


def to_plain_dict(config: ConfigDict) -> dict:
    """The configuration as JSON knows it: nested dicts, lists, numbers, text."""
    return json.loads(config.to_json_best_effort())


def from_plain_dict(values: dict) -> ConfigDict:
    """The inverse of `to_plain_dict`, locked: an unknown key raises."""
    older = {"enrollment": EnrollmentSettings()._asdict(), "grace_seconds": 8.0}  # what had no keys in older versions
    return ConfigDict(lists_to_tuples(older | values)).lock()


def lists_to_tuples(value: Any) -> Any:
    """Lists, which is what JSON has, to the tuples of a configuration."""
    if isinstance(value, dict):
        return {k: lists_to_tuples(v) for k, v in value.items()}
    return tuple(map(lists_to_tuples, value)) if isinstance(value, list) else value


def flatten(values: dict) -> dict[str, Any]:
    """{'a': {'b': 1}} → {'a.b': 1}."""
    return traverse_util.flatten_dict(values, sep=".")


# ----------------------------------------------------------------------------- two runs in one working directory

# Keys that may change between two runs: they do not touch what was trained.
FREE_KEYS = ("stage", "log_every", "checkpoint_every", "keep_checkpoints", "keep_every", "compilation_cache")
FREE_KEYS += ("max_skipped", "remat", "dry_run", "validation_passes", "patience", "sheet_every", "tensorboard")
FREE_KEYS += ("grace_seconds", "prior.sample_timesteps", "decoder.sample_timesteps")
FREE_PREFIXES = ("sample.", "enrollment.", "summary.")


def check_same_configuration(before: dict, values: dict, where: str) -> None:
    """Raises InputError if keys that matter have other `values` than `before` in the working directory `where`; more
    epochs, and phases added to a curriculum, are accepted.
    """
    before, values = flatten(before), flatten(values)
    for key in sorted(before.keys() | values.keys()):
        old, new = before.get(key), values.get(key)
        if old == new or key in FREE_KEYS or key.startswith(FREE_PREFIXES):
            continue
        if key.endswith(".epochs") and new > old:
            continue
        if key.endswith(".curriculum") and extends_curriculum(old, new):
            continue
        raise InputError(
            f"{where} was made with {key}={old!r}, now it is {new!r}: restore the old value or give another --workdir"
        )


def extends_curriculum(old: list, new: list) -> bool:
    """Returns whether the new curriculum is the old one with more epochs or phases at its end."""
    if not old or len(new) < len(old):
        return False
    (old_timesteps, old_epochs), (timesteps, epochs) = old[-1], new[len(old) - 1]
    return new[: len(old) - 1] == old[:-1] and timesteps == old_timesteps and epochs >= old_epochs
