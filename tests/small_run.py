"""The smallest training, for tests; `train.py` takes this file as a configuration.

As a program, one of several processes of it, with a fault in the sixth batch:

python small_run.py WORKDIR FAULT COORDINATOR PROCESSES PROCESS
"""

import functools
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from ml_collections import ConfigDict

from configs import tiny
from mdiff_jax.config import STAGES
from mdiff_jax.data import loader
from mdiff_jax.runtime import processes
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir
from mdiff_jax.training import train_loop


def get_config() -> ConfigDict:
    config = tiny.get_config()
    config.log_every, config.checkpoint_every, config.compilation_cache = 1, 2, False
    config.keep_early = 0.2
    config.data.image_size = (16, 16)
    config.data.walkers.update(num_users=2, recordings_per_user=6, windows_per_recording=2)
    config.encoder.update(embedding_dim=4, channels=(8,), patch=(2, 2), epochs=2, batch_size=4)
    config.prior.update(width=8, depth=1, heads=2, epochs=2, batch_size=4, sample_timesteps=2)
    config.decoder.update(channels=(8,), attention=(False,), patch=(2, 2), cond_width=8, head_width=8, epochs=2)
    config.decoder.update(batch_size=4, sample_timesteps=2)
    config.sample.update(num_samples_per_user=2, batch_size=3)
    return config


def losses(root: Path, stages: tuple[str, ...] = STAGES) -> dict[str, list]:
    """Stage → (step, loss) of each line of metrics.jsonl that has one."""
    lines = {s: Workdir(root).metrics(s).read_text().splitlines() for s in stages}
    return {s: [(m["step"], m["loss"]) for m in map(json.loads, text) if "loss" in m] for s, text in lines.items()}


def interrupt(end: Callable[[], None], batches: Callable) -> Callable:
    """The loader `batches`, that calls `end` before the sixth training batch of a stage; two are fetched ahead."""

    def interrupted(*args, start_step, balanced, **kwargs):
        for i, batch in enumerate(batches(*args, start_step=start_step, balanced=balanced, **kwargs)):
            if balanced and start_step == 0 and i == 5:  # training, not validation
                end()
            yield batch

    return interrupted


def refuse() -> None:
    raise InputError("this cannot be: give something else")


def crash() -> None:
    raise MemoryError("the machine is gone")


FAULTS = {"none": lambda: None, "dry": lambda: None, "input": refuse, "crash": crash}
FAULTS |= {
    name: functools.partial(os.kill, os.getpid(), getattr(signal, f"SIG{name}")) for name in ("TERM", "INT", "KILL")
}


def main() -> None:
    root, fault, address, count, process = sys.argv[1:]
    config = get_config()
    config.stage, config.dry_run = "encoder", fault == "dry"
    loader.train_batches = interrupt(FAULTS[fault], loader.train_batches)
    with processes.connect(address, int(count), int(process)):
        train_loop.train(config, root)


if __name__ == "__main__":
    main()
