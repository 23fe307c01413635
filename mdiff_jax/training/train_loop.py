"""The one loop: three stages, in order, each resumed where it stopped."""

import contextlib
import functools
import hashlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from mdiff_jax.config import STAGES, flatten, init_parameters, to_plain_dict, validate
from mdiff_jax.data import builders, loader, splits
from mdiff_jax.inference import denoisers
from mdiff_jax.runtime import parallel, prng
from mdiff_jax.runtime.checkpointing import Checkpoints
from mdiff_jax.runtime.errors import InputError, Stopped
from mdiff_jax.runtime.metric_writer import RunLog, StageMetricWriter
from mdiff_jax.runtime.preemption import PreemptionHandler
from mdiff_jax.runtime.version import VERSION
from mdiff_jax.runtime.workdir import Workdir, atomic_write, write_json
from mdiff_jax.training import cost_analysis, sample_evaluator, stages, train_state

# Keys that may change between two runs in one working directory: they do not touch what was trained.
FREE_KEYS = ("stage", "log_every", "checkpoint_every", "keep_checkpoints", "keep_every", "compilation_cache")
FREE_KEYS += ("max_skipped", "remat", "dry_run", "validation_passes", "patience", "sheet_every", "tensorboard")
FREE_KEYS += ("prior.sample_timesteps", "decoder.sample_timesteps")
FREE_PREFIXES = ("sample.", "summary.")
WARM_UP = 10  # steps before the pace is believed


class PreparedData(NamedTuple):
    dataset: builders.Dataset
    rows: dict[str, np.ndarray]  # 'train', 'validation', 'test' → positions in the data set


class TrainingRun(NamedTuple):
    """What all stages share."""

    config: ConfigDict
    workdir: Workdir
    data: PreparedData
    journal: RunLog
    interrupts: PreemptionHandler


class Embeddings(NamedTuple):
    """What prior and decoder are trained on: the encoder's answer to every window, standardised."""

    table: np.ndarray  # (windows, D)
    constants: dict[str, np.ndarray]  # mean and deviation of the training windows' embeddings
    fingerprint: str  # of encoder and data


NO_EMBEDDINGS = Embeddings(np.zeros((0, 0)), {}, "")


def train(config: ConfigDict, root: str | Path) -> None:
    """Runs the stages that are not finished yet, in order, in the working directory `root`."""
    # ------------------------------------------------------------------- check, before anything is written
    validate(config)
    for name in STAGES:
        parallel.check_batch_size(config[name].batch_size, f"{name}.batch_size", accumulation_parts(config, name))
    workdir, values = Workdir(root), to_plain_dict(config)
    check_same_configuration(workdir, values)
    if config.dry_run:
        return dry_run(config, workdir)

    with PreemptionHandler() as interrupts, workdir.locked() if parallel.is_first() else contextlib.nullcontext():
        # --------------------------------------------------------------- data
        data = prepare_data(config, workdir)
        if parallel.is_first():
            write_json(workdir.config, values)
        if config.compilation_cache:
            jax.config.update("jax_compilation_cache_dir", str(workdir.cache))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)

        # --------------------------------------------------------------- stages
        run = TrainingRun(config, workdir, data, RunLog(workdir, parallel.is_first()), interrupts)
        chosen = STAGES if config.stage == "all" else (config.stage,)
        embeddings = NO_EMBEDDINGS
        for name in STAGES[: STAGES.index(chosen[-1]) + 1]:
            trained = train_stage(run, name, embeddings, may_train=name in chosen)
            if name == "encoder" and chosen[-1] != "encoder":
                embeddings = embed_dataset(run, trained)


def accumulation_parts(config: ConfigDict, name: str) -> int:
    """Parts of accumulation. The encoder's loss compares the windows of a batch, so it has one."""
    return 1 if name == "encoder" else config[name].accumulate


