"""Parameters away from their initialisation. Used by the tests of the networks."""

import jax
import jax.numpy as jnp
import numpy as np


def draw_parameters(network, *inputs):
    """Parameters away from their zero initialisation, so that every path carries signal; nothing is compiled."""
    rng, shapes = np.random.default_rng(1), jax.eval_shape(network.init, jax.random.key(0), *inputs)

    def draw(path, x):
        rest = x.shape[:-1] if path[-1].key == "kernel" else ()
        return jnp.asarray((path[-1].key == "scale") + rng.normal(0, 0.8 / np.prod(rest) ** 0.5, x.shape), x.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)
