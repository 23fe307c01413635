"""Configuration → the prior and the decoder as denoisers: what each was trained for, and how it is sampled from."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mdiff_jax.config import (
    build_decoder,
    build_encoder,
    build_prior,
    condition_size,
    decoder_schedule,
    prior_schedule,
    spectrogram_shape,
)
from mdiff_jax.diffusion import guidance, noise_floor, samplers
from mdiff_jax.diffusion.schedules import NoiseSchedule
from mdiff_jax.runtime.array_types import Array

MIN_FRAMES = 8  # of a window
TAUGHT = ("guide", "guidance_interval", "guidance_rescale", "threshold", "noise_scale")  # keys of sample
FRAMES_MIDDLE, FRAMES_GAIN = 0.75, 12.0  # windows fill 0.6 to 1 of their columns


class DenoiserSpec(NamedTuple):
    """A network and what its input and output stand for."""

    network: Callable[..., Array]  # (variables, x_t, log-SNR, …) → output
    schedule: NoiseSchedule
    prediction: str  # 'eps', 'x0' or 'v'
    shape: tuple[int, ...]  # of one sample: (D,) or (F, T, C)
    noise_floor_margin: float = 0.0  # how far below -1 it sees the empty floor
    self_condition: bool = False  # whether it takes its last estimate as an input
    native_frames: bool = False  # whether a condition's last number says how many frames a window has


class SamplerSettings(NamedTuple):
    """The settings that `samplers.sample` and `editing.sdedit` take beside a denoiser, by these names."""

    schedule: NoiseSchedule
    method: str
    sample_timesteps: int
    spacing: str
    eta: float
    noise_scale: float = 1.0


class SamplerSpec(NamedTuple):
    """A denoiser and the way it is sampled from."""

    denoiser: DenoiserSpec
    settings: SamplerSettings
    guide: Callable[..., samplers.Denoise]  # (conditional denoiser, condition) → denoiser, guided
    bound: Callable[..., samplers.Denoise] = guidance.clip_x0  # (denoiser, low, high) → one that stays in range
    windows: int = 1  # more: walks as long as so many windows that overlap by half


def make_encoder(config: ConfigDict) -> Callable[[Any, Array], Array]:
    """(encoder parameters, {'spectrogram': (B, F, T, C), 'frames': (B,)}) → (B, D) unit embeddings."""
    network = build_encoder(config)
    return lambda params, batch: network.apply({"params": params["encoder"]}, batch["spectrogram"], batch["frames"])


def append_frames(z: Array, frames: Array, columns: int) -> Array:
    """(B, D) embeddings and numbers of frames (B,) → (B, D + 1), as the prior draws them together."""
    return np.concatenate([z, encode_frames(np.asarray(frames), columns)[:, None]], axis=1).astype(np.float32)


def encode_frames(frames: Array, columns: int) -> Array:
    """Numbers of frames, of `columns` at most, on the scale of an embedding's numbers."""
    return FRAMES_GAIN * (frames / columns - FRAMES_MIDDLE)


def decode_frames(coordinate: Array, columns: int) -> Array:
    """The inverse of `encode_frames`, rounded to a number of frames that a window can have."""
    frames = jnp.round((coordinate / FRAMES_GAIN + FRAMES_MIDDLE) * columns)
    return jnp.clip(frames, min(MIN_FRAMES, columns), columns).astype(jnp.int32)


def prior_denoiser(config: ConfigDict, num_users: int, timesteps: int | None = None) -> DenoiserSpec:
    """The prior, over `timesteps` training timesteps if not over `prior.timesteps`."""
    return DenoiserSpec(
        build_prior(config, num_users).apply,
        prior_schedule(config, timesteps),
        prediction="x0",
        shape=(condition_size(config),),
        self_condition=config.prior.self_condition,
    )


def decoder_denoiser(
    config: ConfigDict, num_users: int, timesteps: int | None = None, student: bool = False
) -> DenoiserSpec:
    """The decoder or its student, over `timesteps` training timesteps if not over `decoder.timesteps`."""
    return DenoiserSpec(
        decoder_network(config, num_users, student),
        decoder_schedule(config, timesteps),
        prediction=config.decoder.prediction,
        shape=spectrogram_shape(config),
        noise_floor_margin=config.decoder.floor_margin,
        native_frames=config.data.native_frames,
    )


