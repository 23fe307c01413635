"""Randomness as a function: root seed → purpose → step → example. Nothing random is ever stored."""

import zlib
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from mdiff_jax.runtime import ranges
from mdiff_jax.runtime.array_types import Key, Keys

PURPOSES = ("init", "data", "train", "eval", "sample")


def purpose_key(seed: int, purpose: Literal["init", "data", "train", "eval", "sample"], name: str = "") -> Key:
    """Returns the key of one purpose; `name` tells stages apart (by its CRC, the same in every run).

    InputError for a seed that JAX would cut to 32 bits.
    """
    ranges.SEED.check("seed", seed)
    key = jax.random.fold_in(jax.random.key(seed), PURPOSES.index(purpose))
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def example_keys(key: Key, example: jax.Array | np.ndarray) -> Keys:
    """Returns a key for each (global) example index: independent of how a batch is split over devices."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.asarray(example))


def sample_keys(seed: int, stage: str, users: Sequence[str], ids: np.ndarray) -> Keys:
    """Returns a key for each (user, sample id): independent of what else is sampled in the same batch."""
    key = purpose_key(seed, "sample", stage)
    names = np.array([zlib.crc32(user.encode()) for user in users], np.uint32)
    return jax.vmap(lambda name, i: jax.random.fold_in(jax.random.fold_in(key, name), i))(names, ids)


def uniform_numbers(seed: int, *counters: Int[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Returns numbers in [0, 1), a function of the seed and of counters, which broadcast: keys for draws on the host.

    Each counter chooses a number of the SplitMix64 stream of the one before (Steele, Lea and Flood 2014, figure 17).
    All at once, since making one of NumPy's generators for each example takes longer than the rest of a batch.
    """
    state = np.array([seed], np.uint64)
    for counter in counters:
        state = state + counter.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(11)) * 2.0**-53
