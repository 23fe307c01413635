"""Run by test_parallel.py in its own process, or in several: fifty training steps, five samples, what is told.

python on_devices.py [COORDINATOR PROCESSES PROCESS]
"""

import functools
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np

from mdiff_jax.diffusion import schedules
from mdiff_jax.inference import pipeline
from mdiff_jax.inference.denoisers import DenoiserSpec
from mdiff_jax.runtime import parallel, processes
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.training import losses, optimizers, train_state
from mdiff_jax.training.augmentation import Augmentation

RNG = np.random.default_rng(0)
STEPS = 50
BATCHES = {
    "spectrogram": RNG.normal(size=(STEPS, 8, 4, 4, 1)).astype(np.float32).clip(-1, 1),
    "frames": np.full((STEPS, 8), 4, np.int32),
    "embedding": RNG.normal(size=(STEPS, 8, 5)).astype(np.float32),
    "user": RNG.integers(0, 3, (STEPS, 8)).astype(np.int32),
    "example": np.arange(STEPS * 8, dtype=np.int32).reshape(STEPS, 8),
}


def embed(params, x, frames):
    z = x.reshape(len(x), -1) @ params["w"]
    return z / jnp.linalg.norm(z, axis=-1, keepdims=True)


def denoise(params, z, log_snr, user, keep, last):
    return (z + last) @ params["w"] * jnp.where(keep, 1.0, 0.5)[:, None]


def train(loss, shapes) -> list:
    optimizer = optimizers.make_adamw(lambda _: 0.01, weight_decay=0.0, clip_norm=1.0, b2=0.99)
    params = {name: jnp.asarray(RNG.normal(size=shape).astype(np.float32)) for name, shape in shapes.items()}
    step = functools.partial(train_state.train_step, loss=loss, optimizer=optimizer, dynamic_scale=False)
    step = parallel.compile_step(step)
    now = parallel.replicate(train_state.create_train_state(params, optimizer, (0.9,), {}, False))
    mine = slice(jax.process_index(), None, jax.process_count())
    for batch in parallel.prefetch({name: values[i][mine] for name, values in BATCHES.items()} for i in range(STEPS)):
        now, metrics = step(now, batch, jax.random.key(7))
    return [float(metrics["loss"]), float(metrics["grad_norm"]), np.asarray(now.params["w"]).tolist()]


def draw(params, batch):
    noise = jax.vmap(lambda key: jax.random.normal(key, (3,)))(batch["decoder_key"])
    return {"spectrogram": noise * params + batch["user"][:, None]}


def refused() -> str:
    def call() -> None:
        raise InputError(f"said by {jax.process_index()}")

    try:
        return parallel.broadcast_from_first(call)
    except InputError as error:
        return str(error)


def main() -> None:
    encoder = functools.partial(
        losses.encoder_loss,
        embed=embed,
        classify=lambda params, z: z @ params["c"],
        settings=losses.EncoderLossSettings(Augmentation(0.5, 0.1, 0.1, 0.2), 0.2, 1.0, 1.0),
    )
    prior = functools.partial(
        losses.prior_loss,
        denoiser=DenoiserSpec(denoise, schedules.cosine(50), "x0", (5,), self_condition=True),
        settings=losses.DenoisingLossSettings(batch_size=8, cond_drop_prob=0.3),
    )
    requests = [pipeline.SampleRequest(f"u{i % 2}", i % 2, i // 2) for i in range(5)]
    chunks = [
        x["spectrogram"] for _, x in pipeline.run_requests(draw, jnp.float32(2.0), requests, seed=1, batch_size=4)
    ]
    result = {
        "devices": jax.device_count(),
        "encoder": train(encoder, {"w": (16, 5), "c": (5, 3)}),
        "prior": train(prior, {"w": (5, 5)}),
        "samples": np.concatenate(chunks).tolist(),
        "told": parallel.broadcast_from_first(lambda: {"by": jax.process_index()}),
        "refused": refused(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    given = (sys.argv[1], int(sys.argv[2]), int(sys.argv[3])) if len(sys.argv) > 1 else (None, None, None)
    with processes.connect(*given):
        main()
