"""The encoder network: spectrogram → unit embedding, and the cosine classifier it is trained with."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from mdiff_jax.models import layers
from mdiff_jax.runtime.array_types import Array, Embedding, Spectrogram


class Encoder(nn.Module):
    """(B, F, T, C), (B,) frames → (B, embedding_dim), each of length 1.

    With `native_frames` only the first `frames` columns of a window are its own, and what lies behind is not seen.
    `channels` gives the width of each level, the first at 1/`patch` of the input size, each next at half. Time is
    averaged at the end, since a window may start anywhere; the Doppler rows are not, since rows are velocities.
    """

    embedding_dim: int
    channels: tuple[int, ...]
    blocks: int
    patch: tuple[int, int]  # rows, frames
    native_frames: bool = False
    remat: str = "none"  # one of ranges.REMAT
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Spectrogram, frames: Array) -> Embedding:
        block = nn.remat(layers.ResBlock) if self.remat != "none" else layers.ResBlock
        h = layers.patch_input(x, frames if self.native_frames else None, self.patch, self.dtype)
        h = nn.Conv(self.channels[0], (3, 3), dtype=self.dtype, name="stem")(h)
        for level, width in enumerate(self.channels):
            if level:
                h = nn.Conv(width, (2, 2), (2, 2), dtype=self.dtype, name=f"down_{level}")(h)
            for i in range(self.blocks):
                h = block(width, self.dtype, name=f"block_{level}_{i}")(h)
        h = nn.silu(layers.GroupNorm(self.dtype, name="norm_out")(h)).astype(jnp.float32)
        deviation = jnp.sqrt(jnp.maximum(h.var(2), 1e-12))  # the square root has no gradient at 0
        pooled = jnp.concatenate([h.mean(2), deviation], axis=-1).reshape(h.shape[0], -1)
        z = nn.Dense(self.embedding_dim, name="embedding")(pooled)
        return z / jnp.maximum(jnp.linalg.norm(z, axis=-1, keepdims=True), 1e-6)


class CosineClassifier(nn.Module):
    """Unit embedding → (B, num_users) logits: 16 times the cosine to a learned direction per user."""

    num_users: int

    @nn.compact
    def __call__(self, z: Embedding) -> Array:
        w = self.param("directions", nn.initializers.normal(1.0), (self.num_users, z.shape[-1]))
        return 16.0 * z @ (w / jnp.linalg.norm(w, axis=-1, keepdims=True)).T
