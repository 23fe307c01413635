"""Laws of the encoder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_parameters import draw_parameters

from mdiff_jax.models.encoder import Encoder


def test_embedding_has_length_one_and_hardly_minds_a_shift_in_time():
    network = Encoder(8, (8, 16), 1, (2, 2))
    x = jax.random.normal(jax.random.key(0), (3, 16, 16, 1))
    frames = jnp.full(3, 16)
    params = draw_parameters(network, x, frames)
    apply = jax.jit(network.apply)
    z = apply(params, x, frames)
    np.testing.assert_allclose(jnp.linalg.norm(z, axis=-1), 1.0, rtol=1e-5)
    moved = apply(params, jnp.roll(x, 4, axis=2), frames)
    other = apply(params, jnp.roll(x, 4, axis=1), frames)
    assert (z * moved).sum(-1).min() > (z * other).sum(-1).max()


@pytest.mark.parametrize("frames", [4, 32])  # 4: one column at the last level
def test_gradients_are_finite_where_nothing_changes_in_time(frames):
    network = Encoder(8, (8, 16), 1, (2, 2))
    x = jnp.full((2, 16, frames, 1), -1.0)
    own = jnp.full(2, frames)
    params = draw_parameters(network, x, own)
    direction = jnp.arange(8.0)
    gradient = jax.jit(jax.grad(lambda params, x: (network.apply(params, x, own) @ direction).sum(), (0, 1)))(params, x)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_what_lies_behind_the_frames_of_a_window_is_not_seen():
    network = Encoder(8, (8, 16), 1, (4, 2), native_frames=True)
    x, frames = jax.random.normal(jax.random.key(0), (2, 16, 16, 1)), jnp.array([9, 12])
    params = draw_parameters(network, x, frames)
    behind = (jnp.arange(16) >= frames[:, None])[:, None, :, None]
    z = jax.jit(network.apply)(params, x, frames)
    np.testing.assert_array_equal(
        network.apply(params, jnp.where(behind, 5.0, x), frames), network.apply(params, x, frames)
    )
    assert jnp.abs(network.apply(params, x, frames + 2) - z).max() > 1e-3
