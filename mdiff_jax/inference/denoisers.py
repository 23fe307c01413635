"""Configuration → functions that embed, sample, decode and vary windows, ready to be compiled."""

import functools
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from mdiff_jax.config import (
    apply_function,
    build_decoder,
    build_encoder,
    build_prior,
    decoder_schedule,
    prior_schedule,
    spectrogram_shape,
)
from mdiff_jax.diffusion import guidance
from mdiff_jax.inference import pipeline
from mdiff_jax.runtime.array_types import Array


def make_encoder(config: ConfigDict) -> Callable[[Any, Array], Array]:
    """(encoder parameters, (B, F, T, C)) → (B, D) unit embeddings."""
    network = build_encoder(config)
    return lambda params, x: network.apply({"params": params["encoder"]}, x)


def make_window_sampler(config: ConfigDict, num_users: int, windows: int = 1) -> pipeline.SampleFunction:
    """({'prior', 'decoder'} parameters, {'user', 'prior_key', 'decoder_key'}) → embeddings and spectrograms, these as
    long as so many `windows` that overlap by half.
    """
    return functools.partial(
        pipeline.sample_windows,
        prior=prior_denoiser(config, num_users),
        decoder=decoder_denoiser(config, num_users),
        embedding_dim=config.encoder.embedding_dim,
        shape=spectrogram_shape(config),
        windows=windows,
        self_condition=config.prior.self_condition,
        floor_margin=config.decoder.floor_margin,
    )


def make_embedding_decoder(config: ConfigDict, num_users: int) -> Callable[[Any, dict[str, Array]], Array]:
    """(decoder parameters, {'embedding', 'user', 'decoder_key'}) → (B, F, T, C) spectrograms of given embeddings."""
    denoiser, shape, margin = (
        decoder_denoiser(config, num_users),
        spectrogram_shape(config),
        config.decoder.floor_margin,
    )
    return lambda params, batch: pipeline.decode_embeddings(
        denoiser, params, batch["embedding"], batch["user"], batch["decoder_key"], shape, margin
    )


def make_embedding_sampler(config: ConfigDict, num_users: int) -> pipeline.SampleFunction:
    """(parameters, {'user', 'prior_key'}) → {'embedding'}, by the prior alone."""
    denoiser, dim, twice = prior_denoiser(config, num_users), config.encoder.embedding_dim, config.prior.self_condition
    return lambda params, batch: {
        "embedding": pipeline.sample_embeddings(
            denoiser, params["prior"], batch["user"], batch["prior_key"], dim, twice
        )
    }


def make_window_variation(config: ConfigDict, num_users: int, strength: float) -> pipeline.SampleFunction:
    """(parameters, {'embedding', 'user', 'decoder_key', 'window'}) → {'spectrogram'}: variations of given windows."""
    denoiser, margin = decoder_denoiser(config, num_users), config.decoder.floor_margin
    return lambda params, batch: {
        "spectrogram": pipeline.vary_windows(denoiser, params["decoder"], batch, margin, strength)
    }


def prior_denoiser(config: ConfigDict, num_users: int) -> pipeline.DenoiserSpec:
    c = config.sample
    return pipeline.DenoiserSpec(
        apply_function(build_prior(config, num_users)),
        prior_schedule(config),
        prediction="x0",
        sample_timesteps=config.prior.sample_timesteps,
        method=c.sampler,
        spacing=c.spacing,
        eta=c.eta,
        guide=functools.partial(guidance.classifier_free_guidance, scale=c.prior_cond_scale),
    )


def decoder_denoiser(config: ConfigDict, num_users: int) -> pipeline.DenoiserSpec:
    c, schedule = config.sample, decoder_schedule(config)
    return pipeline.DenoiserSpec(
        apply_function(build_decoder(config, num_users)),
        schedule,
        prediction=config.decoder.prediction,
        sample_timesteps=config.decoder.sample_timesteps,
        method=c.sampler,
        spacing=c.spacing,
        eta=c.eta,
        guide=functools.partial(
            guidance.classifier_free_guidance,
            scale=c.cond_scale,
            schedule=schedule,
            interval=tuple(c.guidance_interval) or None,
            rescale=c.guidance_rescale,
        ),
        dynamic_threshold=c.threshold == "dynamic",
    )
