"""Runs the decoder's training step on walkers for long: does memory grow, does low precision reach the same loss?

python benchmarks/endurance.py [--steps=2000] [--precisions=float32,bfloat16,float16,overflow]

'overflow' is float16 with an initial loss scale so large that the first gradients are infinite, and an infinite window
every hundredth step: such updates are skipped, and training continues.
"""

import argparse
import functools
import resource
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import jax.numpy as jnp
import numpy as np

from configs import tiny
from mdiff_jax.config import condition_size
from mdiff_jax.data import loader
from mdiff_jax.runtime import parallel, prng
from mdiff_jax.runtime.workdir import Workdir
from mdiff_jax.training import stages, training_data

LAST = 200  # steps that the loss is averaged over


def resident_mib() -> float:
    """Returns the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def train(precision: str, steps: int, data: training_data.PreparedData) -> None:
    config = tiny.get_config()
    config.precision = "float16" if precision == "overflow" else precision
    users, table = len(data.dataset.users), np.zeros((len(data.dataset), condition_size(config)), np.float32)
    now = jax.jit(functools.partial(stages.init_train_state, config, "decoder", users, steps, {}))()
    if precision == "overflow":
        now = now.replace(loss_scale=jnp.float32(2.0**24))
    now = parallel.replicate(now)
    step = stages.compile_train_step(config, "decoder", users, steps, config.decoder.timesteps)
    batches = loader.train_batches(
        data.dataset,
        data.rows["train"],
        batch_size=config.decoder.batch_size,
        seed=0,
        start_step=0,
        balanced=True,
        fields=training_data.FIELDS["decoder"],
        tables={"embedding": table, "frames": data.dataset.frames},
    )

    def spoiled():
        for i, batch in enumerate(batches):
            if precision == "overflow" and i % 100 == 50:
                batch = batch | {"spectrogram": np.full_like(batch["spectrogram"], np.inf)}
            yield batch

    key, losses, early = prng.purpose_key(0, "train", "decoder"), [], 0.0
    for i, batch in zip(range(steps), parallel.prefetch(spoiled()), strict=False):
        now, metrics = step(now, batch, key)
        if i >= steps - LAST:
            losses.append(metrics["loss"])
        if i == min(200, steps // 2):
            jax.block_until_ready(now)
            early = resident_mib()
    values = np.array(jax.device_get(losses))
    finite = values[np.isfinite(values)]
    print(
        f"{precision}: loss of the last {LAST} steps {finite.mean():.4f} ± {finite.std() / len(finite) ** 0.5:.4f}, "
        f"{int(now.skipped)} of {steps} updates skipped, loss scale {float(now.loss_scale):.0f}; "
        f"memory {early:.0f} MiB after the first steps, {resident_mib():.0f} at the end",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--precisions", default="float32,bfloat16,float16,overflow")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = training_data.prepare_data(tiny.get_config(), Workdir(folder))
        for precision in given.precisions.split(","):
            train(precision, given.steps, data)


if __name__ == "__main__":
    main()
