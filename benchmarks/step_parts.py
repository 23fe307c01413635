"""What a training step of the decoder is made of: python benchmarks/step_parts.py [--config=…] [--batch=16]

Times parts of the step, each compiled by itself, in turn: the network's forward pass, the loss (with noise, timesteps
and condition), its gradient, and the whole step (with clipping, AdamW, averages and the check for finite numbers). The
seconds of the machine's cores are counted, which other work disturbs less than the time that passes.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import numpy as np
from tqdm import tqdm

from mdiff_jax import load_config
from mdiff_jax.config import condition_size, person_size, spectrogram_shape
from mdiff_jax.diffusion import gaussian
from mdiff_jax.inference import denoisers
from mdiff_jax.runtime import prng
from mdiff_jax.runtime.parallel import SINGLE_DEVICE
from mdiff_jax.training import losses, stages
from mdiff_jax.training.train_state import train_step

USERS, STEPS = 6, 1000


def make_parts(config: Any, batch_size: int, only: str | None = None) -> dict[str, Callable[[], Any]]:
    """Returns the parts by name, or one of them, ready to be called."""
    rng, index = np.random.default_rng(0), np.arange(batch_size, dtype=np.int32)
    shape = (batch_size, *spectrogram_shape(config))
    batch = {
        "spectrogram": rng.uniform(-1, 1, shape).astype(np.float32),
        "embedding": rng.normal(size=(batch_size, condition_size(config))).astype(np.float32),
        "frames": np.full(batch_size, shape[2]),
        "user": index % USERS,
        "example": index,
    }
    if config.people.references:
        batch["person"] = rng.normal(size=(batch_size, person_size(config))).astype(np.float32)
    batch, key = jax.device_put(batch), prng.purpose_key(0, "train")
    state = jax.jit(lambda: stages.init_train_state(config, "decoder", USERS, STEPS, {}))()
    loss = stages.make_parameter_loss(config, "decoder", USERS, config.decoder.timesteps)
    spec = denoisers.decoder_denoiser(config, USERS, config.decoder.timesteps)

    def noise(batch: Any) -> Any:
        return losses.add_noise(batch["spectrogram"], key, batch["example"], spec.schedule, batch_size)

    def forward(params: Any, batch: Any) -> Any:
        x, person = batch["spectrogram"], [batch["person"]] if "person" in batch else []
        log_snr = gaussian.log_snr(spec.schedule, batch["example"] * 60 + 1)
        keep = batch["example"] >= 0
        rest = log_snr, batch["embedding"], batch["user"], keep, batch["frames"]
        return spec.network({"params": params}, x, *rest, *person)

    def value(params: Any, batch: Any) -> Any:
        return loss(params, batch, key, SINGLE_DEVICE)[0]

    def step(state: Any, batch: Any) -> Any:
        optimizer = stages.make_optimizer(config, "decoder", STEPS)
        return train_step(state, batch, key, loss=loss, optimizer=optimizer, dynamic_scale=False)

    functions = {
        "noise alone": (noise, (batch,)),
        "forward pass": (forward, (state.params, batch)),
        "loss": (value, (state.params, batch)),
        "gradient of the loss": (jax.grad(value), (state.params, batch)),
        "whole step": (step, (state, batch)),
    }
    parts = {}
    chosen = {name: functions[name] for name in functions if only in (None, name)}
    for name, (function, arguments) in tqdm(chosen.items(), desc="compiling"):
        compiled = jax.jit(function).lower(*arguments).compile()
        parts[name] = lambda compiled=compiled, arguments=arguments: jax.block_until_ready(compiled(*arguments))
        parts[name]()
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/gait_cpu.py")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repetitions", type=int, default=9)
    given = parser.parse_args()
    parts = make_parts(load_config(given.config), given.batch)
    spent = {name: [] for name in parts}
    for _ in tqdm(range(given.repetitions), desc="timing"):
        for name, run in parts.items():
            wall, cores = time.perf_counter(), time.process_time()
            run()
            spent[name].append((time.perf_counter() - wall, time.process_time() - cores))
    print("\n| part | ms, median | ms of cores, median | of the forward pass |\n|---|---|---|---|")
    medians = {name: 1000 * np.median(times, axis=0) for name, times in spent.items()}
    for name, (wall, cores) in medians.items():
        print(f"| {name} | {wall:.0f} | {cores:.0f} | {cores / medians['forward pass'][1]:.2f} |")


if __name__ == "__main__":
    main()
