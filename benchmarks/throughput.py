"""Measures training step and sampler of a configuration: compile time, run time, images per second, memory.

python benchmarks/throughput.py --config=configs/gait.py --precisions=float32,bfloat16,float16 --batch_sizes=16,32

Uses random windows; no recordings are needed. Prints one line of JSON per case, then a table.
"""

import functools
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import numpy as np
from ml_collections import ConfigDict

from mdiff_jax.commands.main import start
from mdiff_jax.config import condition_size, init_parameters, spectrogram_shape
from mdiff_jax.inference import denoisers, pipeline
from mdiff_jax.runtime import cli, parallel, prng
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.flags import Flags
from mdiff_jax.runtime.ranges import COUNT
from mdiff_jax.training import stages
from mdiff_jax.validation import validate

FLAGS = Flags()

FLAGS.group("measurement")
FLAGS.config_file("Configuration: a name or a file.")
PRECISIONS = FLAGS.texts("precisions", ["float32"], "Any of float32, bfloat16, float16.")
BATCH_SIZES = FLAGS.texts("batch_sizes", ["16"], "Batch sizes of the decoder's training step and of sampling.")
REPEATS = FLAGS.integer("repeats", 5, "Timed repetitions; the median is reported.", COUNT)
USERS = FLAGS.integer("num_users", 31, "Number of users of the model.", COUNT)


def timed(call: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Returns (seconds of the first call, median seconds of the others)."""
    seconds = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - began)
    return seconds[0], statistics.median(seconds[1:])


def training(config: ConfigDict, users: int, size: int, repeats: int) -> dict[str, float]:
    """Measures the decoder's training step on random windows."""
    rng = np.random.default_rng(0)
    batch = {
        "spectrogram": rng.uniform(-1, 1, (size, *spectrogram_shape(config))).astype(np.float32),
        "embedding": rng.normal(size=(size, condition_size(config))).astype(np.float32),
        "frames": np.full(size, config.data.image_size[1]),
        "user": rng.integers(0, users, size).astype(np.int32),
        "example": np.arange(size, dtype=np.int32),
    }
    batch = next(parallel.prefetch(iter([batch])))
    key = prng.purpose_key(0, "train")
    init = functools.partial(stages.init_train_state, config, "decoder", users, 1000, {})
    state = parallel.replicate(jax.jit(init)())
    parameters = sum(x.size for x in jax.tree.leaves(state.params))
    step, box = stages.compile_train_step(config, "decoder", users, 1000, config.decoder.timesteps), [state]

    def call() -> Any:
        box[0], metrics = step(box[0], batch, key)
        return metrics

    first, each = timed(call, repeats)
    return {"parameters": parameters, "compile_s": first - each, "step_s": each, "images_per_s": size / each}


def sampling(config: ConfigDict, users: int, size: int, repeats: int) -> dict[str, float]:
    """Measures sampling by prior and decoder, with guidance."""
    key = prng.purpose_key(0, "init")
    init = {name: functools.partial(init_parameters, config, name, users) for name in ("prior", "decoder")}
    variables = {name: {"params": jax.jit(call)(key)} for name, call in init.items()}
    requests = [pipeline.SampleRequest("user", 0, i) for i in range(size)]
    function = parallel.compile_map(
        pipeline.make_window_sampler(denoisers.prior_sampler(config, users), denoisers.decoder_sampler(config, users))
    )
    batch = pipeline.make_batch(requests, seed=0)
    first, each = timed(lambda: function(parallel.replicate(variables), batch), repeats)
    return {"compile_s": first - each, "s_per_image": each / size, "images_per_s": size / each}


def peak_gigabytes() -> float | None:
    """Returns the peak memory of the first device, or None where the backend does not report it."""
    stats = jax.local_devices()[0].memory_stats()
    return None if not stats else stats["peak_bytes_in_use"] / 2**30


def main() -> None:
    if FLAGS.config is None:
        raise InputError("give --config=configs/NAME.py")
    rows = []
    for precision in PRECISIONS.value:
        for size in map(int, BATCH_SIZES.value):
            config = FLAGS.config.copy_and_resolve_references()
            config.precision, config.decoder.batch_size = precision, size
            validate(config)
            for name, measure in (("train", training), ("sample", sampling)):
                row = {"what": name, "precision": precision, "batch": size}
                row |= measure(config, USERS.value, size, REPEATS.value)
                rows.append(row | {"peak_gib": peak_gigabytes(), "device": jax.devices()[0].device_kind})
                print(json.dumps(rows[-1]), flush=True)
    print("\n| | precision | batch | images/s | compile s | peak GiB |\n|---|---|---|---|---|---|")
    for r in rows:
        peak = "" if r["peak_gib"] is None else f"{r['peak_gib']:.1f}"
        cells = (r["what"], r["precision"], r["batch"], f"{r['images_per_s']:.2f}", f"{r['compile_s']:.1f}", peak)
        print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    cli.guard(lambda: start(sys.modules[__name__], sys.argv[1:]))
