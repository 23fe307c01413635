"""Laws of the pieces that the networks share."""

import jax
import jax.numpy as jnp
import numpy as np

from mdiff_jax.models import layers


def test_patches_round_trip():
    x = jnp.arange(2 * 8 * 12 * 3.0).reshape(2, 8, 12, 3)
    y = layers.space_to_depth(x, (2, 4))
    assert y.shape == (2, 4, 3, 24)
    np.testing.assert_array_equal(layers.depth_to_space(y, (2, 4)), x)
    np.testing.assert_array_equal(y[0, 1, 2].reshape(2, 4, 3), x[0, 2:4, 8:12])


def test_group_norm_normalises_each_group():
    x = 5.0 + 3.0 * jax.random.normal(jax.random.key(0), (2, 6, 5, 32))
    norm = layers.GroupNorm(jnp.float32)
    y = norm.apply(norm.init(jax.random.key(0), x), x).reshape(2, 30, layers.num_groups(32), -1)
    np.testing.assert_allclose(y.mean((1, 3)), 0.0, atol=1e-5)
    np.testing.assert_allclose(y.var((1, 3)), 1.0, atol=1e-3)


def test_attention_is_a_weighted_mean_of_values():
    q = jax.random.normal(jax.random.key(0), (1, 4, 2, 8))
    same = jnp.broadcast_to(jnp.arange(8.0), (1, 4, 2, 8))
    np.testing.assert_allclose(layers.dot_product_attention(q, q, same, "einsum"), same, rtol=1e-5)
