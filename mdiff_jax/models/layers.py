"""Layers that the networks share: noise-level features, norms, attention, residual blocks, patches.

Every layer takes `dtype`, the type it computes in; parameters and norms stay float32.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mdiff_jax.runtime.array_types import Array, LogSnr, Person, UserId

NO_ROW = 2**30  # index of a user without a row, beyond every table


def noise_features(log_snr: LogSnr, dim: int) -> Array:
    """Returns (B, dim) sines and cosines of the log-SNR (B,), with wavelengths from about 60 down to 0.6.

    The log-SNR runs over at most [-20, 20] whatever the number of timesteps, so the same weights serve any of them
    (Kingma et al. 2021, variational diffusion models, section 5.1).
    """
    frequencies = jnp.exp(jnp.linspace(jnp.log(0.1), jnp.log(10.0), dim // 2))
    angles = log_snr.astype(jnp.float32)[:, None] * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


def frequency_features(rows: int, time: int, count: int = 3) -> Array:
    """Returns (rows, time, 2 count + 1) coordinates of the Doppler rows: networks see where zero velocity is."""
    f = jnp.linspace(-1.0, 1.0, rows)
    waves = [w(jnp.pi * 2**k * f / 2) for k in range(count) for w in (jnp.sin, jnp.cos)]
    return jnp.broadcast_to(jnp.stack([f, *waves], axis=-1)[:, None], (rows, time, 2 * count + 1))


def frame_mask(frames: Array, time: int) -> Array:
    """Returns (B, 1, time, 1): 1 at each window's own `frames` (B,), 0 at the columns behind them."""
    return (jnp.arange(time) < frames[:, None]).astype(jnp.float32)[:, None, :, None]


