"""The floor moved down and back is the floor; noise on it is gone; the rest does not change."""

import jax
import jax.numpy as jnp
import numpy as np

from mdiff_jax.diffusion import noise_floor


def test_down_and_back_leaves_all_but_the_floor():
    x = jnp.linspace(-1, 1, 401)
    back = noise_floor.restore_floor(noise_floor.lower_floor(x, 0.25))
    np.testing.assert_array_equal(back[x > noise_floor.EMPTY_LEVEL], x[x > noise_floor.EMPTY_LEVEL])
    np.testing.assert_array_equal(back[x <= noise_floor.EMPTY_LEVEL], -1.0)
    np.testing.assert_array_equal(noise_floor.lower_floor(x, 0.0), x)


def test_noise_on_the_lowered_floor_is_clipped_away():
    noise = 0.07 * jax.random.normal(jax.random.key(0), (10_000,))
    assert (noise_floor.restore_floor(-1.0 + noise) > -1).mean() > 0.4
    assert (noise_floor.restore_floor(noise_floor.lower_floor(-jnp.ones(10_000), 0.25) + noise) > -1).mean() < 0.001
