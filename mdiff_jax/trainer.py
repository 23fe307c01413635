"""The one loop: three stages, in order, each resumed where it stopped."""

import functools
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from mdiff_jax import __version__, build, keys, parallel, state
from mdiff_jax.checkpoint import Checkpoints
from mdiff_jax.data import builders, loader, splits
from mdiff_jax.errors import InputError
from mdiff_jax.workdir import MetricsLog, Workdir, write_json

# Keys that may change between two runs in one working directory: they do not touch what was trained.
FREE_KEYS = ("stage", "log_every", "checkpoint_every", "keep_checkpoints", "compilation_cache", "max_skipped")
FREE_KEYS += ("prior.sample_timesteps", "decoder.sample_timesteps")
FREE_PREFIXES = ("sample.", "summary.")


class Data(NamedTuple):
    dataset: builders.Dataset
    rows: dict[str, np.ndarray]  # 'train', 'validation', 'test' → positions in the data set


def train(config: ConfigDict, root: str | Path) -> None:
    """Runs the stages that are not finished yet, in order, in the working directory `root`."""
    # ------------------------------------------------------------------- check, before anything is written
    build.validate(config)
    for name in build.STAGES:
        parallel.check_batch_size(config[name].batch_size, f"{name}.batch_size")
    workdir = Workdir(root)
    values = build.plain(config)
    check_same(workdir, values)

    # ------------------------------------------------------------------- data
    data = prepare(config, workdir)
    write_json(workdir.config, values)
    if config.compilation_cache:
        jax.config.update("jax_compilation_cache_dir", str(workdir.cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)

    # ------------------------------------------------------------------- stages
    chosen = build.STAGES if config.stage == "all" else (config.stage,)
    tables: dict[str, np.ndarray] = {}
    constants: dict[str, np.ndarray] = {}
    for name in build.STAGES[: build.STAGES.index(chosen[-1]) + 1]:
        trained = train_stage(config, name, data, tables, constants, workdir, may_train=name in chosen)
        if name == "encoder" and chosen[-1] != "encoder":
            tables["embedding"], constants = embed(config, trained, data)


def check_same(workdir: Workdir, values: dict) -> None:
    """Raises if the working directory was made with other values of keys that matter."""
    if not workdir.config.is_file():
        return
    before, now = build.flatten(workdir.read_config()), build.flatten(values)
    for key in sorted(before.keys() | now.keys()):
        if key in FREE_KEYS or key.startswith(FREE_PREFIXES):
            continue
        if before.get(key) != now.get(key):
            raise InputError(
                f"{workdir.root} was made with {key}={before.get(key)!r}, now it is {now.get(key)!r}: "
                "take the old value back or give another --workdir"
            )


def prepare(config: ConfigDict, workdir: Workdir) -> Data:
    """The data set, prepared once below the working directory, and its split."""
    c = config.data
    dataset = builders.prepare(
        kind=c.kind,
        path=c.path,
        image_size=tuple(c.image_size),
        cache_dir=workdir.data,
        channels=c.channels,
        colormap_name=c.colormap,
        native_frames=c.native_frames,
        stft=dict(c.stft),
        walkers=dict(c.walkers),
    )
    if workdir.split.is_file():
        split = splits.read(workdir.split)
    else:
        split = splits.make_split(
            dataset,
            fractions=c.fractions,
            by=c.split_by,
            gap=c.gap,
            seed=config.seed,
            folds=c.folds,
            fold=c.fold,
            windows_per_user=c.windows_per_user or None,
        )
        splits.write(workdir.split, split)
    position = {file: i for i, file in enumerate(dataset.files)}
    return Data(dataset, {name: np.array([position[f] for f in split[name]]) for name in splits.NAMES})


def embed(config: ConfigDict, params: Any, data: Data) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Standardised embeddings of every window, and the constants: the training mean, and one deviation for all."""
    function = parallel.compile_map(build.encode(config))
    chunks = []
    for start in range(0, len(data.dataset), 64):
        rows = np.arange(start, start + 64) % len(data.dataset)
        chunks.append(function(params, data.dataset.load(rows)))
    z = np.concatenate(chunks)[: len(data.dataset)]
    mean = z[data.rows["train"]].mean(0)
    deviation = np.sqrt(((z[data.rows["train"]] - mean) ** 2).mean())
    return (z - mean) / deviation, {"embedding_mean": mean, "embedding_deviation": np.asarray(deviation)}


def train_stage(
    config: ConfigDict,
    name: str,
    data: Data,
    tables: dict[str, np.ndarray],
    constants: dict[str, np.ndarray],
    workdir: Workdir,
    may_train: bool,
) -> Any:
    """Trains one stage to its last step, from where it stopped; returns the averaged parameters on the devices."""
    # ------------------------------------------------------------------- model
    users = data.dataset.users
    stage, c, rows = build.stage(config, name, len(users)), config[name], data.rows["train"]
    steps_per_epoch = max(1, len(rows) // c.batch_size)
    total_steps = c.epochs * steps_per_epoch
    optimizer = build.optimizer(config, name, total_steps)
    dynamic_scale = config.precision == "float16"

    def fresh() -> state.TrainState:
        params = stage.init(keys.purpose_key(config.seed, "init", name))
        return state.create(params, optimizer, tuple(config.ema_decays), constants, dynamic_scale)

    with Checkpoints(workdir.checkpoints(name), config.keep_checkpoints) as checkpoints:
        # --------------------------------------------------------------- start: finished, resumed, or from scratch
        start = checkpoints.latest()
        if (start or 0) < total_steps and not may_train:
            raise InputError(f"stage {name} in {workdir.root} is not finished: run train.py with --config.stage=all")
        if start is None:
            quick = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
            now, start = jax.jit(fresh, compiler_options=quick)(), 0
        else:
            now = checkpoints.restore(start, jax.eval_shape(fresh))
        now = parallel.replicate(now)
        if start >= total_steps:
            say(f"{name}: finished at step {start}")
            return now.ema[str(config.sample.ema_decay)]

        # --------------------------------------------------------------- loop
        meta = {"config": build.plain(config), "users": list(users), "version": __version__}
        meta |= {"fingerprint": data.dataset.fingerprint, "total_steps": total_steps}
        count = sum(x.size for x in jax.tree.leaves(now.params))
        say(f"{name}: {count / 1e6:.2f} M parameters, {len(rows)} windows, {total_steps} steps of {c.batch_size}")
        step_function = parallel.compile_step(
            functools.partial(state.train_step, loss=stage.loss, optimizer=optimizer, dynamic_scale=dynamic_scale)
        )
        key = keys.purpose_key(config.seed, "train", name)
        batches = loader.train_batches(
            data.dataset,
            rows,
            batch_size=c.batch_size,
            seed=config.seed,
            start_step=start,
            balanced=config.data.balanced,
            fields=stage.fields,
            tables=tables,
        )
        pace = 1 if sys.stderr.isatty() else 15  # seconds between updates
        bar = tqdm(total=total_steps, initial=start, desc=name, unit="step", mininterval=pace)
        began, images = time.perf_counter(), 0
        with MetricsLog(workdir.metrics(name), start) as log, bar:
            for step in range(start + 1, total_steps + 1):
                now, metrics = step_function(now, next(batches), key)
                images += c.batch_size

                # --------------------------------------------------- log
                if step % config.log_every == 0 or step == total_steps:
                    values = {k: float(v) for k, v in jax.device_get(metrics).items()}
                    rate = images / (time.perf_counter() - began)
                    log.write(step, values | {"images_per_second": rate})
                    bar.set_postfix(loss=f"{values['loss']:.4f}", images_per_s=f"{rate:.0f}", refresh=False)
                    began, images = time.perf_counter(), 0
                    check_finite(values, name, step, config.max_skipped)
                bar.update()

                # --------------------------------------------------- save
                if step % config.checkpoint_every == 0 or step == total_steps:
                    checkpoints.save(step, now, meta)
    say(f"{name}: done; checkpoints in {workdir.checkpoints(name)}")
    return now.ema[str(config.sample.ema_decay)]


def check_finite(values: dict[str, float], name: str, step: int, most: int) -> None:
    """Raises after `most` updates in a row that were skipped for non-finite gradients."""
    if values["skipped_in_a_row"] >= most:
        raise InputError(
            f"{name}: {values['skipped_in_a_row']:.0f} updates in a row had non-finite gradients at step {step}: "
            f"lower {name}.optimizer.learning_rate, or train with --config.precision=float32"
        )


def say(line: str) -> None:
    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()
