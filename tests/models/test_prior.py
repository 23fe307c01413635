"""Laws of the prior: conditions that are heard."""

import jax
import jax.numpy as jnp
import pytest
from random_parameters import draw_parameters

from mdiff_jax.models.prior import PriorTransformer


@pytest.mark.parametrize("self_condition", [False, True])
def test_prior_hears_each_condition(self_condition):
    network = PriorTransformer(3, 16, 2, 2, self_condition)
    z = jax.random.normal(jax.random.key(0), (2, 5))
    inputs = (z, jnp.array([0.0, 3.0]), jnp.array([0, 2]), jnp.array([True, True]), jnp.zeros_like(z))
    params = draw_parameters(network, *inputs)
    apply = jax.jit(network.apply)
    before = apply(params, *inputs)
    assert before.shape == z.shape
    for i, other in enumerate((z + 1, inputs[1] + 1, (inputs[2] + 1) % 3, ~inputs[3], z)):
        changed = apply(params, *inputs[:i], other, *inputs[i + 1 :])
        heard = bool(jnp.abs(changed - before).max() > 1e-4)
        assert heard == (i < 4 or self_condition)
