"""The shape vocabulary of the project: one name for each kind of array.

Public functions are annotated with these; the annotations are checked at run time under pytest only.

Axis names: ``batch`` examples, ``freq`` Doppler rows (row 0 is the highest velocity), ``time`` frames, ``dim``
embedding width, ``steps`` training timesteps.
"""

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Float, Int, UInt32
from jaxtyping import Key as TypedKey

if TYPE_CHECKING:
    Array = Any  # which of the two it is, and its shape, are checked when tests run
else:
    Array = jax.Array | np.ndarray
Tree = Any  # a pytree of arrays: dicts, tuples and dataclasses of them, nested

Spectrogram = Float[Array, "batch freq time channels"]  # model space, [-1, 1]; -1 is the noise floor
Window = Float[np.ndarray, "freq time"]  # one spectrogram on the host, [-1, 1]
Windows = Float[np.ndarray, "windows freq time"]  # many of them, for metrics and pictures
Embedding = Float[Array, "batch dim"]
Person = Float[Array, "batch person"]  # mean, deviation and number of some windows' embeddings
UserId = Int[Array, "batch"]  # index of a user in the tables of the networks, never shown
Timestep = Int[Array, "batch"]  # 0 … T-1, 0 the least noisy
LogSnr = Float[Array, "batch"]  # log(alpha_bar / (1 - alpha_bar))
Key = TypedKey[jax.Array, ""] | UInt32[jax.Array, "2"]  # one PRNG key
Keys = TypedKey[jax.Array, "batch"] | UInt32[jax.Array, "batch 2"]  # one per example
Batch = dict[str, Array]  # 'spectrogram' (B, F, T, 1), 'user' (B,), 'example' (B,) global example index
