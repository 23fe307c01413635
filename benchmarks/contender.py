"""Runs one contender of a benchmark in its own process: our decoder, its student, or diffusers' UNet of that shape.

Started by `duel.py`. Prints a line of JSON when it is ready, one for each line that it reads (the seconds of one
repetition), and one with its peak memory since then when the input ends. Both networks have AdamW and one moving
average.
"""

import argparse
import contextlib
import functools
import json
import re
import resource
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import diffusers_unet
import numpy as np

USERS = 6


def config_of(given: argparse.Namespace) -> Any:
    """Returns the configuration of a benchmark, without guidance, with a student of `--student_steps`."""
    config = runpy.run_path(given.config)["get_config"]()
    config.precision = given.precision
    config.sample.update(cond_scale=1.0)
    config.distill.curriculum = ((given.student_steps, 1),)
    if given.image_size:
        config.data.image_size = tuple(map(int, given.image_size.split("x")))
    return config


def ours(given: argparse.Namespace) -> tuple[Callable[[], None], dict]:
    """Returns our training step or sampler, as `train.py` and `sample.py` run it, and a description of it."""
    import jax

    from mdiff_jax.config import condition_size, person_size, spectrogram_shape
    from mdiff_jax.inference import denoisers, pipeline
    from mdiff_jax.runtime import compilation_cache, parallel, prng
    from mdiff_jax.training import stages

    jax.config.update("jax_compilation_cache_dir", given.cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    config, users, rng = config_of(given), USERS, np.random.default_rng(0)
    key, student = prng.purpose_key(0, "train"), given.contender == "student"
    stage = "distill" if student else "decoder"
    state = parallel.replicate(jax.jit(functools.partial(stages.init_train_state, config, stage, users, 1000, {}))())
    embedding = rng.normal(size=(given.batch, condition_size(config))).astype(np.float32)
    user, example = np.arange(given.batch, dtype=np.int32) % users, np.arange(given.batch, dtype=np.int32)
    person = {"person": rng.normal(size=(given.batch, person_size(config))).astype(np.float32)}
    person = person if config.people.references else {}
    began = time.perf_counter()
    if given.task == "train":
        shape = (given.batch, *spectrogram_shape(config))
        batch = {"spectrogram": rng.uniform(-1, 1, shape).astype(np.float32), "embedding": embedding}
        batch |= {"frames": np.full(given.batch, shape[2]), **person}
        batch = next(parallel.prefetch(iter([batch | {"user": user, "example": example}])))
        step = stages.compile_train_step(config, "decoder", users, 1000, config.decoder.timesteps)
        cost, box = step.cost(state, batch, key), [state]
        compilation_cache.release_memory()  # as training does

        def repeat() -> None:
            box[0], metrics = step(box[0], batch, key)
            jax.block_until_ready(metrics)
    else:
        config.decoder.sample_timesteps = given.steps
        names = [f"user_{u}" for u in user]
        batch = {"embedding": embedding, "user": user, "decoder_key": prng.sample_keys(0, "decoder", names, example)}
        batch |= person
        sampler = denoisers.drawing_sampler(config, users, student)
        decode = parallel.compile_map(pipeline.make_embedding_decoder(sampler))
        repeat, cost = (
            functools.partial(decode, {"decoder": {"params": state.params}}, batch),
            parallel.StepCost(None, None),
        )
    repeat()
    seconds = time.perf_counter() - began
    size = sum(x.size for x in jax.tree.leaves(state.params))
    return repeat, {"compile_s": seconds, "flops": cost.flops, "bytes": cost.bytes_needed, "parameters": size}


def theirs(given: argparse.Namespace) -> tuple[Callable[[], None], dict]:
    """Returns the same of diffusers' UNet2DModel in PyTorch, eager or compiled."""
    import torch
    from diffusers import DDIMScheduler, DDPMScheduler
    from diffusers.training_utils import EMAModel

    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = diffusers_unet.build(config_of(given), given.scale, USERS).to(device)
    x = torch.randn(given.batch, network.config.in_channels, *network.config.sample_size, device=device)
    user = torch.arange(given.batch, device=device) % USERS
    precise = torch.autocast(device, getattr(torch, given.precision), enabled=given.precision != "float32")
    scaler = torch.amp.GradScaler(device, enabled=given.precision == "float16")
    began = time.perf_counter()
    if given.task == "train":
        scheduler = DDPMScheduler(1000, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
        average = EMAModel(network.parameters(), decay=0.999)
        run = torch.compile(network) if given.contender == "compiled" else network

        def repeat() -> None:
            noise, t = torch.randn_like(x), torch.randint(0, 1000, (len(x),), device=device)
            with precise:
                output = run(scheduler.add_noise(x, noise, t), t, class_labels=user).sample
                loss = torch.nn.functional.mse_loss(output.float(), scheduler.get_velocity(x, noise, t))
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            average.step(network.parameters())
            loss.item()
    else:
        scheduler = DDIMScheduler(1000, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
        scheduler.set_timesteps(given.steps)
        run = torch.compile(network) if given.contender == "compiled" else network

        def repeat() -> None:
            sample = torch.randn_like(x)
            with torch.no_grad(), precise:
                for t in scheduler.timesteps:
                    sample = scheduler.step(run(sample, t, class_labels=user).sample.float(), t, sample).prev_sample
            sample.sum().item()

    repeat()
    size = sum(p.numel() for p in network.parameters())
    return repeat, {"compile_s": time.perf_counter() - began, "parameters": size}


def peak_mib(is_ours: bool) -> float:
    """Returns the peak memory of the device; where that is the CPU, of this process since `restart_peak`."""
    if is_ours:
        import jax

        if stats := jax.local_devices()[0].memory_stats():
            return stats["peak_bytes_in_use"] / 2**20
    else:
        import torch

        if torch.cuda.is_available():
            return torch.cuda.max_memory_allocated() / 2**20
    with contextlib.suppress(OSError, TypeError):  # not on Linux
        return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def restart_peak() -> None:
    """Has `peak_mib` count from here, where the system can: on Linux (proc(5), clear_refs)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("contender", choices=("ours", "student", "eager", "compiled", "flops"))
    parser.add_argument("--task", choices=("train", "sample"))
    parser.add_argument("--config")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--student_steps", type=int)
    parser.add_argument("--image_size")
    parser.add_argument("--precision")
    parser.add_argument("--scale", type=float)
    parser.add_argument("--cache")
    given = parser.parse_args()
    if given.contender == "flops":
        print(json.dumps(diffusers_unet.match(config_of(given), USERS)), flush=True)
        return
    is_ours = given.contender in ("ours", "student")
    repeat, about = (ours if is_ours else theirs)(given)
    print(json.dumps(about | {"start_mib": peak_mib(is_ours)}), flush=True)
    restart_peak()
    for _ in sys.stdin:
        began = time.perf_counter()
        repeat()
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)
    print(json.dumps({"peak_mib": peak_mib(is_ours)}), flush=True)


if __name__ == "__main__":
    main()
