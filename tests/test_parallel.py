"""The number of devices changes nothing: losses, gradients and samples of one device and of four."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

PROGRAM = """
import functools, json, jax, numpy as np, optax
import jax.numpy as jnp
from mdiff_jax import augment, generate, keys, objectives, optim, parallel, schedules, state

jax.config.update("jax_disable_most_optimizations", True)
optimizer = optim.adamw(lambda _: 0.01, weight_decay=0.0, clip_norm=1.0, b2=0.99)
rng = np.random.default_rng(0)
data = {"spectrogram": rng.normal(size=(3, 8, 4, 4, 1)).astype(np.float32).clip(-1, 1), "embedding": rng.normal(size=(3, 8, 5)).astype(np.float32),
        "user": rng.integers(0, 3, (3, 8)).astype(np.int32), "example": np.arange(24, dtype=np.int32).reshape(3, 8)}

def embed(p, x):
    z = x.reshape(len(x), -1) @ p["w"]
    return z / jnp.linalg.norm(z, axis=-1, keepdims=True)

losses = {
    "encoder": (functools.partial(objectives.encoder_loss, embed=embed, classify=lambda p, z: z @ p["c"],
        strength=augment.Augmentation(0.5, 0.1, 0.1, 0.2), temperature=0.2, contrastive_weight=1.0, classification_weight=1.0),
        {"w": rng.normal(size=(16, 5)).astype(np.float32), "c": rng.normal(size=(5, 3)).astype(np.float32)}),
    "prior": (functools.partial(objectives.prior_loss, network=lambda p, z, s, user, keep, last: (z + last) @ p["w"] * jnp.where(keep, 1.0, 0.5)[:, None],
        schedule=schedules.cosine(50), batch_size=8, cond_drop_prob=0.3, self_condition=True), {"w": rng.normal(size=(5, 5)).astype(np.float32)}),
}
out = {"devices": jax.device_count()}
for name, (loss, params) in losses.items():
    step = parallel.compile_step(functools.partial(state.train_step, loss=loss, optimizer=optimizer, dynamic_scale=False))
    now = parallel.replicate(state.create(jax.tree.map(jnp.asarray, params), optimizer, (0.9,), {}, False))
    for i in range(3):
        now, metrics = step(now, {k: v[i] for k, v in data.items()}, jax.random.key(7))
    out[name] = [float(metrics["loss"]), float(metrics["grad_norm"]), np.asarray(now.params["w"]).tolist()]
draw = lambda params, b: {"spectrogram": jax.vmap(lambda k: jax.random.normal(k, (3,)))(b["decoder_key"]) * params + b["user"][:, None]}
requests = [generate.Request(f"u{i % 2}", i % 2, i // 2) for i in range(5)]
out["samples"] = np.concatenate([x["spectrogram"] for _, x in generate.generate(draw, jnp.float32(2.0), requests, seed=1, batch_size=4)]).tolist()
print(json.dumps(out))
"""


def run(devices: int) -> dict:
    env = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def one_and_four():
    one, four = run(1), run(4)
    assert (one["devices"], four["devices"]) == (1, 4)
    return one, four


@pytest.mark.parametrize("name", ["encoder", "prior"])
def test_training_does_not_depend_on_the_number_of_devices(one_and_four, name):
    one, four = one_and_four
    for a, b in zip(one[name], four[name], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_samples_do_not_depend_on_the_number_of_devices(one_and_four):
    one, four = one_and_four
    np.testing.assert_allclose(one["samples"], four["samples"], rtol=1e-6)
