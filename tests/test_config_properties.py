"""Whatever a configuration says, it is refused in one line or the run starts: networks, losses and samplers are traced.

More draws: HYPOTHESIS_EXAMPLES=500 python -m pytest tests/test_config_properties.py
"""

import functools
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from configs import tiny
from mdiff_jax.config import (
    STAGES,
    condition_size,
    from_plain_dict,
    parameter_shapes,
    person_size,
    spectrogram_shape,
)
from mdiff_jax.diffusion import samplers, schedules
from mdiff_jax.inference import denoisers, pipeline
from mdiff_jax.runtime import parallel
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.training import distillation, stages
from mdiff_jax.training.training_data import FIELDS
from mdiff_jax.validation import CHOICES, DISTILL, RANGES, check_value, flatten, validate

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "5"))
OPTIONS = {"deadline": None, "derandomize": True, "database": None, "suppress_health_check": list(HealthCheck)}
OPTIONS |= {"phases": (Phase.explicit, Phase.generate)}  # a draw that fails is small enough
USERS, BATCH = 2, 4


def sizes(*values: int) -> st.SearchStrategy[int]:
    return st.sampled_from(values)


def widths(levels: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[sizes(8, 12, 16, 20, 33)] * levels)


@st.composite
def shapes(draw: st.DrawFn) -> dict[str, Any]:
    """Keys that decide the shapes of the networks; most draws fit together, not all."""
    levels, down = draw(sizes(1, 2, 3)), draw(sizes(1, 2))
    return {
        "data.image_size": draw(st.tuples(sizes(16, 24, 32, 48), sizes(16, 32, 40))),
        "data.native_frames": draw(st.booleans()),
        "data.channels": draw(st.sampled_from(CHOICES["data.channels"])),
        "encoder.channels": draw(widths(down)),
        "encoder.patch": (draw(sizes(1, 2, 4)), draw(sizes(1, 2, 4))),
        "encoder.blocks": draw(sizes(0, 1)),
        "encoder.embedding_dim": draw(sizes(1, 5, 16)),
        "prior.width": draw(sizes(6, 12, 16)),
        "prior.heads": draw(sizes(1, 2, 3)),
        "prior.self_condition": draw(st.booleans()),
        "decoder.channels": draw(widths(levels)),
        "decoder.attention": tuple(draw(st.booleans()) for _ in range(levels)),
        "decoder.blocks": draw(sizes(0, 1)),
        "decoder.patch": (draw(sizes(1, 2, 4)), draw(sizes(1, 2, 4))),
        "decoder.fine_channels": draw(sizes(0, 3)),
        "decoder.head_width": draw(sizes(1, 8, 11, 64)),
        "decoder.cond_width": draw(sizes(1, 7, 16)),
        "decoder.user_conditioning": draw(st.booleans()),
        "people.references": draw(st.booleans()),
        "people.user_row": draw(st.booleans()),
    }


@st.composite
def procedures(draw: st.DrawFn) -> dict[str, Any]:
    """Keys that decide losses, schedules and samplers."""
    timesteps = draw(sizes(2, 3, 10, 1000, 100_000))
    chosen = ("precision", "remat", "decoder.schedule", "decoder.prediction", "decoder.weighting", "prior.schedule")
    chosen += ("sample.sampler", "sample.spacing", "sample.threshold")
    return {key: draw(st.sampled_from(CHOICES[key])) for key in chosen} | {
        "decoder.timesteps": timesteps,
        "prior.timesteps": timesteps,
        "decoder.sample_timesteps": draw(sizes(1, 2, 3)),
        "prior.sample_timesteps": draw(sizes(1, 2)),
        "decoder.log_snr_shift": draw(st.sampled_from([-20.0, 0.0, 20.0])),
        "decoder.zero_terminal_snr": draw(st.booleans()),
        "sample.cond_scale": draw(st.sampled_from([0.0, 1.0, 100.0])),
        "sample.guidance_interval": draw(st.sampled_from([(), (-3.0, 3.0), (3.0, -3.0)])),
        "sample.guidance_rescale": draw(st.sampled_from([0.0, 1.0])),
        "sample.eta": draw(st.sampled_from([0.0, 1.0])),
        "sample.noise_scale": draw(st.sampled_from([1.0, 1.01])),
        "people.min_references": draw(sizes(1, 20)),
        "people.max_references": draw(sizes(5, 20)),
        "people.row_drop_prob": draw(st.sampled_from([0.0, 0.5])),
        "encoder.augment.mask": draw(st.sampled_from([0.0, 1.0])),
        "encoder.augment.shift": draw(st.sampled_from([0.0, 1.0])),
    }


