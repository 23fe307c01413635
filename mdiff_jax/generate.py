"""Users → embeddings → spectrograms: the prior and the decoder drawn from, one after the other, in chunks."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mdiff_jax import diffusion, editing, floor, guidance, keys, parallel, samplers
from mdiff_jax.schedules import NoiseSchedule
from mdiff_jax.types import Array, Embedding, Keys, Spectrogram, UserId

Draw = Callable[[Any, dict[str, Array]], dict[str, Array]]


class Denoiser(NamedTuple):
    """A network and how to draw from it."""

    network: Callable  # (params, x_t, log-SNR, …) → output
    schedule: NoiseSchedule
    prediction: str
    sample_timesteps: int
    method: str
    spacing: str
    eta: float
    guide: Callable  # (conditional denoiser, condition) → denoiser; `guidance.guided` with its strengths
    dynamic_threshold: bool = False  # of estimates beyond the range, in place of clipping them


class Request(NamedTuple):
    """One sample to draw: which it is depends on `user` and `sample_id` (and the seed), on nothing else."""

    user: str
    index: int  # of the user, in the checkpoint
    sample_id: int
    given: Mapping[str, np.ndarray] = MappingProxyType({})  # what else the function takes, of this sample


def draw(
    params: dict[str, Any],
    batch: dict[str, Array],
    *,
    prior: Denoiser,
    decoder: Denoiser,
    embedding_dim: int,
    shape: tuple[int, int, int],
    windows: int,
    self_condition: bool,
    floor_margin: float,
) -> dict[str, Array]:
    """{'user', 'prior_key', 'decoder_key'} (B,) → {'embedding': (B, D), 'spectrogram': (B, F, T, C) in [-1, 1]}."""
    z = draw_embeddings(prior, params["prior"], batch["user"], batch["prior_key"], embedding_dim, self_condition)
    x = draw_spectrograms(
        decoder, params["decoder"], z, batch["user"], batch["decoder_key"], shape, floor_margin, windows
    )
    return {"embedding": z, "spectrogram": x}


def draw_embeddings(
    prior: Denoiser, params: Any, user: UserId, sample_keys: Keys, dim: int, self_condition: bool
) -> Embedding:
    """Standardised embeddings of users, by the prior."""

    def denoise(z_t: Array, t: Array, user: Array, keep: Array) -> Array:
        estimate = jnp.zeros_like(z_t)
        for _ in range(1 + self_condition):  # as in training: first from nothing, then from the first estimate
            estimate = prior.network(params, z_t, diffusion.log_snr(prior.schedule, t), user, keep, estimate)
        return estimate

    return _sample(prior, prior.guide(denoise, user), (dim,), sample_keys)


def draw_spectrograms(
    decoder: Denoiser,
    params: Any,
    z: Embedding,
    user: UserId,
    sample_keys: Keys,
    shape: tuple[int, int, int],
    floor_margin: float,
    windows: int = 1,
) -> Spectrogram:
    """Spectrograms of embeddings, by the decoder; with more `windows` than one, walks as long as so many that overlap
    by half.
    """
    rows, time, channels = shape
    denoise = _decoding(decoder, params, jnp.repeat(z, windows, axis=0), jnp.repeat(user, windows), floor_margin)
    if windows > 1:
        denoise = editing.over_time(denoise, windows, time)
    longer = time + (windows - 1) * (time // 2)
    return floor.restore(_sample(decoder, denoise, (rows, longer, channels), sample_keys))


def vary_spectrograms(
    decoder: Denoiser,
    params: Any,
    batch: dict[str, Array],
    floor_margin: float,
    strength: float,
) -> Spectrogram:
    """{'embedding', 'user', 'decoder_key', 'window'} → windows noised up to `strength` and drawn anew."""
    x = editing.vary(
        _decoding(decoder, params, batch["embedding"], batch["user"], floor_margin),
        floor.lower(batch["window"], floor_margin),
        keys=batch["decoder_key"],
        strength=strength,
        schedule=decoder.schedule,
        method=decoder.method,
        sample_timesteps=decoder.sample_timesteps,
        spacing=decoder.spacing,
        eta=decoder.eta,
    )
    return floor.restore(x)


def _decoding(decoder: Denoiser, params: Any, z: Embedding, user: UserId, floor_margin: float) -> samplers.Denoise:
    """The decoder told embedding and user, guided; estimates are held to the range it was trained on."""

    def denoise(x_t: Array, t: Array, condition: tuple[Array, Array], keep: Array) -> Array:
        z, user = condition
        output = decoder.network(params, x_t, diffusion.log_snr(decoder.schedule, t), z, user, keep)
        return diffusion.predict_x0(decoder.schedule, x_t, t, output, decoder.prediction)

    bound = guidance.dynamically_thresholded if decoder.dynamic_threshold else guidance.clipped
    return bound(decoder.guide(denoise, (z, user)), -1.0 - floor_margin, 1.0)


def _sample(denoiser: Denoiser, denoise: samplers.Denoise, shape: tuple[int, ...], sample_keys: Keys) -> Array:
    return samplers.sample(
        denoise,
        samplers.initial_noise(sample_keys, shape),
        schedule=denoiser.schedule,
        method=denoiser.method,
        sample_timesteps=denoiser.sample_timesteps,
        spacing=denoiser.spacing,
        eta=denoiser.eta,
        keys=sample_keys,
    )


def generate(
    function: Draw, params: dict[str, Any], requests: Sequence[Request], *, seed: int, batch_size: int
) -> Iterator[tuple[Sequence[Request], dict[str, np.ndarray]]]:
    """Draws `requests` in chunks of `batch_size` on all devices of all processes; yields each chunk with its arrays.

    All processes have to call it, and all get everything. A short last chunk is padded, so that one program is compiled
    and a sample does not depend on its company.
    """
    run = compiled(function)
    params = parallel.replicate(params)
    for start in range(0, len(requests), batch_size):
        chunk = requests[start : start + batch_size]
        padded = [*chunk, *[chunk[0]] * (batch_size - len(chunk))]
        yield chunk, {name: x[: len(chunk)] for name, x in run(params, batch_of(padded, seed)).items()}


compiled = functools.lru_cache(maxsize=4)(parallel.compile_shared_map)  # the same function is compiled once


def batch_of(requests: Sequence[Request], seed: int) -> dict[str, Array]:
    """What `draw` takes: users, and the keys of each stage; and what the requests bring along."""
    users, ids = [r.user for r in requests], np.array([r.sample_id for r in requests], np.int32)
    sample_keys = {f"{stage}_key": keys.per_sample(seed, stage, users, ids) for stage in ("prior", "decoder")}
    given = {name: np.stack([r.given[name] for r in requests]) for name in requests[0].given}
    return {"user": np.array([r.index for r in requests], np.int32), **sample_keys, **given}
