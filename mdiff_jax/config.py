"""Configuration → networks, noise schedules, parameter shapes; its form as JSON.

The only reader of the model's part of a configuration that builds networks.
"""

import copy
import functools
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from mdiff_jax.diffusion import schedules
from mdiff_jax.models.encoder import CosineClassifier, Encoder
from mdiff_jax.models.prior import PriorTransformer
from mdiff_jax.models.unet import UNet
from mdiff_jax.runtime import ranges
from mdiff_jax.runtime.array_types import Key
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.validation import DISTILL, NO_MODEL, STAGES, check_value, check_values

MAX_PARAMETERS = 2 * 10**9  # of a network: 8 GB, and four times as much to train it
MAX_BATCH_VALUES = 4 * 10**9
PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float16": jnp.float16}

Params = Mapping[str, Any]  # a tree of parameters, by Flax module names


class EnrollmentSettings(NamedTuple):
    """The keys of `enrollment`; the defaults are for working directories that were made before there were such keys."""

    min_windows: int = 5
    max_windows: int = 20
    steps: int = 400
    learning_rate: float = 0.1
    update_steps: int = 70
    update_learning_rate: float = 5e-3
    update_rank: int = 16
    update_batch_size: int = 16
    deviation_penalty: float = 1e-2
    prior_batch_size: int = 64
    decoder_batch_size: int = 8
    seed: int = 0


class PeopleSettings(NamedTuple):
    """The keys of `people`; the defaults are for working directories that were made before there were such keys."""

    references: bool = False
    min_references: int = 5
    max_references: int = 20
    user_row: bool = True
    row_drop_prob: float = 0.5


# ----------------------------------------------------------------------------- networks


def build_encoder(config: ConfigDict) -> Encoder:
    c = config.encoder
    return Encoder(
        c.embedding_dim,
        tuple(c.channels),
        c.blocks,
        tuple(c.patch),
        config.data.native_frames,
        config.remat,
        PRECISIONS[config.precision],
    )


def build_prior(config: ConfigDict, num_users: int) -> PriorTransformer:
    c = config.prior
    return PriorTransformer(
        table_rows(config, num_users),
        c.width,
        c.depth,
        c.heads,
        c.self_condition,
        attention_implementation=config.attention,
        remat=config.remat,
        dtype=PRECISIONS[config.precision],
    )


def build_decoder(config: ConfigDict, num_users: int, student: bool = False) -> UNet:
    """The decoder, or a student of it, which takes a guidance scale."""
    c = config.decoder
    return UNet(
        channels=tuple(c.channels),
        blocks=c.blocks,
        attention=tuple(c.attention),
        head_width=c.head_width,
        patch=tuple(c.patch),
        cond_width=c.cond_width,
        num_users=table_rows(config, num_users) if c.user_conditioning else None,
        native_frames=config.data.native_frames,
        fine_channels=c.fine_channels,
        occupancy=c.occupancy,
        guidance_input=student,
        attention_implementation=config.attention,
        remat=config.remat,
        dtype=PRECISIONS[config.precision],
    )


def table_rows(config: ConfigDict, num_users: int) -> int:
    """Rows of the networks' tables of users: none where reference windows alone say who a person is."""
    return num_users if config.people.user_row or not config.people.references else 0


def spectrogram_shape(config: ConfigDict) -> tuple[int, int, int]:
    """(F, T, C) of one window. With native frames T is the most that a window can have."""
    return (*config.data.image_size, {"scalar": 1, "rgb": 3}[config.data.channels])


def condition_size(config: ConfigDict) -> int:
    """Size of what the prior draws of a window: its embedding and, with native frames, their number."""
    return config.encoder.embedding_dim + config.data.native_frames


def person_size(config: ConfigDict) -> int:
    """Size of what networks are told of a person: mean, deviation and number of references; 0 without references."""
    return 2 * condition_size(config) + 1 if config.people.references else 0


# ----------------------------------------------------------------------------- parameters


def init_parameters(config: ConfigDict, name: str, num_users: int, key: Key) -> Params:
    """Fresh parameters of the named one of `STAGES`, or of DISTILL."""
    return _call_networks(
        config, name, num_users, lambda network, *inputs, **told: network.init(key, *inputs, **told)["params"]
    )


def parameter_shapes(config: ConfigDict, name: str, num_users: int) -> Params:
    """Shapes and types of a stage's parameters; nothing is computed, and no network is traced twice."""

    def shapes(network: nn.Module, *inputs: Any, **told: Any) -> Params:
        inputs, told = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (inputs, told))
        return _trace_init(network, inputs, tuple(told.items()))

    return _call_networks(config, name, num_users, shapes)


@functools.lru_cache(64)
def _trace_init(network: nn.Module, inputs: tuple, told: tuple) -> Params:
    return jax.eval_shape(network.init, jax.random.key(0), *inputs, **dict(told))["params"]


def _call_networks(config: ConfigDict, name: str, num_users: int, call: Callable[..., Params]) -> Params:
    """Parameters of a stage, of which `call` makes those of a network from inputs of one example."""
    z, one = jnp.zeros((1, condition_size(config))), jnp.zeros(1)
    x, frames = jnp.zeros((1, *spectrogram_shape(config))), jnp.full(1, config.data.image_size[1])
    if name == "encoder":
        return {
            "encoder": call(build_encoder(config), x, frames),
            "classifier": call(CosineClassifier(num_users), z[:, : config.encoder.embedding_dim]),
        }
    user, person = one.astype(int), [jnp.zeros((1, person_size(config)))] if config.people.references else []
    if name == "prior":
        return call(build_prior(config, num_users), z, one, user, one > 0, None, *person)
    told: dict[str, Any] = {"scale": one} if name == DISTILL else {}
    network = build_decoder(config, num_users, student=name == DISTILL)
    return call(network, x, one, z, user, one > 0, frames, *person, **told)


