"""Laws of the prior: conditions that are heard."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_parameters import draw_parameters

from mdiff_jax.models.layers import NO_ROW
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


@pytest.mark.parametrize("num_users", [3, 0])
def test_prior_hears_who_a_user_is_and_the_null_user_is_nobody(num_users):
    """A user's row is added to what references say, where there are rows; without one nothing depends on them."""
    network, z = PriorTransformer(num_users, 16, 2, 2, False), jax.random.normal(jax.random.key(0), (2, 5))
    one, two = jax.random.normal(jax.random.key(1), (2, 2, 7))
    user, keep = jnp.array([0, 2]), jnp.array([True, False])
    variables = draw_parameters(network, z, jnp.zeros(2), user, keep, None, one)
    table, apply = variables["params"]["user"]["embedding"], jax.jit(network.apply)
    assert table.shape == (num_users + 1, 16)
    own = variables["params"]["user"] | {"embedding": table.at[:-1].add(jnp.arange(16.0))}
    pushed = {"params": variables["params"] | {"user": own}}

    def output(variables, user, person):
        return np.asarray(apply(variables, z, jnp.zeros(2), user, keep, None, person))

    before = output(variables, user, one)
    changed = np.abs(output(variables, user, two) - before).max(axis=1)
    assert changed[0] > 1e-3 and changed[1] == 0
    rows = np.abs(output(pushed, user, one) - before).max(axis=1)
    assert (rows[0] > 1e-3) == (num_users > 0) and rows[1] == 0
    without = jnp.full(2, NO_ROW)
    np.testing.assert_array_equal(output(pushed, without, one), output(variables, without, one))
