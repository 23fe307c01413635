"""Users → embeddings → spectrograms: the prior and the decoder drawn from, one after the other, in chunks."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mdiff_jax.diffusion import editing, gaussian, guidance, noise_floor, samplers
from mdiff_jax.diffusion.schedules import NoiseSchedule
from mdiff_jax.runtime import parallel, prng
from mdiff_jax.runtime.array_types import Array, Embedding, Keys, Spectrogram, UserId

SampleFunction = Callable[[Any, dict[str, Array]], dict[str, Array]]


class DenoiserSpec(NamedTuple):
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


class SampleRequest(NamedTuple):
    """One sample to draw: which it is depends on `user` and `sample_id` (and the seed), on nothing else."""

    user: str
    index: int  # of the user, in the checkpoint
    sample_id: int
    given: Mapping[str, np.ndarray] = MappingProxyType({})  # what else the function takes, of this sample


def sample_windows(
    params: dict[str, Any],
    batch: dict[str, Array],
    *,
    prior: DenoiserSpec,
    decoder: DenoiserSpec,
    embedding_dim: int,
    shape: tuple[int, int, int],
    windows: int,
    self_condition: bool,
    floor_margin: float,
) -> dict[str, Array]:
    """{'user', 'prior_key', 'decoder_key'} (B,) → {'embedding': (B, D), 'spectrogram': (B, F, T, C) in [-1, 1]}."""
    z = sample_embeddings(prior, params["prior"], batch["user"], batch["prior_key"], embedding_dim, self_condition)
    x = decode_embeddings(
        decoder, params["decoder"], z, batch["user"], batch["decoder_key"], shape, floor_margin, windows
    )
    return {"embedding": z, "spectrogram": x}


def sample_embeddings(
    prior: DenoiserSpec, params: Any, user: UserId, sample_keys: Keys, dim: int, self_condition: bool
) -> Embedding:
    """Standardised embeddings of users, by the prior."""

    def denoise(z_t: Array, t: Array, user: Array, keep: Array) -> Array:
        estimate = jnp.zeros_like(z_t)
        for _ in range(1 + self_condition):  # as in training: first from nothing, then from the first estimate
            estimate = prior.network(params, z_t, gaussian.log_snr(prior.schedule, t), user, keep, estimate)
        return estimate

    return _sample(prior, prior.guide(denoise, user), (dim,), sample_keys)


def decode_embeddings(
    decoder: DenoiserSpec,
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
    denoise = _decoder_denoise(decoder, params, jnp.repeat(z, windows, axis=0), jnp.repeat(user, windows), floor_margin)
    if windows > 1:
        denoise = editing.overlapping_windows(denoise, windows, time)
    longer = time + (windows - 1) * (time // 2)
    return noise_floor.restore_floor(_sample(decoder, denoise, (rows, longer, channels), sample_keys))


def vary_windows(
    decoder: DenoiserSpec,
    params: Any,
    batch: dict[str, Array],
    floor_margin: float,
    strength: float,
) -> Spectrogram:
    """{'embedding', 'user', 'decoder_key', 'window'} → windows noised up to `strength` and drawn anew."""
    x = editing.sdedit(
        _decoder_denoise(decoder, params, batch["embedding"], batch["user"], floor_margin),
        noise_floor.lower_floor(batch["window"], floor_margin),
        keys=batch["decoder_key"],
        strength=strength,
        schedule=decoder.schedule,
        method=decoder.method,
        sample_timesteps=decoder.sample_timesteps,
        spacing=decoder.spacing,
        eta=decoder.eta,
    )
    return noise_floor.restore_floor(x)


def _decoder_denoise(
    decoder: DenoiserSpec, params: Any, z: Embedding, user: UserId, floor_margin: float
) -> samplers.Denoise:
    """The decoder told embedding and user, guided; estimates are held to the range it was trained on."""

    def denoise(x_t: Array, t: Array, condition: tuple[Array, Array], keep: Array) -> Array:
        z, user = condition
        output = decoder.network(params, x_t, gaussian.log_snr(decoder.schedule, t), z, user, keep)
        return gaussian.predict_x0(decoder.schedule, x_t, t, output, decoder.prediction)

    bound = guidance.dynamic_thresholding if decoder.dynamic_threshold else guidance.clip_x0
    return bound(decoder.guide(denoise, (z, user)), -1.0 - floor_margin, 1.0)


def _sample(denoiser: DenoiserSpec, denoise: samplers.Denoise, shape: tuple[int, ...], sample_keys: Keys) -> Array:
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


def run_requests(
    function: SampleFunction, params: dict[str, Any], requests: Sequence[SampleRequest], *, seed: int, batch_size: int
) -> Iterator[tuple[Sequence[SampleRequest], dict[str, np.ndarray]]]:
    """Draws `requests` in chunks of `batch_size` on all devices of all processes; yields each chunk with its arrays.

    All processes have to call it, and all get everything. A short last chunk is padded, so that one program is compiled
    and a sample does not depend on its company.
    """
    run = compile_cached(function)
    params = parallel.replicate(params)
    for start in range(0, len(requests), batch_size):
        chunk = requests[start : start + batch_size]
        padded = [*chunk, *[chunk[0]] * (batch_size - len(chunk))]
        yield chunk, {name: x[: len(chunk)] for name, x in run(params, make_batch(padded, seed)).items()}


compile_cached = functools.lru_cache(maxsize=4)(parallel.compile_shared_map)  # the same function is compiled once


def make_batch(requests: Sequence[SampleRequest], seed: int) -> dict[str, Array]:
    """What `draw` takes: users, and the keys of each stage; and what the requests bring along."""
    users, ids = [r.user for r in requests], np.array([r.sample_id for r in requests], np.int32)
    sample_keys = {f"{stage}_key": prng.sample_keys(seed, stage, users, ids) for stage in ("prior", "decoder")}
    given = {name: np.stack([r.given[name] for r in requests]) for name in requests[0].given}
    return {"user": np.array([r.index for r in requests], np.int32), **sample_keys, **given}
