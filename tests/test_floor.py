"""The floor moved down and back is the floor; noise on it is gone; the rest does not change."""

import jax
import jax.numpy as jnp
import numpy as np

from mdiff_jax import floor


def test_down_and_back_leaves_all_but_the_floor():
    x = jnp.linspace(-1, 1, 401)
    back = floor.restore(floor.lower(x, 0.25))
    np.testing.assert_array_equal(back[x > floor.EMPTY], x[x > floor.EMPTY])
    np.testing.assert_array_equal(back[x <= floor.EMPTY], -1.0)
    np.testing.assert_array_equal(floor.lower(x, 0.0), x)


def test_noise_on_the_lowered_floor_is_clipped_away():
    noise = 0.07 * jax.random.normal(jax.random.key(0), (10_000,))
    assert (floor.restore(-1.0 + noise) > -1).mean() > 0.4
    assert (floor.restore(floor.lower(-jnp.ones(10_000), 0.25) + noise) > -1).mean() < 0.001