def constant_shapes(config: ConfigDict, num_users: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of what is measured on the training embeddings."""
    shapes = {"embedding_mean": (config.encoder.embedding_dim,), "embedding_deviation": ()}
    shapes |= {"people": (num_users, person_size(config))} if config.people.references else {}
    return {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in shapes.items()}


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


# ----------------------------------------------------------------------------- size and form


def check_size(config: ConfigDict) -> None:
    """Raises InputError for networks or batches that no machine holds; traces the networks, in about a second."""
    values = math.prod(spectrogram_shape(config))
    for name in STAGES:
        count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(parameter_shapes(config, name, 2)))
        if count > MAX_PARAMETERS:
            raise InputError(
                f"{name} has {count:.2g} parameters: give at most {MAX_PARAMETERS:.2g}, by smaller widths in {name}"
            )
    for name in ("encoder", "decoder", DISTILL, "sample"):
        if config[name].batch_size * values > MAX_BATCH_VALUES:
            raise InputError(
                f"{name}.batch_size is {config[name].batch_size}: a batch of windows of this data.image_size has "
                f"{config[name].batch_size * values:.2g} values, give at most {MAX_BATCH_VALUES:.2g}"
            )


def to_plain_dict(config: ConfigDict) -> dict:
    """The configuration as JSON knows it: nested dicts, lists, numbers, text."""
    return json.loads(config.to_json_best_effort())


def from_plain_dict(values: Any) -> ConfigDict:
    """The inverse of `to_plain_dict`, locked. InputError for anything else than the known keys, each in its range."""
    if not isinstance(values, dict):
        raise InputError(f"the configuration is {ranges.show(values)}: give keys and values")
    values = from_older_version(values)
    check_values(values)
    return ConfigDict(lists_to_tuples(values)).lock()


def with_settings(config: Any, settings: Mapping[str, Any]) -> ConfigDict:
    """A copy of a configuration with other values of some dotted keys; InputError for keys and values that cannot be,
    and for what is no configuration.
    """
    if not isinstance(config, ConfigDict):
        kind = type(config).__name__
        raise InputError(f"the configuration is a {kind}: give a ConfigDict, the name of a configuration, or its path")
    changed = config.copy_and_resolve_references()
    for key, value in settings.items():
        check_value(key, value)
        changed.update_from_flattened_dict({key: tuple(value) if isinstance(value, list) else value})
    return changed


NO_STUDENT: dict[str, Any] = {"curriculum": [], "teacher_timesteps": 64, "sample_timesteps": 0}
NO_STUDENT |= {"scales": [1.0, 3.0], "huber": 0.00054}
NO_STUDENT |= {"batch_size": 16, "accumulate": 1, "optimizer": {"learning_rate": 2e-4, "schedule": "cosine"}}
NO_STUDENT["optimizer"] |= {"warmup_steps": 100, "weight_decay": 0.0, "clip_norm": 1.0, "b2": 0.99}
ADDED_LATER = {  # keys that older versions did not have, and what these did
    "enrollment": EnrollmentSettings()._asdict(),
    "grace_seconds": 8.0,
    "init_from": NO_MODEL,
    "keep_early": 0.0,
    "people": PeopleSettings()._asdict(),
    "data.stft.array_axes": "auto",
    DISTILL: NO_STUDENT,
    "data.walkers.nuisances": 0.0,
    "decoder.fine_channels": 0,
    "decoder.occupancy": False,
    **{f"enrollment.{key}": x for key, x in EnrollmentSettings()._asdict().items() if key.startswith("update_")},
    "sample.calibration_windows": 0,
    "sample.noise_scale": 1.0,
    "sample.guide": "null",
    "sample.teacher": False,
    "summary.max_users": 64,
}
REMOVED = (
    *("keep_every", "data.simulated_share", "data.simulated_until"),  # without effect on a finished model
    *("enrollment.finetune_steps", "enrollment.finetune_learning_rate"),  # of fine-tuning as it was
)


def from_older_version(values: dict) -> dict:
    """The same configuration with the keys of `ADDED_LATER`, without those of `REMOVED`, patches as (rows, frames)."""
    values = copy.deepcopy(values)
    for key in (*ADDED_LATER, *REMOVED):
        *places, name = key.split(".")
        part: dict | None = values
        for place in places:
            part = part.get(place) if isinstance(part, dict) else None
        if isinstance(part, dict) and key in ADDED_LATER:
            part.setdefault(name, ADDED_LATER[key])
        elif isinstance(part, dict):
            part.pop(name, None)
    values["init_from"] = values["init_from"] or NO_MODEL
    for name in ("encoder", "decoder"):
        if isinstance(values.get(name), dict) and type(patch := values[name].get("patch")) is int:
            values[name]["patch"] = [patch, patch]
    return values


def lists_to_tuples(value: Any) -> Any:
    """Lists, which is what JSON has, to the tuples of a configuration."""
    if isinstance(value, dict):
        return {k: lists_to_tuples(v) for k, v in value.items()}
    return tuple(map(lists_to_tuples, value)) if isinstance(value, list) else value