@st.composite
def students(draw: st.DrawFn) -> dict[str, Any]:
    """Keys of a student of the decoder."""
    return {
        "distill.curriculum": draw(st.sampled_from([((8, 1), (4, 1)), ((1, 1),), ((3, 1),)])),
        "distill.teacher_timesteps": draw(sizes(8, 24, 64)),
        "distill.sample_timesteps": draw(sizes(0, 1, 3)),
        "distill.scales": draw(st.sampled_from([(1.0, 1.0), (0.0, 100.0), (3.0, 1.0)])),
    }


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "seed", "."]), inner, max_size=2),
    max_leaves=6,
)


def person(config: ConfigDict) -> dict[str, jax.Array]:
    """What batches hold where people are known by reference windows."""
    return {"person": jnp.zeros((BATCH, person_size(config)))} if config.people.references else {}


def start_stage(config: ConfigDict, name: str) -> None:
    """Traces the loss of a stage."""
    batch = {"embedding": jnp.zeros((BATCH, condition_size(config))), "user": jnp.zeros(BATCH, int)}
    batch |= {"frames": jnp.full(BATCH, config.data.image_size[1])}
    batch |= {"spectrogram": jnp.zeros((BATCH, *spectrogram_shape(config))), "example": jnp.arange(BATCH)}
    batch = {field: batch[field] for field in ("user", "example", *FIELDS[name])} | person(config)
    loss = stages.make_parameter_loss(config, name, USERS)
    params = parameter_shapes(config, name, USERS)
    frozen = distillation.teacher_shapes(config, USERS) if name == DISTILL else {}
    trace = lambda p, b, f: loss(p, b, jax.random.key(0), parallel.SINGLE_DEVICE, **f)  # noqa: E731
    value, _ = jax.eval_shape(trace, params, batch, frozen)
    assert value.shape == ()


def start_sampling(config: ConfigDict) -> None:
    """Traces the sampler of windows, whose tables of coefficients are computed."""
    draws, make = ("decoder", denoisers.decoder_sampler)
    if config.distill.curriculum:
        draws, make = DISTILL, denoisers.student_sampler
    specs = denoisers.prior_sampler(config, USERS), make(config, USERS)
    keys = jax.random.split(jax.random.key(0), BATCH)
    batch = {"user": jnp.zeros(BATCH, int), "prior_key": keys, "decoder_key": keys} | person(config)
    networks = {"prior": "prior", "decoder": draws}
    params = {name: {"params": parameter_shapes(config, stage, USERS)} for name, stage in networks.items()}
    out = jax.eval_shape(pipeline.make_window_sampler(*specs), params, batch)
    assert out["spectrogram"].shape == (BATCH, *spectrogram_shape(config))
    for spec in specs:
        schedule, method, count, spacing, eta, noise_scale = spec.settings
        steps = schedules.sampling_timesteps(schedule.timesteps, count, spacing, schedule.log_snr)
        table = samplers.coefficient_table(schedule, steps, method, eta=eta, noise_scale=noise_scale)
        assert all(np.isfinite(column).all() for column in (*table, schedule.log_snr))


@pytest.mark.parametrize("part", [*STAGES, "sample"])
@settings(max_examples=EXAMPLES, **OPTIONS)
@given(shapes(), procedures())
def test_a_configuration_is_refused_in_one_line_or_starts(part, shape, procedure):
    start(part, shape, procedure)


@pytest.mark.parametrize("part", [DISTILL, "sample"])
@settings(max_examples=EXAMPLES, **OPTIONS)
@given(shapes(), procedures(), students())
def test_a_student_is_refused_in_one_line_or_starts(part, shape, procedure, student):
    start(part, shape, procedure | student)


def start(part: str, shape: dict[str, Any], procedure: dict[str, Any]) -> None:
    config = tiny.get_config()
    config.update_from_flattened_dict(shape | procedure)
    try:
        validate(config)
    except InputError as error:
        event("refused")
        assert "\n" not in str(error) and any(key in str(error) for key in shape | procedure)
        return
    event("started")
    start_sampling(config) if part == "sample" else start_stage(config, part)


@settings(max_examples=300, **OPTIONS)
@given(st.sampled_from(sorted(RANGES.keys() | CHOICES.keys())), ANYTHING)
def test_any_value_of_any_key_is_accepted_or_refused_by_its_name(key, value):
    try:
        check_value(key, value)
    except InputError as error:
        assert str(error).startswith(f"{key} is ") and "\n" not in str(error)


@settings(max_examples=200, **OPTIONS)
@given(st.sampled_from(["", *sorted({key.split(".")[0] for key in RANGES}), "data.stft", "prior.optimizer"]), ANYTHING)
def test_any_part_of_a_config_json_is_accepted_or_refused_in_one_line(place, value):
    values = tiny.get_config().to_dict()
    if place:
        *above, last = place.split(".")
        functools.reduce(lambda node, name: node[name], above, values)[last] = value
    else:
        values = value
    try:
        config = from_plain_dict(values)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert flatten(config.to_dict()).keys() == RANGES.keys() | CHOICES.keys()
