"""Laws of the encoder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_parameters import draw_parameters

from mdiff_jax.models.encoder import Encoder


def test_embedding_has_length_one_and_hardly_minds_a_shift_in_time():
    network = Encoder(8, (8, 16), 1, 2)
    x = jax.random.normal(jax.random.key(0), (3, 16, 16, 1))
    params = draw_parameters(network, x)
    apply = jax.jit(network.apply)
    z = apply(params, x)
    np.testing.assert_allclose(jnp.linalg.norm(z, axis=-1), 1.0, rtol=1e-5)
    moved = apply(params, jnp.roll(x, 4, axis=2))
    other = apply(params, jnp.roll(x, 4, axis=1))
    assert (z * moved).sum(-1).min() > (z * other).sum(-1).max()


@pytest.mark.parametrize("frames", [4, 32])  # 4: one column at the last level
def test_gradients_are_finite_where_nothing_changes_in_time(frames):
    network = Encoder(8, (8, 16), 1, 2)
    x = jnp.full((2, 16, frames, 1), -1.0)
    params = draw_parameters(network, x)
    direction = jnp.arange(8.0)
    gradient = jax.jit(jax.grad(lambda params, x: (network.apply(params, x) @ direction).sum(), (0, 1)))(params, x)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