def check_same_configuration(workdir: Workdir, values: dict) -> None:
    """Raises if the working directory was made with other values of keys that matter; more epochs are welcome."""
    if not workdir.config.is_file():
        return
    before, now = flatten(workdir.read_config()), flatten(values)
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if old == new or key in FREE_KEYS or key.startswith(FREE_PREFIXES):
            continue
        if key.endswith(".epochs") and new > old:
            continue
        if key.endswith(".curriculum") and extends_curriculum(old, new):
            continue
        raise InputError(
            f"{workdir.root} was made with {key}={old!r}, now it is {new!r}: "
            "take the old value back or give another --workdir"
        )


def extends_curriculum(old: list, new: list) -> bool:
    """Whether a curriculum is another one with more epochs or phases at its end."""
    if not old or len(new) < len(old):
        return False
    (timesteps, epochs), (now, more) = old[-1], new[len(old) - 1]
    return new[: len(old) - 1] == old[:-1] and now == timesteps and more >= epochs


def prepare_data(config: ConfigDict, workdir: Workdir) -> PreparedData:
    """The data set, prepared once below the working directory, and its split."""
    parallel.broadcast_from_first(lambda: write_prepared_data(config, workdir))
    dataset, split = builders.open_prepared(workdir.data), splits.read_split(workdir.split)
    return PreparedData(dataset, {name: dataset.rows(split[name]) for name in splits.PARTS})


def write_prepared_data(config: ConfigDict, workdir: Workdir) -> None:
    """What of data set and split is not there yet."""
    c = config.data
    dataset = builders.prepare_dataset(
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
    if not workdir.split.is_file():
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
        splits.write_split(workdir.split, split)


def embed_dataset(run: TrainingRun, params: Any) -> Embeddings:
    """Embeddings of every window, from the working directory where they were made by this encoder from this data."""
    config, data, path = run.config, run.data, run.workdir.embeddings
    digest = hashlib.sha256(data.dataset.fingerprint.encode() + data.rows["train"].tobytes())
    for leaf in jax.tree.leaves(jax.device_get(params)):
        digest.update(np.ascontiguousarray(leaf))
    fingerprint = digest.hexdigest()[:16]
    if path.is_file():
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["fingerprint"]) == fingerprint:
                constants = {name: kept[name] for name in ("embedding_mean", "embedding_deviation")}
                return Embeddings(kept["embedding"], constants, fingerprint)
    function = parallel.compile_map(denoisers.make_encoder(config))
    chunks = []
    for start in range(0, len(data.dataset), 64):
        rows = np.arange(start, start + 64) % len(data.dataset)
        chunks.append(function(params, data.dataset.load(rows)))
    z = np.concatenate(chunks)[: len(data.dataset)]
    mean = z[data.rows["train"]].mean(0)
    deviation = np.sqrt(((z[data.rows["train"]] - mean) ** 2).mean())
    table, constants = (z - mean) / deviation, {"embedding_mean": mean, "embedding_deviation": np.asarray(deviation)}
    if parallel.is_first():
        with atomic_write(path) as temporary:
            np.savez(temporary, embedding=table, fingerprint=fingerprint, **constants)
    return Embeddings(table, constants, fingerprint)


