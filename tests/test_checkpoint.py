"""Laws of checkpoints: what comes back is what went in; anything else is refused by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdiff_jax import optim, state
from mdiff_jax.checkpoint import Checkpoints
from mdiff_jax.errors import InputError


def make(width=3, decay=0.9):
    optimizer = optim.adamw(lambda _: 0.1, weight_decay=0.0, clip_norm=1.0, b2=0.99)
    params = {"layer": {"kernel": jnp.arange(2.0 * width).reshape(2, width), "bias": jnp.ones(width)}}
    return state.create(params, optimizer, (decay,), {"mean": jnp.full(2, 5.0)}, dynamic_scale=True)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    with Checkpoints(folder, keep=2) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, make().replace(step=jnp.asarray(step)), {"users": ["ID_1", "步行者"]})
    return folder


def test_round_trip_bit_for_bit(saved):
    with Checkpoints(saved) as checkpoints:
        back = checkpoints.restore(checkpoints.latest(), jax.eval_shape(make))
    expected = make().replace(step=jnp.asarray(3))
    assert jax.tree.structure(back) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, back, expected)
    assert {type(x) for x in jax.tree.leaves(back)} == {np.ndarray}


def test_only_the_latest_are_kept_and_meta_survives(saved):
    assert sorted(int(p.name) for p in saved.iterdir() if p.name.isdigit()) == [2, 3]
    with Checkpoints(saved) as checkpoints:
        assert checkpoints.meta(3) == {"users": ["ID_1", "步行者"]}


def test_the_averages_alone(saved):
    shapes = {"ema": {"0.9": jax.eval_shape(make).params}}
    with Checkpoints(saved) as checkpoints:
        part = checkpoints.restore_part(3, shapes)
    jax.tree.map(np.testing.assert_array_equal, part["ema"]["0.9"], make().params)


@pytest.mark.parametrize(
    ("like", "leaf"),
    [
        (lambda: make(width=4), r"bias.*float32\[3\].*float32\[4\]"),
        (lambda: make(decay=0.8), r"no leaf 'ema.0.8"),
        (lambda: make().replace(constants={}), "unknown leaf 'constants.mean'"),
        (lambda: make().replace(step=jnp.zeros((), jnp.float32)), r"'step' is int32\[\]"),
    ],
)
def test_a_mismatch_names_the_leaf(saved, like, leaf):
    with Checkpoints(saved) as checkpoints, pytest.raises(InputError, match=leaf):
        checkpoints.restore(3, jax.eval_shape(like))


def test_an_unfinished_save_is_not_taken(saved):
    leftover = saved / "4.orbax-checkpoint-tmp"
    leftover.mkdir()
    with Checkpoints(saved) as checkpoints:
        assert checkpoints.latest() == 3
