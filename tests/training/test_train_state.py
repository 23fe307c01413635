"""Laws of one training step: it learns, it skips what is not finite, its averages follow, its loss scale adapts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mdiff_jax.training import optimizers, train_state


def quadratic(params, batch, key, collectives):
    """Least at w = mean of the batch."""
    loss = jnp.mean((params["w"] - batch["x"]) ** 2)
    return loss, {"loss": loss}


def make(dynamic_scale=False, rate=0.1):
    optimizer = optimizers.make_adamw(lambda _: rate, weight_decay=0.0, clip_norm=1.0, b2=0.99)
    start = train_state.create_train_state(
        {"w": jnp.zeros(3)}, optimizer, (0.9, 0.5), {"c": jnp.ones(2)}, dynamic_scale
    )
    step = functools.partial(train_state.train_step, loss=quadratic, optimizer=optimizer, dynamic_scale=dynamic_scale)
    return start, jax.jit(step)


def run(now, step, batches):
    for x in batches:
        now, metrics = step(now, {"x": jnp.full((2, 3), x)}, jax.random.key(0))
    return now, metrics


def test_it_learns_and_leaves_constants_alone():
    now, metrics = run(*make(), [1.0] * 100)
    np.testing.assert_allclose(now.params["w"], 1.0, atol=0.05)
    assert now.step == 100 and metrics["skipped"] == 0
    np.testing.assert_array_equal(now.constants["c"], 1.0)


def test_average_is_warmed_up_then_follows_by_its_decay():
    now, _ = run(*make(), [1.0])
    np.testing.assert_allclose(now.ema["0.9"]["w"], 0.9 * now.params["w"], rtol=1e-6)  # (1 + 0) / (10 + 0) = 0.1
    start, step = make()
    start = start.replace(step=jnp.asarray(1000))
    now, _ = run(start, step, [1.0])
    np.testing.assert_allclose(now.ema["0.5"]["w"], 0.5 * now.params["w"], rtol=1e-6)
    np.testing.assert_allclose(now.ema["0.9"]["w"], 0.1 * now.params["w"], rtol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_non_finite_gradient_changes_nothing_but_the_counts(bad):
    before, step = make()
    before, _ = run(before, step, [1.0] * 3)
    after, metrics = run(before, step, [bad] * 2)
    for name in ("params", "ema", "opt_state"):
        jax.tree.map(np.testing.assert_array_equal, getattr(before, name), getattr(after, name))
    assert after.step == 5 and metrics["skipped"] == 2 and metrics["skipped_in_a_row"] == 2
    recovered, metrics = run(after, step, [1.0])
    assert metrics["skipped"] == 2 and metrics["skipped_in_a_row"] == 0
    assert jnp.abs(recovered.params["w"] - before.params["w"]).max() > 0


def test_loss_scale_halves_on_overflow_and_doubles_after_many_good_steps(monkeypatch):
    monkeypatch.setattr(train_state, "SCALE_GROWTH_STEPS", 3)
    start, step = make(dynamic_scale=True)
    now, _ = run(start, step, [float("inf")] * 2)
    assert now.loss_scale == start.loss_scale / 4
    now, _ = run(now, step, [1.0] * 3)
    assert now.loss_scale == start.loss_scale / 2


def test_loss_scale_does_not_change_the_update():
    (plain, plain_step), (scaled, scaled_step) = make(), make(dynamic_scale=True)
    a, _ = run(plain, plain_step, [1.0, 2.0])
    b, _ = run(scaled, scaled_step, [1.0, 2.0])
    np.testing.assert_allclose(a.params["w"], b.params["w"], rtol=1e-6)


def test_learning_rate_warms_up_and_ends():
    cosine = optimizers.make_learning_rate(1.0, "cosine", 10, 100)
    assert cosine(0) == 0 and cosine(10) == 1 and cosine(100) == pytest.approx(0, abs=1e-6)
    constant = optimizers.make_learning_rate(1.0, "constant", 10, 100)
    assert constant(10) == constant(100) == 1
    with pytest.raises(ValueError, match="cosine"):
        optimizers.make_learning_rate(1.0, "cosin", 10, 100)


def test_the_learning_rate_is_compiled_once_not_for_each_array():
    rate = optimizers.make_learning_rate(1.0, "cosine", 10, 100)
    optimizer = optimizers.make_adamw(rate, weight_decay=0.0, clip_norm=1.0, b2=0.99)
    params = {f"layer_{i}": jnp.ones((3, i + 1)) for i in range(6)}
    program = jax.jit(optimizer.update).lower(params, optimizer.init(params), params).compile().as_text()
    assert 1 <= program.count(" cosine(") <= 3


@pytest.mark.parametrize("size", [0.1, 10.0])
def test_gradients_are_clipped_as_a_whole(size):
    grads = {"a": size * jnp.arange(3.0), "b": -size * jnp.ones((2, 2))}
    whole = np.concatenate([np.ravel(g) for g in grads.values()])
    norm = np.linalg.norm(whole)
    np.testing.assert_allclose(optimizers.global_norm(grads), norm, rtol=1e-6)
    clipped = optimizers.clip(grads, 1.0)
    np.testing.assert_allclose(
        np.concatenate([np.ravel(g) for g in clipped.values()]), whole / max(norm, 1.0), rtol=1e-6
    )


def test_only_kernels_decay():
    optimizer = optimizers.make_adamw(lambda _: 0.1, weight_decay=0.5, clip_norm=1.0, b2=0.99)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
    after = optax.apply_updates(params, updates)
    assert (after["kernel"] < 1).all() and (after["bias"] == 1).all()


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_of_a_batch_give_the_gradient_of_the_whole(parts):
    optimizer = optimizers.make_adamw(lambda _: 0.1, weight_decay=0.0, clip_norm=1.0, b2=0.99)
    start = train_state.create_train_state({"w": jnp.zeros(3)}, optimizer, (0.9,), {}, False)
    batch = {"x": jnp.asarray(np.random.default_rng(0).normal(size=(8, 3)), jnp.float32)}
    common = dict(loss=quadratic, optimizer=optimizer, dynamic_scale=False)
    whole, metrics = train_state.train_step(start, batch, jax.random.key(0), **common)
    cut, of_parts = train_state.train_step(start, batch, jax.random.key(0), **common, accumulate=parts)
    np.testing.assert_allclose(cut.params["w"], whole.params["w"], rtol=1e-6)
    for name in ("loss", "grad_norm"):
        np.testing.assert_allclose(of_parts[name], metrics[name], rtol=1e-6)