def space_to_depth(x: Array, patch: tuple[int, int]) -> Array:
    """Moves patches of (p, q) into channels: (B, F, T, C) → (B, F/p, T/q, p q C)."""
    (b, f, t, c), (p, q) = x.shape, patch
    x = x.reshape(b, f // p, p, t // q, q, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, f // p, t // q, p * q * c)


def depth_to_space(x: Array, patch: tuple[int, int]) -> Array:
    """Inverts `space_to_depth`."""
    (b, f, t, c), (p, q) = x.shape, patch
    x = x.reshape(b, f, t, p, q, c // (p * q))
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, f * p, t * q, c // (p * q))


def patch_input(x: Array, frames: Array | None, patch: tuple[int, int], dtype: DTypeLike) -> Array:
    """Returns (B, F/p, T/q, channels): patches of (B, F, T, C) beside their Doppler rows.

    Where each window has `frames` (B,) of its own the columns behind them are 0, and a channel says which those are.
    """
    own = None if frames is None else frame_mask(frames, x.shape[2])
    h = space_to_depth(x if own is None else x * own, patch)
    parts = [h, frequency_features(*h.shape[1:3])]
    if own is not None:
        parts.append(space_to_depth(own, (1, patch[1])).mean(-1, keepdims=True))
    return jnp.concatenate([jnp.broadcast_to(p, (*h.shape[:3], p.shape[-1])).astype(dtype) for p in parts], axis=-1)


def num_groups(channels: int) -> int:
    """Returns the largest of 32, 16, 8 … that divides `channels` into groups of at least 4."""
    return next(g for g in (32, 16, 8, 4, 2, 1) if channels % g == 0 and (channels // g >= 4 or g == 1))


def upsample(x: Array) -> Array:
    """Doubles rows and frames by nearest neighbour."""
    b, f, t, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None], (b, f, 2, t, 2, c)).reshape(b, 2 * f, 2 * t, c)


def dot_product_attention(q: Array, k: Array, v: Array, implementation: str) -> Array:
    """Attends (B, N, H, D) queries to keys and values; returns (B, N, H, D). Logits and softmax are float32.

    'einsum' is the fastest on a CPU (and the only one for float16 there); 'cudnn' needs a recent GPU, float16 or
    bfloat16, and a head width of at most 128 that is a multiple of 8.
    """
    if implementation == "cudnn":
        return jax.nn.dot_product_attention(q, k, v, implementation="cudnn")
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
    weights = jax.nn.softmax(logits, axis=-1).astype(v.dtype)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, v)


class SelfAttention(nn.Module):
    """Multi-head self-attention over (B, N, C); the last projection starts at zero."""

    heads: int
    dtype: DTypeLike
    implementation: str = "einsum"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        b, n, c = x.shape
        qkv = nn.Dense(3 * c, dtype=self.dtype, name="qkv")(x).reshape(b, n, 3, self.heads, c // self.heads)
        q, k, v = jnp.unstack(qkv, axis=2)
        out = dot_product_attention(q, k, v, self.implementation)
        return nn.Dense(c, kernel_init=nn.initializers.zeros, dtype=self.dtype, name="out")(out.reshape(b, n, c))


class GroupNorm(nn.Module):
    """Group normalisation in float32, cast to `dtype`; `scale` and `shift` (B, C) make it adaptive.

    One pass over the input: mean and mean square are taken per channel, then joined into groups.
    """

    dtype: DTypeLike
    affine: bool = True

    @nn.compact
    def __call__(self, x: Array, scale: Array | None = None, shift: Array | None = None) -> Array:
        c = x.shape[-1]
        groups = num_groups(c)
        x32 = x.astype(jnp.float32)
        moments = jnp.stack([x32.mean((1, 2)), jnp.square(x32).mean((1, 2))])
        mean, square = jnp.repeat(moments.reshape(2, -1, groups, c // groups).mean(-1), c // groups, axis=-1)
        gain = jax.lax.rsqrt(jnp.maximum(square - mean**2, 0.0) + 1e-5)
        if self.affine:
            gain = gain * self.param("scale", nn.initializers.ones, (c,))
        offset = -mean * gain
        if self.affine:
            offset = offset + self.param("bias", nn.initializers.zeros, (c,))
        if scale is not None:
            gain, offset = gain * (1.0 + scale), offset * (1.0 + scale) + shift
        return (x32 * gain[:, None, None] + offset[:, None, None]).astype(self.dtype)


class UserEmbedding(nn.Module):
    """(user, keep) → (B, width): each user's row of a table; where `keep` is false the null user's, which is the last.

    With `person` (B, P) two layers say who it is, and a user's row is added to that; beyond the table it is 0. The
    collection 'user_adapters' may hold `rows` (enrolled, width) of users enrolled after training, who come after the
    `num_users` trained ones.
    """

    num_users: int
    width: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, user: UserId, keep: Array, person: Person | None = None) -> Array:
        init = nn.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)
        table = self.param("embedding", init, (self.num_users + 1, self.width))
        if self.has_variable("user_adapters", "rows"):
            table = jnp.concatenate([table[:-1], self.get_variable("user_adapters", "rows"), table[-1:]])
        table = table.astype(self.dtype)
        if person is None:
            return jnp.take(table, jnp.where(keep, user, len(table) - 1), axis=0)
        who = nn.silu(nn.Dense(self.width, dtype=self.dtype, name="person_in")(person))
        who = nn.Dense(self.width, dtype=self.dtype, name="person_out")(who)
        if len(table) > 1:
            who = who + jnp.take(table[:-1], user, axis=0, mode="fill", fill_value=0.0)
        return jnp.where(keep[:, None], who, table[-1])


class ResBlock(nn.Module):
    """Residual block: norm, SiLU, 3x3, adaptive norm, SiLU, 3x3 from zero (Dhariwal and Nichol 2021, appendix A).

    Without `cond` (B, K) the second norm is a plain one. `extra` (B, 2 channels) is added to its scale and shift.
    """

    channels: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Array, cond: Array | None = None, extra: Array | None = None) -> Array:
        h = nn.silu(GroupNorm(self.dtype, name="norm_in")(x))
        h = nn.Conv(self.channels, (3, 3), dtype=self.dtype, name="conv_in")(h)
        modulation: Sequence[Array | None] = (None, None)
        if cond is not None:
            zeros = nn.initializers.zeros
            both = nn.Dense(2 * self.channels, kernel_init=zeros, dtype=self.dtype, name="modulation")(nn.silu(cond))
            both = both.astype(jnp.float32) if extra is None else both.astype(jnp.float32) + extra
            modulation = jnp.split(both, 2, axis=-1)
        h = nn.silu(GroupNorm(self.dtype, name="norm_out")(h, *modulation))
        h = nn.Conv(self.channels, (3, 3), kernel_init=nn.initializers.zeros, dtype=self.dtype, name="conv_out")(h)
        if x.shape[-1] != self.channels:
            x = nn.Dense(self.channels, dtype=self.dtype, name="skip")(x)
        return x + h


class FineLayers(nn.Module):
    """What is added to an estimate (B, F, T, C) that was made of large patches, from it and the input `x`, by layers on
    patches of 2 x 2.

    A cell is empty or not: near that edge its best estimate is a step, which the linear output of a large patch cannot
    draw for each of its cells. `cond` and `extra` are as in ResBlock; the last layer starts at zero.
    """

    channels: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, estimate: Array, x: Array, cond: Array, extra: Array | None = None) -> Array:
        zeros, (_, rows, time, out_channels) = nn.initializers.zeros, estimate.shape
        patch = (2 - rows % 2, 2 - time % 2)
        h = space_to_depth(jnp.concatenate([estimate, x], axis=-1), patch)
        h = nn.Conv(self.channels, (3, 3), dtype=self.dtype, name="conv_in")(h)
        both = nn.Dense(2 * self.channels, kernel_init=zeros, dtype=self.dtype, name="modulation")(nn.silu(cond))
        both = both if extra is None else both + extra.astype(self.dtype)
        scale, shift = jnp.split(both[:, None, None], 2, axis=-1)
        h = nn.silu(h * (1.0 + scale) + shift)
        h = nn.silu(nn.Conv(self.channels, (3, 3), dtype=self.dtype, name="conv_middle")(h))
        width = patch[0] * patch[1] * out_channels
        h = nn.Conv(width, (3, 3), kernel_init=zeros, dtype=self.dtype, name="conv_out")(h)
        return depth_to_space(h, patch)


class AttentionBlock(nn.Module):
    """Norm and self-attention over all positions of (B, F, T, C), residual."""

    head_width: int
    dtype: DTypeLike
    implementation: str

    @nn.compact
    def __call__(self, x: Array) -> Array:
        b, f, t, c = x.shape
        h = GroupNorm(self.dtype, name="norm")(x).reshape(b, f * t, c)
        heads = max(1, c // self.head_width)
        return x + SelfAttention(heads, self.dtype, self.implementation, name="attention")(h).reshape(x.shape)
