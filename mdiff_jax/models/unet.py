"""The decoder network: a UNet over spectrogram patches, conditioned on noise level, embedding and user."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float

from mdiff_jax.models import layers
from mdiff_jax.runtime.array_types import Array, Embedding, LogSnr, Person, Spectrogram, UserId

Maps = Float[Array, "batch freq time maps"]


class UNet(nn.Module):
    """(x_t, log-SNR, embedding, user, keep, frames, person) → the predicted eps, x0 or v, shaped like x_t; with
    `occupancy` twice as many channels, the others the log odds that a pixel is empty
    (`diffusion.noise_floor.mix_in_floor`).

    `channels` gives the width of each level, the first at 1/`patch` of the input size, each next at half the one
    before; rows and columns must divide by `patch * 2 ** (levels - 1)`. `attention` says at which levels positions
    attend to each other. With `native_frames` only the first `frames` (B,) columns of a window are its own: what lies
    behind them is not seen. Skips are added, not joined: a fifth cheaper, as in U-ViT (Hoogeboom et al. 2023). Where
    `keep` is false the condition is a learned null, for classifier-free guidance (Ho and Salimans 2022). `person`
    (B, P) says who a user is by reference windows, where people are known by these. With `guidance_input` it takes a
    guidance `scale` (B,) too.

    The collection 'user_adapters' may hold 'modulations', for each block a table (users, 2 channels) that is added to
    the scale and shift of its norm: enrollment makes it, no training does (`inference.user_adapters`).
    """

    channels: tuple[int, ...]
    blocks: int  # residual blocks a level on the way down; one more on the way up
    attention: tuple[bool, ...]
    head_width: int
    patch: tuple[int, int]  # rows, frames
    cond_width: int
    num_users: int | None  # None: no direct user conditioning, the embedding alone says who
    native_frames: bool = False
    fine_channels: int = 0  # of layers on 2 x 2 patches that finish the output; 0: none
    occupancy: bool = False
    guidance_input: bool = False
    attention_implementation: str = "einsum"
    remat: str = "none"  # one of ranges.REMAT
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Spectrogram,
        log_snr: LogSnr,
        embedding: Embedding,
        user: UserId,
        keep: Array,
        frames: Array,
        person: Person | None = None,
        scale: Array | None = None,
    ) -> Maps:
        cond, extra = self.condition(log_snr, embedding, user, keep, person), self.modulations(user, keep)
        if self.guidance_input:
            cond = cond + self.embed_scale(scale)
        block = nn.remat(layers.ResBlock) if self.remat != "none" else layers.ResBlock
        attend = nn.remat(layers.AttentionBlock) if self.remat != "none" else layers.AttentionBlock

        def level_block(h, level, name):
            h = block(self.channels[level], self.dtype, name=name)(h, cond, extra.get(name))
            if self.attention[level]:
                h = attend(self.head_width, self.dtype, self.attention_implementation, name=f"{name}_attention")(h)
            return h

        def up_level(_, h, mine, level):
            for i, skip in enumerate(mine):
                h = level_block(h + skip, level, f"up_{level}_{i}")
            return h

        up = nn.remat(up_level, static_argnums=(3,)) if self.remat == "full" else up_level

        # --- in: patches and the frequency coordinate
        out_channels = x.shape[-1] * (1 + self.occupancy)
        h = layers.patch_input(x, frames if self.native_frames else None, self.patch, self.dtype)
        h = nn.Conv(self.channels[0], (3, 3), dtype=self.dtype, name="stem")(h)

        # --- down
        skips = [h]
        for level, width in enumerate(self.channels):
            if level:
                h = nn.Conv(width, (2, 2), (2, 2), dtype=self.dtype, name=f"down_{level}")(h)
                skips.append(h)
            for i in range(self.blocks):
                h = level_block(h, level, f"down_{level}_{i}")
                skips.append(h)

        # --- middle
        h = level_block(h, len(self.channels) - 1, "middle")

        # --- up
        for level in reversed(range(len(self.channels))):
            h = up(self, h, [skips.pop() for _ in range(self.blocks + 1)], level)
            if level:
                h = nn.Conv(self.channels[level - 1], (1, 1), dtype=self.dtype, name=f"up_{level}")(h)
                h = layers.upsample(h)

        # --- out
        h = nn.silu(layers.GroupNorm(self.dtype, name="norm_out")(h))
        width = self.patch[0] * self.patch[1] * out_channels
        h = nn.Conv(width, (3, 3), kernel_init=nn.initializers.zeros, dtype=self.dtype, name="head")(h)
        out = layers.depth_to_space(h, self.patch)
        if self.fine_channels:
            x = x.astype(self.dtype)
            x = x * layers.frame_mask(frames, x.shape[2]).astype(self.dtype) if self.native_frames else x
            finish = layers.FineLayers(self.fine_channels, self.dtype, name="fine")
            out = out + finish(out, x, cond, extra.get("fine"))
        return out.astype(jnp.float32)

    def condition(
        self, log_snr: LogSnr, embedding: Embedding, user: UserId, keep: Array, person: Person | None
    ) -> Array:
        """(B, cond_width): noise level plus embedding plus, by choice, user."""
        width, keep = self.cond_width, keep[:, None]
        noise = nn.Dense(width, dtype=self.dtype, name="noise_in")(layers.noise_features(log_snr, 64))
        cond = nn.Dense(width, dtype=self.dtype, name="noise_out")(nn.silu(noise))
        null = self.param("null_embedding", nn.initializers.zeros, (embedding.shape[-1],))
        who = jnp.where(keep, embedding, null)
        who = nn.silu(nn.Dense(width, dtype=self.dtype, name="embedding_in")(who))
        cond = cond + nn.Dense(width, dtype=self.dtype, name="embedding_out")(who)
        if self.num_users is not None:
            table = layers.UserEmbedding(self.num_users, width, self.dtype, name="user")
            cond = cond + table(user, keep[:, 0], person)
        return cond

    def embed_scale(self, scale: Array) -> Array:
        """(B, cond_width) of guidance scales (B,); starts at zero, so that a network can be gone on with."""
        h = nn.Dense(self.cond_width, dtype=self.dtype, name="guidance_in")(layers.noise_features(scale, 64))
        zeros = nn.initializers.zeros
        return nn.Dense(self.cond_width, kernel_init=zeros, dtype=self.dtype, name="guidance_out")(nn.silu(h))

    def modulations(self, user: UserId, keep: Array) -> dict[str, Array]:
        """Rows (B, 2 channels) of the adapters' table of each block; none where there are no adapters."""
        if not self.has_variable("user_adapters", "modulations"):
            return {}
        tables: Mapping[str, Array] = self.get_variable("user_adapters", "modulations")
        return {name: jnp.where(keep[:, None], table[user], 0.0) for name, table in tables.items()}
