"""Laws of the decoder's network: conditions that are heard, precision that is kept, no symmetry that physics lacks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_parameters import draw_parameters

from mdiff_jax.models import layers
from mdiff_jax.models.unet import UNet
from mdiff_jax.runtime import ranges


def make_unet(**changes):
    options = dict(
        channels=(8, 16), blocks=1, attention=(False, True), head_width=8, patch=(2, 2), cond_width=16, num_users=3
    )
    return UNet(**(options | changes))


def unet_inputs(rows=16, frames=8):
    x = jax.random.normal(jax.random.key(0), (2, rows, frames, 1))
    z = jax.random.normal(jax.random.key(2), (2, 5))
    return x, jnp.array([0.0, 3.0]), z, jnp.array([0, 2]), jnp.array([True, True]), jnp.full(2, frames)


@pytest.fixture(scope="module")
def unet():
    network = make_unet()
    params = draw_parameters(network, *unet_inputs())
    return jax.jit(network.apply), params


@pytest.mark.parametrize("which", ["log_snr", "embedding", "user", "keep"])
def test_unet_hears_each_condition(unet, which):
    apply, params = unet
    x, log_snr, z, user, keep, frames = unet_inputs()
    before = apply(params, x, log_snr, z, user, keep, frames)
    changed = {
        "log_snr": (log_snr + 1.0, z, user, keep),
        "embedding": (log_snr, z + 1.0, user, keep),
        "user": (log_snr, z, (user + 1) % 3, keep),
        "keep": (log_snr, z, user, ~keep),
    }[which]
    assert jnp.abs(apply(params, x, *changed, frames) - before).max() > 1e-3
    assert before.shape == x.shape


def test_fine_layers_start_at_nothing_and_see_single_cells():
    """They are no part of a fresh estimate; trained, one cell changes its own estimate by other than a linear law."""
    inputs, network = unet_inputs(), make_unet(fine_channels=4)
    params = network.init(jax.random.key(0), *inputs)
    assert "fine" in params["params"] and not jnp.any(network.apply(params, *inputs))
    layers_alone = layers.FineLayers(4, jnp.float32)
    x, cond = inputs[0], jnp.ones((2, 3))
    own = draw_parameters(layers_alone, x, x, cond)
    pushed = [layers_alone.apply(own, x, x.at[0, 5, 3].add(push), cond)[0, 5, 3, 0] for push in (-1.0, 0.0, 1.0)]
    assert abs(pushed[2] - 2 * pushed[1] + pushed[0]) > 1e-4


def test_occupancy_is_a_second_channel():
    x, *condition = unet_inputs()
    for fine_channels in (0, 4):
        network = make_unet(occupancy=True, fine_channels=fine_channels)
        output = network.apply(draw_parameters(network, x, *condition), x, *condition)
        assert output.shape == (*x.shape[:-1], 2) and jnp.any(output[..., 0] != output[..., 1])


def test_null_condition_forgets_embedding_and_user(unet):
    apply, params = unet
    x, log_snr, z, user, keep, frames = unet_inputs()
    np.testing.assert_array_equal(
        apply(params, x, log_snr, z, user, ~keep, frames),
        apply(params, x, log_snr, z * 2 + 1, (user + 1) % 3, ~keep, frames),
    )


@pytest.mark.parametrize("num_users", [3, 0, None])
def test_unet_hears_who_a_user_is_and_the_null_condition_is_nobody(num_users):
    """Where it is conditioned on the user besides the embedding."""
    network, (x, log_snr, z, user, _, frames) = make_unet(num_users=num_users), unet_inputs()
    one, two = jax.random.normal(jax.random.key(1), (2, 2, 7))
    keep = jnp.array([True, False])
    params = draw_parameters(network, x, log_snr, z, user, keep, frames, one)
    apply = jax.jit(network.apply)
    before, after = (apply(params, x, log_snr, z, user, keep, frames, person) for person in (one, two))
    changed = np.abs(after - before).max(axis=(1, 2, 3))
    assert (changed[0] > 1e-3) == (num_users is not None) and changed[1] == 0


def test_unet_sees_nothing_behind_the_frames_of_a_window_but_how_many_there_are():
    network, (x, *condition, _) = make_unet(native_frames=True), unet_inputs()
    params = draw_parameters(network, x, *condition, jnp.full(2, 8))
    apply, frames = jax.jit(network.apply), jnp.array([5, 7])
    before = apply(params, x, *condition, frames)
    behind = jnp.arange(8) >= frames[:, None]
    changed = jnp.where(behind[:, None, :, None], 3.0, x)
    np.testing.assert_array_equal(apply(params, changed, *condition, frames), before)
    own = ~behind[:, None, :, None]
    assert jnp.abs(own * (apply(params, x, *condition, frames - 1) - before)).max() > 1e-3


def test_unet_starts_at_zero():
    network, inputs = make_unet(), unet_inputs()
    start = jax.jit(lambda key: network.init_with_output(key, *inputs)[0])(jax.random.key(0))
    np.testing.assert_array_equal(start, jnp.zeros_like(inputs[0]))


def test_unet_knows_where_zero_doppler_is(unet):
    """A pattern moved along the Doppler axis is not answered by the same answer moved."""
    apply, params = unet
    x, *condition = unet_inputs(rows=32)
    moved = apply(params, jnp.roll(x, 8, axis=1), *condition)
    inside = (moved - jnp.roll(apply(params, x, *condition), 8, axis=1))[:, 12:20]
    assert jnp.abs(inside).max() > 1e-3


def test_remat_changes_nothing_but_what_is_kept_for_the_backward_pass():
    inputs = unet_inputs()
    networks = {remat: make_unet(remat=remat) for remat in ranges.REMAT}
    params = draw_parameters(networks["none"], *inputs)
    losses = {remat: lambda p, n=n: (n.apply(p, *inputs) ** 2).mean() for remat, n in networks.items()}
    plain, full = (jax.jit(jax.grad(losses[r]))(params) for r in ("none", "full"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6), plain, full)
    kept = {}
    for remat, loss in losses.items():
        residuals = jax.eval_shape(lambda p, f=loss: jax.vjp(f, p)[1], params)
        kept[remat] = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(residuals))
    assert kept["full"] < kept["blocks"] < 0.8 * kept["none"], kept


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_keeps_parameters_and_output_in_float32(dtype):
    inputs = unet_inputs()
    low, full = make_unet(dtype=dtype), make_unet()
    params = draw_parameters(low, *inputs)
    assert {p.dtype for p in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    got, expected = (jax.jit(n.apply)(params, *inputs) for n in (low, full))
    assert got.dtype == jnp.float32
    assert jnp.abs(got - expected).max() < 0.1 * jnp.abs(expected).max()
