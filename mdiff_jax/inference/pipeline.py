"""Users → embeddings → spectrograms: sampling from the prior and the decoder, one after the other, in chunks.

The functions made here take `variables`, {'prior', 'decoder'} → {'params', and after enrollment 'user_adapters'}, and a
batch of arrays with a leading axis of samples. Beside its fields named below there is 'person' (B, P) where people are
known by reference windows.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdiff_jax.diffusion import editing, gaussian, noise_floor, samplers
from mdiff_jax.inference.denoisers import SamplerSpec, decode_frames, encode_frames
from mdiff_jax.runtime import parallel, prng
from mdiff_jax.runtime.array_types import Array, Embedding, Keys, Person, UserId

Variables = Mapping[str, Any]  # of one network: its collections
WEAKER = "weaker"  # among these the parameters of a weaker model, where it guides
Who = tuple[UserId, list[Person]]  # of a batch: users, and what else says who they are, where anything does
SampleFunction = Callable[[Mapping[str, Variables], dict[str, Array]], dict[str, Array]]


class SampleRequest(NamedTuple):
    """One sample: which it is depends on `user` and `sample_id` (and the seed), on nothing else."""

    user: str
    index: int  # type: ignore[assignment]  # of the user, in the tables of the networks
    sample_id: int
    inputs: Mapping[str, np.ndarray] = MappingProxyType({})  # what else the function takes of this sample


# ----------------------------------------------------------------------------- sample functions


def make_window_sampler(prior: SamplerSpec, decoder: SamplerSpec) -> SampleFunction:
    """(variables, {'user', 'prior_key', 'decoder_key'}) → {'embedding': (B, D), 'spectrogram', 'frames'}."""
    return functools.partial(sample_windows, prior=prior, decoder=decoder)


def make_embedding_sampler(prior: SamplerSpec) -> SampleFunction:
    """(variables, {'user', 'prior_key'}) → {'embedding': (B, D)}, by the prior alone; of native frames with theirs."""
    return lambda variables, batch: {
        "embedding": sample_embeddings(prior, variables["prior"], batch, batch["prior_key"])
    }


def make_embedding_decoder(decoder: SamplerSpec) -> SampleFunction:
    """(variables, {'embedding', 'user', 'decoder_key'}) → {'spectrogram', 'frames'} of given embeddings."""
    return lambda variables, batch: decode_embeddings(
        decoder, variables["decoder"], batch["embedding"], batch, batch["decoder_key"]
    )


def make_window_variation(decoder: SamplerSpec, strength: float) -> SampleFunction:
    """(variables, {'embedding', 'user', 'decoder_key', 'window'}) → {'spectrogram', 'frames'} of windows varied."""
    return lambda variables, batch: vary_windows(decoder, variables["decoder"], batch, strength)


def make_window_redrawing(prior: SamplerSpec, decoder: SamplerSpec, strength: float) -> SampleFunction:
    """(variables, {'user', 'prior_key', 'decoder_key', 'window', 'frames'}) → {'spectrogram', 'frames'} of windows,
    whoever's, varied as those of the users: their embeddings are the prior's, not the windows' own.
    """
    return functools.partial(redraw_windows, prior=prior, decoder=decoder, strength=strength)


# ----------------------------------------------------------------------------- the two stages


def sample_windows(
    variables: Mapping[str, Variables], batch: dict[str, Array], *, prior: SamplerSpec, decoder: SamplerSpec
) -> dict[str, Array]:
    """{'user', 'prior_key', 'decoder_key'} (B,) → {'embedding': (B, D), 'spectrogram': (B, F, T, C) in [-1, 1],
    'frames': (B,)}: of native frames the first so many columns are the window.
    """
    z = sample_embeddings(prior, variables["prior"], batch, batch["prior_key"])
    return {"embedding": z, **decode_embeddings(decoder, variables["decoder"], z, batch, batch["decoder_key"])}


def sample_embeddings(prior: SamplerSpec, variables: Variables, batch: dict[str, Array], keys: Keys) -> Embedding:
    """Standardised embeddings of the users of a batch, by the prior."""
    spec = prior.denoiser

    def denoise(variables: Variables, z_t: Array, t: Array, condition: Who, keep: Array) -> Array:
        (user, person), estimate = condition, jnp.zeros_like(z_t)
        for _ in range(1 + spec.self_condition):  # as in training: first from nothing, then from the first estimate
            estimate = spec.network(variables, z_t, gaussian.log_snr(spec.schedule, t), user, keep, estimate, *person)
        return estimate

    return _sample(prior, _guide(prior, denoise, variables, _who(batch)), spec.shape, keys)


def decode_embeddings(
    decoder: SamplerSpec, variables: Variables, z: Embedding, batch: dict[str, Array], keys: Keys
) -> dict[str, Array]:
    """'spectrogram' and 'frames' of embeddings of the users of a batch, by the decoder; of `decoder.windows` windows
    that overlap by half.
    """
    (rows, time, channels), windows = decoder.denoiser.shape, decoder.windows
    z, frames = _split_frames(decoder, z)
    condition = jax.tree.map(lambda c: jnp.repeat(c, windows, axis=0), (z, frames, _who(batch)))
    denoise = guided_decoder(decoder, variables, *condition)
    if windows > 1:
        denoise = editing.overlapping_windows(denoise, windows, frames, time)
    longer = time + (windows - 1) * (time // 2)
    x = noise_floor.restore_floor(_sample(decoder, denoise, (rows, longer, channels), keys))
    return {"spectrogram": x, "frames": frames + (windows - 1) * (frames // 2)}


def vary_windows(
    decoder: SamplerSpec, variables: Variables, batch: dict[str, Array], strength: float
) -> dict[str, Array]:
    """{'embedding', 'user', 'decoder_key', 'window'} → windows noised up to `strength` and denoised anew."""
    z, frames = _split_frames(decoder, batch["embedding"])
    x = editing.sdedit(
        guided_decoder(decoder, variables, z, frames, _who(batch)),
        noise_floor.lower_floor(batch["window"], decoder.denoiser.noise_floor_margin),
        keys=batch["decoder_key"],
        strength=strength,
        **decoder.settings._asdict(),
    )
    return {"spectrogram": noise_floor.restore_floor(x), "frames": frames}


def redraw_windows(
    variables: Mapping[str, Variables],
    batch: dict[str, Array],
    *,
    prior: SamplerSpec,
    decoder: SamplerSpec,
    strength: float,
) -> dict[str, Array]:
    """As `vary_windows`, with embeddings of the users of the batch by the prior; the windows keep their frames."""
    z = sample_embeddings(prior, variables["prior"], batch, batch["prior_key"])
    if decoder.denoiser.native_frames:
        z = z.at[:, -1].set(encode_frames(batch["frames"], decoder.denoiser.shape[1]))
    return vary_windows(decoder, variables["decoder"], batch | {"embedding": z}, strength)


def frames_of_one(frames: Array, windows: int) -> Array:
    """Frames of one window of a walk of `frames` whose `windows` windows overlap by half: the inverse of joining."""
    return -(-2 * frames // (windows + 1))


def _split_frames(decoder: SamplerSpec, z: Embedding) -> tuple[Embedding, Array]:
    """What the prior drew, with its number of frames made whole, and that number (B,)."""
    columns = decoder.denoiser.shape[1]
    if not decoder.denoiser.native_frames:
        return z, jnp.full(len(z), columns)
    frames = decode_frames(z[:, -1], columns)
    return z.at[:, -1].set(encode_frames(frames, columns)), frames


def _who(batch: dict[str, Array]) -> Who:
    """What a batch says of its users."""
    return batch["user"], [batch["person"]] if "person" in batch else []


def guided_decoder(
    decoder: SamplerSpec, variables: Variables, z: Embedding, frames: Array, who: Who, **guidance: Array | float
) -> samplers.Denoise:
    """The decoder conditioned on embedding and user, guided; estimates are held to the range it was trained on.

    `guidance` may be another `scale` (B,) than that of the configuration.
    """
    spec = decoder.denoiser

    def denoise(variables: Variables, x_t: Array, t: Array, condition: tuple[Array, Array, Who], keep: Array) -> Array:
        z, frames, (user, person) = condition
        output = spec.network(variables, x_t, gaussian.log_snr(spec.schedule, t), z, user, keep, frames, *person)
        return gaussian.predict_x0(spec.schedule, x_t, t, output, spec.prediction)

    guided = _guide(decoder, denoise, variables, (z, frames, who), **guidance)
    return decoder.bound(guided, -1.0 - spec.noise_floor_margin, 1.0)


def _guide(
    sampler: SamplerSpec, denoise: Callable[..., Array], variables: Variables, condition: Any, **guidance: Array | float
) -> samplers.Denoise:
    """A network's estimates under a condition, guided by the null condition, or by the weaker model that `variables`
    bring along.
    """
    own = {name: collection for name, collection in variables.items() if name != WEAKER}
    if WEAKER not in variables:
        return sampler.guide(functools.partial(denoise, own), condition, **guidance)
    weaker = functools.partial(denoise, own | {"params": variables[WEAKER]})
    return sampler.guide(functools.partial(denoise, own), condition, weaker=weaker, **guidance)


def _sample(sampler: SamplerSpec, denoise: samplers.Denoise, shape: tuple[int, ...], keys: Keys) -> Array:
    x_T = samplers.initial_noise(keys, shape)
    return samplers.sample(denoise, x_T, keys=keys, **sampler.settings._asdict())


# ----------------------------------------------------------------------------- requests in chunks


def run_requests(
    function: SampleFunction,
    variables: Mapping[str, Variables],
    requests: Sequence[SampleRequest],
    *,
    seed: int,
    batch_size: int,
) -> Iterator[tuple[Sequence[SampleRequest], dict[str, np.ndarray]]]:
    """Runs `requests` in chunks of `batch_size` on all devices of all processes; yields each chunk with its arrays.

    All processes have to call it, and all get everything. A short last chunk is padded, so that one program is compiled
    and a sample does not depend on its company.
    """
    run = compile_cached(function)
    variables = parallel.replicate(variables)
    for start in range(0, len(requests), batch_size):
        chunk = requests[start : start + batch_size]
        padded = [*chunk, *[chunk[0]] * (batch_size - len(chunk))]
        yield chunk, {name: x[: len(chunk)] for name, x in run(variables, make_batch(padded, seed)).items()}


compile_cached = functools.lru_cache(maxsize=4)(parallel.compile_shared_map)  # the same function is compiled once


def make_batch(requests: Sequence[SampleRequest], seed: int) -> dict[str, Array]:
    """Users, the keys of each stage, and what the requests bring along, as arrays."""
    users, ids = [r.user for r in requests], np.array([r.sample_id for r in requests], np.int32)
    keys = {f"{stage}_key": prng.sample_keys(seed, stage, users, ids) for stage in ("prior", "decoder")}
    inputs = {name: np.stack([r.inputs[name] for r in requests]) for name in requests[0].inputs}
    return {"user": np.array([r.index for r in requests], np.int32), **keys, **inputs}