def decoder_network(config: ConfigDict, num_users: int, student: bool = False) -> Callable[..., Array]:
    """(variables, x_t, log-SNR, embedding, user, keep, frames) → the output that `decoder.prediction` says. A student
    takes a guidance scale (B,) in place of `keep`.
    """
    network = build_decoder(config, num_users, student)
    apply = functools.partial(_apply_student, network.apply) if student else network.apply
    if not config.decoder.occupancy:
        return apply

    def mixed(variables: Any, x_t: Array, log_snr: Array, *condition: Array) -> Array:
        output = apply(variables, x_t, log_snr, *condition)
        return noise_floor.mix_in_floor(output, x_t, log_snr, -1.0 - config.decoder.floor_margin)

    return mixed


def _apply_student(
    apply: Callable[..., Array], variables: Any, x_t: Array, log_snr: Array, z: Array, user: Array, *rest: Array
) -> Array:
    scale, frames, *person = rest
    return apply(variables, x_t, log_snr, z, user, jnp.full(scale.shape, True), frames, *person, scale=scale)


def prior_sampler(config: ConfigDict, num_users: int) -> SamplerSpec:
    denoiser = prior_denoiser(config, num_users)
    guide = functools.partial(guidance.classifier_free_guidance, scale=config.sample.prior_cond_scale)
    return SamplerSpec(denoiser, _sampler_settings(config, "prior", denoiser.schedule), guide)


def decoder_sampler(config: ConfigDict, num_users: int, windows: int = 1) -> SamplerSpec:
    c, denoiser = config.sample, decoder_denoiser(config, num_users)
    guide = functools.partial(
        guidance.classifier_free_guidance,
        scale=c.cond_scale,
        schedule=denoiser.schedule,
        interval=tuple(c.guidance_interval) or None,
        rescale=c.guidance_rescale,
    )
    bound = guidance.dynamic_thresholding if c.threshold == "dynamic" else guidance.clip_x0
    settings = _sampler_settings(config, "decoder", denoiser.schedule)._replace(noise_scale=c.noise_scale)
    return SamplerSpec(denoiser, settings, guide, bound, windows)


def student_sampler(config: ConfigDict, num_users: int) -> SamplerSpec:
    """The decoder's student: DDIM without noise from segment to segment, the guidance scale an input."""
    c, decoder = config.sample, decoder_sampler(config, num_users)
    denoiser = decoder_denoiser(config, num_users, student=True)
    settings = SamplerSettings(denoiser.schedule, "ddim", student_steps(config), "trailing", 0.0, c.noise_scale)
    guide = functools.partial(guidance.guidance_as_input, scale=c.cond_scale)
    return decoder._replace(denoiser=denoiser, settings=settings, guide=guide)


def drawing_sampler(config: ConfigDict, num_users: int, student: bool) -> SamplerSpec:
    """The decoder or its student, as windows are drawn by it."""
    return (student_sampler if student else decoder_sampler)(config, num_users)


def student_steps(config: ConfigDict) -> int:
    """Sampling steps of the student: by default as many as it had segments at last."""
    return config.distill.sample_timesteps or config.distill.curriculum[-1][0]


def taught_settings(config: ConfigDict) -> dict[str, Any]:
    """The settings of sampling that a student learns from its teacher."""
    return {key: config.sample[key] for key in TAUGHT}


def find_untaught(before: ConfigDict, now: ConfigDict) -> str:
    """Says which of these settings are others `now` than `before`, when the student learned them; '' if none."""
    taught, wanted = taught_settings(before), taught_settings(now)
    different = next((key for key in TAUGHT if taught[key] != wanted[key]), None)
    return f"the student was taught with sample.{different}={taught[different]!r}" if different else ""


def _sampler_settings(config: ConfigDict, name: str, schedule: NoiseSchedule) -> SamplerSettings:
    c = config.sample
    return SamplerSettings(schedule, c.sampler, config[name].sample_timesteps, c.spacing, c.eta)
