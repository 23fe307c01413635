"""The prior network: a small transformer that denoises an embedding, given the user."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from mdiff_jax.models import layers
from mdiff_jax.runtime.array_types import Array, Embedding, LogSnr, Person, UserId


class TransformerBlock(nn.Module):
    """Pre-norm attention and MLP; shaped for `nn.scan`."""

    heads: int
    dtype: DTypeLike
    attention_implementation: str

    @nn.compact
    def __call__(self, x: Array, _: None) -> tuple[Array, None]:
        h = nn.LayerNorm(dtype=self.dtype, name="norm_attention")(x)
        x = x + layers.SelfAttention(self.heads, self.dtype, self.attention_implementation, name="attention")(h)
        h = nn.LayerNorm(dtype=self.dtype, name="norm_mlp")(x)
        h = nn.gelu(nn.Dense(4 * x.shape[-1], dtype=self.dtype, name="mlp_in")(h))
        return x + nn.Dense(x.shape[-1], kernel_init=nn.initializers.zeros, dtype=self.dtype, name="mlp_out")(h), None


class PriorTransformer(nn.Module):
    """(z_t, log-SNR, user, keep, self_cond, person) → the denoised embedding.

    Tokens: noise level, user, noisy embedding, (the last estimate, with `self_condition`: Chen et al. 2022, analog
    bits), and a query whose output is the answer (Ramesh et al. 2022, section 2.2). Where `keep` is false the user is
    the null user, for classifier-free guidance. `person` (B, P) says who a user is by reference windows, where people
    are known by these.
    """

    num_users: int
    width: int
    depth: int
    heads: int
    self_condition: bool
    attention_implementation: str = "einsum"
    remat: str = "none"  # one of ranges.REMAT
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        z: Embedding,
        log_snr: LogSnr,
        user: UserId,
        keep: Array,
        self_cond: Embedding | None = None,
        person: Person | None = None,
    ) -> Embedding:
        noise = nn.Dense(self.width, dtype=self.dtype, name="noise_in")(layers.noise_features(log_snr, 64))
        tokens = [
            nn.Dense(self.width, dtype=self.dtype, name="noise_out")(nn.silu(noise)),
            layers.UserEmbedding(self.num_users, self.width, self.dtype, name="user")(user, keep, person),
            nn.Dense(self.width, dtype=self.dtype, name="embedding")(z),
        ]
        if self.self_condition:
            last = jnp.zeros_like(z) if self_cond is None else self_cond
            tokens.append(nn.Dense(self.width, dtype=self.dtype, name="self_condition")(last))
        tokens.append(jnp.zeros_like(tokens[0]))
        x = jnp.stack(tokens, axis=1)
        x = x + self.param("position", nn.initializers.normal(0.02), x.shape[1:]).astype(self.dtype)

        block = nn.remat(TransformerBlock, prevent_cse=False) if self.remat != "none" else TransformerBlock
        stack = nn.scan(
            block, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=nn.broadcast, length=self.depth
        )
        x, _ = stack(self.heads, self.dtype, self.attention_implementation, name="blocks")(x, None)
        out = nn.LayerNorm(dtype=self.dtype, name="norm_out")(x[:, -1])
        return nn.Dense(z.shape[-1], dtype=self.dtype, name="out")(out).astype(jnp.float32)
