"""Laws of updates of weights: what they add, and to what."""

import logging

import jax
import numpy as np
import pytest

from mdiff_jax.inference import weight_updates


@pytest.fixture(scope="module")
def params(trained):
    return trained.params["decoder"]


def change(update: dict) -> dict:
    """The update with random numbers in every part."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.standard_normal(x.shape).astype(np.float32), update)


def test_an_update_changes_nothing_at_first_and_then_all_but_the_table_of_users(params):
    update = weight_updates.init_update(params, 2, jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, weight_updates.add_update(params, update), params)
    added = weight_updates.name_leaves(weight_updates.add_update(params, change(update)))
    before = weight_updates.name_leaves(params)
    same = {name for name, x in before.items() if np.array_equal(x, added[name])}
    assert same == {name for name in before if name.startswith("user/")} and same


def test_an_update_begins_with_numbers_of_the_key_which_one_program_draws(params, caplog):
    key = jax.random.key(3)
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        update = weight_updates.init_update(params, 3, key)
    assert sum("Finished XLA compilation" in record.message for record in caplog.records) <= 3
    for i, (_, part) in enumerate(sorted(update.items())):
        if "down" in part:
            drawn = jax.random.normal(jax.random.fold_in(key, i), part["down"].shape)
            np.testing.assert_allclose(part["down"], drawn / np.sqrt(len(part["down"])), rtol=1e-6)


def test_what_is_added_to_a_kernel_has_the_rank(params):
    update = change(weight_updates.init_update(params, 2, jax.random.key(0)))
    added = weight_updates.name_leaves(weight_updates.add_update(params, update))
    for name, x in weight_updates.name_leaves(params).items():
        if x.ndim > 1 and not name.startswith("user/"):
            difference = (added[name] - x).reshape(-1, x.shape[-1])
            assert np.linalg.matrix_rank(difference, tol=1e-3) == min(2, *difference.shape)


def test_updates_of_other_networks_are_refused(trained, params):
    update = weight_updates.init_update(params, 2, jax.random.key(0))
    weight_updates.check_update(update, params)
    name = next(name for name, part in update.items() if "up" in part)
    part = update[name]
    wrong = [part | {"up": part["up"].T}, part | {"down": part["down"][:-1]}, {"shift": part["up"]}, {}]
    for other in wrong:
        if jax.tree.map(np.shape, other) != jax.tree.map(np.shape, part):
            with pytest.raises(ValueError, match="has the shapes"):
                weight_updates.check_update(update | {name: other}, params)
    with pytest.raises(ValueError, match="is missing, or not known"):
        weight_updates.check_update(update, trained.params["prior"])
