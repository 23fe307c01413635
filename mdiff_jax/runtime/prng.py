"""Randomness as a function: root seed → purpose → step → example. Nothing random is ever stored."""

import zlib
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from mdiff_jax.runtime.array_types import Key, Keys

PURPOSES = ("init", "data", "train", "eval", "sample")


def purpose_key(seed: int, purpose: Literal["init", "data", "train", "eval", "sample"], name: str = "") -> Key:
    """The key of one purpose; `name` sets stages apart (the CRC of the name is stable across runs and machines)."""
    key = jax.random.fold_in(jax.random.key(seed), PURPOSES.index(purpose))
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def example_keys(key: Key, example: jax.Array | np.ndarray) -> Keys:
    """One key for each (global) example index: independent of how a batch is laid over devices."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.asarray(example))


def sample_keys(seed: int, stage: str, users: Sequence[str], ids: np.ndarray) -> Keys:
    """One key for each sample of a user: sample 3 of a user is the same whoever else is drawn with it."""
    key = purpose_key(seed, "sample", stage)
    names = np.array([zlib.crc32(user.encode()) for user in users], np.uint32)
    return jax.vmap(lambda name, i: jax.random.fold_in(jax.random.fold_in(key, name), i))(names, ids)