def train_stage(run: TrainingRun, name: str, embeddings: Embeddings, may_train: bool) -> Any:
    """Trains one stage to its last step, from where it stopped; returns the averaged parameters on the devices."""
    # ------------------------------------------------------------------- model
    config, data, workdir, say = run.config, run.data, run.workdir, run.journal.log
    users, c, rows = data.dataset.users, run.config[name], data.rows["train"]
    phases = stages.make_phases(config, name, max(1, len(rows) // c.batch_size))
    total, decay = phases[-1].last, str(config.sample.ema_decay)
    fresh = functools.partial(init_train_state, config, name, len(users), total, embeddings.constants)

    with contextlib.ExitStack() as stack:
        # --------------------------------------------------------------- start: finished, resumed, or from scratch
        checkpoints, start, now, past = restore_or_init(run, name, fresh, embeddings.fingerprint, may_train, stack)
        finished = past["finished"] and past["total_steps"] == total
        if not finished and not may_train:
            raise InputError(f"stage {name} in {workdir.root} is not finished: run train.py with --config.stage=all")
        if now is None:
            quick = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
            now = jax.jit(fresh, compiler_options=quick)()
        now = parallel.replicate(now)
        if finished:
            say(f"{name}: finished at step {start}")
            return now.ema[decay]

        # --------------------------------------------------------------- functions and batches
        key = prng.purpose_key(config.seed, "train", name)
        step_function = functools.cache(
            lambda timesteps: compile_train_step(config, name, len(users), total, timesteps)
        )
        validate = make_validation(run, name, embeddings)
        sheet = None
        if name == "decoder" and config.sheet_every and parallel.is_first():
            sheet = sample_evaluator.make_sample_evaluator(config, data.dataset, data.rows, embeddings.table)
        batches = parallel.prefetch(train_batches(run, name, embeddings, start))
        first = next(batches)
        timesteps = next(p.timesteps for p in phases if start < p.last)
        cost = step_function(timesteps).cost(now, first, key)
        plan = plan_stage(run, name, now, start, total, cost)
        say(cost_analysis.format_plan(plan))

        # --------------------------------------------------------------- loop
        meta = {"config": to_plain_dict(config), "users": list(users), "version": VERSION, "total_steps": total}
        meta |= {"fingerprint": data.dataset.fingerprint, "depends": embeddings.fingerprint}
        best, since_best, waiting = past["best_validation_loss"], past["since_best"], None
        log = stack.enter_context(StageMetricWriter(run.journal, name, start, total, config.tensorboard))
        stack.enter_context(defer_signals(run.interrupts))
        began, counted = time.perf_counter(), start
        for step in range(start + 1, total + 1):
            # ----------------------------------------------------------- step
            timesteps = next(p.timesteps for p in phases if step <= p.last)
            with explain_oom(plan):
                now, metrics = step_function(timesteps)(now, first if step == start + 1 else next(batches), key)
            log.advance()

            # ----------------------------------------------------------- log, a step late: the device never waits
            if waiting is not None:
                jax.block_until_ready(waiting[2])
                pace = (time.perf_counter() - began) / (step - counted)
                write_metrics(log, waiting, {"images_per_second": c.batch_size / pace}, config.max_skipped)
                began, counted, waiting = time.perf_counter(), step, None
                if start + WARM_UP < step <= start + WARM_UP + config.log_every:
                    say(f"{name}: {pace:.3f} s a step after warm-up, {(total - step) * pace / 60:.0f} min left")
            if step % config.log_every == 0 or step == total:
                waiting = (name, step, metrics, timesteps)

            # ----------------------------------------------------------- validate, save
            stop = run.interrupts.signum is not None
            due = step % config.checkpoint_every == 0 or step == total
            if due or stop:
                if waiting is not None:
                    write_metrics(log, waiting, {}, config.max_skipped)
                    waiting = None
                figures = validate(now.ema[decay]) if due else {}
                if "loss" in figures:
                    better = best is None or figures["loss"] < best
                    best, since_best = (figures["loss"], 0) if better else (best, since_best + 1)
                    log.write_scalars(step, {f"validation_{k}": v for k, v in figures.items()})
                ended = step == total or bool(config.patience and since_best >= config.patience)
                past = {"finished": ended, "best_validation_loss": best, "since_best": since_best}
                if checkpoints:
                    checkpoints.save(step, now, meta | past, figures.get("loss"))
                if sheet and due and (step // config.checkpoint_every) % config.sheet_every == 0:
                    path = workdir.root / name / "sheets" / f"step_{step:06d}.png"
                    pixels, figures = sheet(now.ema[decay], path)
                    log.write_image(step, "sheet", pixels)
                    log.write_scalars(step, figures)
                if stop:
                    say(f"{name}: stopped and saved at step {step} of {total}")
                    raise Stopped(run.interrupts.signum)
                if ended:
                    break
    if step < total:
        say(f"{name}: ended early, {since_best} checkpoints since the least validation loss {best:.4f}")
    say(f"{name}: done at step {step}; checkpoints in {workdir.checkpoints(name)}")
    return now.ema[decay]


# ----------------------------------------------------------------------------- pieces of a stage


def init_train_state(
    config: ConfigDict, name: str, num_users: int, total: int, constants: dict[str, np.ndarray]
) -> train_state.TrainState:
    params = init_parameters(config, name, num_users, prng.purpose_key(config.seed, "init", name))
    optimizer = stages.make_stage_optimizer(config, name, total)
    return train_state.create_train_state(
        params, optimizer, tuple(config.ema_decays), constants, config.precision == "float16"
    )


def compile_train_step(
    config: ConfigDict, name: str, num_users: int, total: int, timesteps: int
) -> parallel.CompiledStep:
    step = functools.partial(
        train_state.train_step,
        loss=stages.make_stage(config, name, num_users, timesteps).loss,
        optimizer=stages.make_stage_optimizer(config, name, total),
        dynamic_scale=config.precision == "float16",
        accumulate=accumulation_parts(config, name),
    )
    return parallel.compile_step(step)


UNTRAINED = {"finished": False, "total_steps": 0, "best_validation_loss": None, "since_best": 0}


def restore_or_init(
    run: TrainingRun, name: str, fresh: Any, depends: str, may_train: bool, stack: contextlib.ExitStack
) -> tuple[Checkpoints | None, int, Any, dict]:
    """(checkpoints, step, state or None, what was known then) of a stage; one trained on other embeddings is set
    aside. The first process reads and writes, the others are told.
    """
    config, folder, checkpoints = run.config, run.workdir.checkpoints(name), None
    like, step, now, past = jax.eval_shape(fresh), 0, None, UNTRAINED
    if parallel.is_first():
        with Checkpoints(folder, config.keep_checkpoints, config.keep_every) as earlier:
            found = earlier.restore_latest(like, run.journal.log)
            meta = earlier.meta(found[0]) if found else None
        if found and meta["depends"] != depends:
            if not may_train:
                raise InputError(f"stage {name} was trained on another encoder: run train.py with --config.stage=all")
            moved = run.workdir.set_aside(name)
            run.journal.log(f"{name}: the encoder has changed since; trained anew, the old one is in {moved}")
        elif found:
            (step, now), past = found, {key: meta[key] for key in UNTRAINED}
        checkpoints = stack.enter_context(Checkpoints(folder, config.keep_checkpoints, config.keep_every))
    if jax.process_count() > 1:
        step, numbers = parallel.broadcast_arrays((np.array(step), as_numbers(past)))
        step, past = int(step), from_numbers(numbers)
        now = (
            parallel.broadcast_arrays(now or jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)) if step else None
        )
    return checkpoints, step, now, past


def as_numbers(past: dict) -> np.ndarray:
    best = past["best_validation_loss"]
    return np.array([past["finished"], past["total_steps"], np.nan if best is None else best, past["since_best"]])


def from_numbers(n: np.ndarray) -> dict:
    best = None if np.isnan(n[2]) else float(n[2])
    return {
        "finished": bool(n[0]),
        "total_steps": int(n[1]),
        "best_validation_loss": best,
        "since_best": int(n[3]),
    }


def train_batches(run: TrainingRun, name: str, embeddings: Embeddings, start: int) -> Iterator[dict[str, np.ndarray]]:
    """This process's share of the batches from step `start` on."""
    config, data = run.config, run.data
    return loader.train_batches(
        data.dataset,
        data.rows["train"],
        batch_size=config[name].batch_size,
        seed=config.seed,
        start_step=start,
        balanced=config.data.balanced,
        fields=stages.make_stage(config, name, len(data.dataset.users)).fields,
        tables={"embedding": embeddings.table},
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


def make_validation(run: TrainingRun, name: str, embeddings: Embeddings) -> Any:
    """params → the stage's loss and other metrics on the validation windows: each time with the same noise."""
    config, data = run.config, run.data
    rows, size = data.rows["validation"], config[name].batch_size
    if not config.validation_passes or not len(rows):
        return lambda params: {}
    stage = stages.make_stage(config, name, len(data.dataset.users))
    function = parallel.compile_loss(stage.loss)
    key = prng.purpose_key(config.seed, "eval", name)
    count = -(-config.validation_passes * len(rows) // size)

    def validate(params: Any) -> dict[str, float]:
        batches = loader.train_batches(
            data.dataset,
            rows,
            batch_size=size,
            seed=config.seed,
            start_step=0,
            balanced=False,
            fields=stage.fields,
            tables={"embedding": embeddings.table},
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        pieces = parallel.prefetch(batch for _, batch in zip(range(count), batches, strict=False))
        metrics = [function(params, batch, jax.random.fold_in(key, i)) for i, batch in enumerate(pieces)]
        return jax.tree.map(lambda *x: float(np.mean(x)), *jax.device_get(metrics))

    return validate


def plan_stage(
    run: TrainingRun, name: str, now: Any, done: int, total: int, cost: parallel.StepCost
) -> cost_analysis.StagePlan:
    return cost_analysis.StagePlan(
        name,
        cost_analysis.count_parameters(now.params),
        sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(now)),
        len(run.data.rows["train"]),
        total,
        done,
        run.config[name].batch_size,
        jax.device_count(),
        cost,
        parallel.device_memory(),
    )


def dry_run(config: ConfigDict, workdir: Workdir) -> None:
    """Prints what each stage would take; compiles, trains nothing, leaves nothing behind."""
    with tempfile.TemporaryDirectory() as empty:
        place = workdir if workdir.config.is_file() else Workdir(empty)
        data = prepare_data(config, place)
        run = TrainingRun(config, place, data, RunLog(Workdir(empty), parallel.is_first()), PreemptionHandler())
        for name in STAGES:
            dim, users = config.encoder.embedding_dim, len(data.dataset.users)
            embeddings = NO_EMBEDDINGS
            if name != "encoder":
                constants = {"embedding_mean": np.zeros(dim, np.float32), "embedding_deviation": np.float32(1)}
                embeddings = Embeddings(np.zeros((len(data.dataset), dim), np.float32), constants, "")
            phases = stages.make_phases(config, name, max(1, len(data.rows["train"]) // config[name].batch_size))
            fresh = functools.partial(init_train_state, config, name, users, phases[-1].last, embeddings.constants)
            shapes = jax.eval_shape(fresh)
            batch = next(parallel.prefetch(train_batches(run, name, embeddings, 0)))
            step = compile_train_step(config, name, users, phases[-1].last, phases[0].timesteps)
            cost = step.cost(shapes, batch, prng.purpose_key(config.seed, "train", name))
            run.journal.log(cost_analysis.format_plan(plan_stage(run, name, shapes, 0, phases[-1].last, cost)))


@contextlib.contextmanager
def defer_signals(interrupts: PreemptionHandler) -> Iterator[None]:
    """Between here and there a signal waits until the loop looks."""
    interrupts.deferred = True
    try:
        yield
    finally:
        interrupts.deferred = False


@contextlib.contextmanager
def explain_oom(plan: cost_analysis.StagePlan) -> Iterator[None]:
    """Says what to try where the device's memory does not suffice."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        tight = plan._replace(device_bytes=plan.device_bytes and min(plan.device_bytes, plan.cost.bytes_needed or 0))
        advice = cost_analysis.suggest_if_too_large(tight) or f"try a smaller {plan.name}.batch_size, or remat=blocks"
        raise InputError(
            f"{plan.name}: the device is out of memory: {advice.removeprefix(cost_analysis.MISFIT)}"
        ) from error


def write_metrics(
    log: StageMetricWriter, logged: tuple[str, int, dict, int], more: dict[str, float], most_skipped: int
) -> None:
    """A step's metrics, fetched from the device. Raises after `most_skipped` updates in a row that were left out for
    non-finite gradients.
    """
    name, step, metrics, timesteps = logged
    values = {k: float(v) for k, v in jax.device_get(metrics).items()}
    log.write_scalars(step, values | ({"timesteps": timesteps} if timesteps else {}) | more)
    if values["skipped_in_a_row"] >= most_skipped:
        raise InputError(
            f"{name}: {values['skipped_in_a_row']:.0f} updates in a row had non-finite gradients at step {step}: "
            f"lower {name}.optimizer.learning_rate, or train with --config.precision=float32"
        )
