"""The one training loop: the stages in order, each resumed where it stopped."""

import contextlib
import itertools
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from mdiff_jax.config import (
    Params,
    check_size,
    condition_size,
    constant_shapes,
    to_plain_dict,
)
from mdiff_jax.inference.loading import ENCODER_DECAY, TEACHER_STEPS, check_meta
from mdiff_jax.inference.same_configuration import check_same_configuration
from mdiff_jax.runtime import compilation_cache, parallel
from mdiff_jax.runtime.checkpointing import Checkpoints
from mdiff_jax.runtime.errors import InputError, Stopped, explain_disk_errors
from mdiff_jax.runtime.metric_writer import RunLog, StageMetricWriter
from mdiff_jax.runtime.preemption import PreemptionHandler
from mdiff_jax.runtime.progress import doing
from mdiff_jax.runtime.version import VERSION
from mdiff_jax.runtime.workdir import Workdir, refuse_damage, write_json
from mdiff_jax.training import cost_analysis, distillation, sample_evaluator, stages, validation_loss, warm_start
from mdiff_jax.training.train_state import NOTHING_FROZEN, Frozen, TrainState
from mdiff_jax.training.training_data import (
    NO_EMBEDDINGS,
    Embeddings,
    PreparedData,
    embed_dataset,
    make_batches,
    prepare_data,
)
from mdiff_jax.validation import DISTILL, NO_MODEL, validate

WARM_UP_STEPS = 10  # before the pace is reported


class TrainingRun(NamedTuple):
    """Everything that all stages share."""

    config: ConfigDict
    workdir: Workdir
    data: PreparedData
    log: RunLog
    preemption: PreemptionHandler


class Progress(NamedTuple):
    """The course of a stage up to a checkpoint, stored with it."""

    finished: bool = False
    total_steps: int = 0
    best_validation_loss: float | None = None
    since_best: int = 0  # checkpoints


def train(config: ConfigDict, root: str | Path) -> None:
    """Runs the stages that are not finished yet, in order, in the working directory `root`."""
    # ------------------------------------------------------------------- check, before anything is written
    validate(config)
    with doing("checking the configuration"):
        check_size(config)
    names = stages.stage_names(config)
    for name in names:
        parts = stages.accumulation_parts(config, name)
        parallel.check_batch_size(config[name].batch_size, f"{name}.batch_size", parts)
    workdir, values, note = Workdir(root), to_plain_dict(config), ""
    if workdir.weights.exists():
        raise InputError(f"{workdir.root} is an exported model: give another --workdir, and --config.init_from={root}")
    if workdir.config.exists():
        before = workdir.read_config()
        with refuse_damage(workdir.config, "restore it"):
            check_same_configuration(before, values, where=str(workdir.root))
    else:
        size = config.data.image_size
        with doing("checking the model to start from"):
            note = parallel.broadcast_from_first(lambda: warm_start.check_source(config.init_from, size))
    if config.dry_run:
        return dry_run(config, workdir, note)

    with (
        explain_disk_errors(workdir.root),
        PreemptionHandler(config.grace_seconds) as preemption,
        workdir.locked() if parallel.is_first() else contextlib.nullcontext(),
    ):
        # --------------------------------------------------------------- data
        data = prepare_data(config, workdir)
        if parallel.is_first():
            write_json(workdir.config, values)
        run = TrainingRun(config, workdir, data, RunLog(workdir, parallel.is_first()), preemption)
        if config.compilation_cache:
            compilation_cache.keep_programs(workdir.cache, run.log.log)
        if note:
            run.log.log(note)

        # --------------------------------------------------------------- stages
        chosen = names if config.stage == "all" else (config.stage,)
        embeddings = NO_EMBEDDINGS
        for name in names[: names.index(chosen[-1]) + 1]:
            averages = train_stage(run, name, embeddings, may_train=name in chosen)
            if name == "encoder" and chosen[-1] != "encoder":
                embeddings = embed_dataset(config, workdir, data, averages, run.log.log)
            compilation_cache.release_memory()


# ----------------------------------------------------------------------------- a stage


def train_stage(run: TrainingRun, name: str, embeddings: Embeddings, may_train: bool) -> dict[str, Params]:
    """Trains one stage to its last step, from where it stopped; returns the averages, {decay: parameters on the
    devices}.
    """
    config, data, workdir, log = run.config, run.data, run.workdir, run.log.log
    if stop := run.preemption.stop_signal():
        raise Stopped(stop)
    users, windows = data.dataset.users, len(data.rows["train"])
    setup = stages.set_up_stage(config, name, len(users), windows, embeddings.constants)
    total, decay = setup.total_steps, str(config.sample.ema_decay)
    early = round(config.keep_early * total)

    with contextlib.ExitStack() as stack:
        # --------------------------------------------------------------- start
        checkpoints = None
        if parallel.is_first():
            folder = workdir.checkpoints(name)
            checkpoints = stack.enter_context(Checkpoints(folder, config.keep_checkpoints, [early]))
        frozen, depends, of_teacher = NOTHING_FROZEN, embeddings.fingerprint, {}
        if name == DISTILL:
            frozen, fingerprint, steps = distillation.read_teacher(config, workdir, len(users))
            depends, of_teacher = f"{depends}-{fingerprint}", {TEACHER_STEPS: steps}
        with doing(f"{name}: preparing its parameters"):
            state, start, progress = restore_or_init(run, setup, checkpoints, depends, may_train, frozen)
        if progress.finished and progress.total_steps == total:
            log(f"{name}: finished at step {start}")
            return state.ema
        meta: dict[str, Any] = {"config": to_plain_dict(config), "users": list(users), "version": VERSION} | of_teacher
        meta |= {"fingerprint": data.dataset.fingerprint, "depends": depends}
        meta |= {ENCODER_DECAY: embeddings.decay} if name != "encoder" else {}
        if not total:
            log(f"{name}: stays as it is, {name}.epochs is 0")
            if checkpoints:
                checkpoints.save(0, state, meta | Progress(finished=True)._asdict(), None)
            return state.ema

        # --------------------------------------------------------------- batches, cost, evaluators
        batches = parallel.prefetch(make_batches(config, name, data, embeddings, "train", start))
        first = next(batches)
        with doing(f"{name}: compiling the training step"):
            cost = setup.measure_cost(start + 1, state, first, frozen)
        compilation_cache.release_memory()
        plan = cost_analysis.plan_stage(name, config[name].batch_size, windows, state, total, cost)
        log(cost_analysis.format_plan(plan))
        validate_params = validation_loss.make_validation(config, data, name, embeddings, frozen)
        evaluate_samples = None
        if name in ("decoder", DISTILL) and config.sheet_every and parallel.is_first():
            with doing(f"{name}: teaching a judge for the sheets"):
                evaluate_samples = sample_evaluator.make_sample_evaluator(
                    config, name, data.dataset, data.rows, embeddings
                )

        # --------------------------------------------------------------- loop
        writer = stack.enter_context(StageMetricWriter(run.log, name, start, total, config.tensorboard))
        stack.enter_context(run.preemption.defer_signals())
        pending, timer = None, cost_analysis.StepTimer(start)
        for step, batch in zip(range(start + 1, total + 1), itertools.chain([first], batches), strict=False):
            # ----------------------------------------------------------- step
            timesteps = setup.timesteps_at(step)
            with cost_analysis.explain_oom(plan):
                state, metrics = setup.compile_step(timesteps)(state, batch, setup.key, frozen)
            writer.advance()

            # ----------------------------------------------------------- log, a step late: the device never waits
            if pending is not None:
                pace = write_metrics(writer, pending, timer, config, name)
                pending = None
                if start + WARM_UP_STEPS < step <= start + WARM_UP_STEPS + config.log_every:
                    left = (total - step) * pace / 60
                    log(f"{name}: {pace:.3f} s a step after warm-up, {left:.0f} min left, beside validation and saving")
            if step % config.log_every == 0 or step == total:
                pending = (step, metrics, timesteps)

            # ----------------------------------------------------------- validate, save
            stop = run.preemption.stop_signal()
            due = step % config.checkpoint_every == 0 or step in (early, total)
            if due or stop:
                if pending is not None:
                    write_metrics(writer, pending, timer, config, name)
                    pending = None
                with doing("validation"):
                    figures = validate_params(state.ema[decay]) if due else {}
                if figures:
                    writer.write_scalars(step, {f"validation_{k}": v for k, v in figures.items()})
                # the student's loss says how well it agrees with itself: of its checkpoints the last is the best
                loss = figures.get("loss") if name != DISTILL else None
                progress = update_progress(progress, loss, step, total, config.patience)
                with doing("saving"):
                    if checkpoints:
                        checkpoints.save(step, state, meta | progress._asdict(), loss)
                if evaluate_samples and due and (step // config.checkpoint_every) % config.sheet_every == 0:
                    path = workdir.root / name / "sheets" / f"step_{step:06d}.png"
                    with doing("drawing the sheet"):
                        pixels, figures = evaluate_samples(state.ema[decay], path)
                    writer.write_image(step, "sheet", pixels)
                    writer.write_scalars(step, figures)
                if stop:
                    log(f"{name}: stopped and saved at step {step} of {total}")
                    raise Stopped(stop)
                if progress.finished:
                    break
                compilation_cache.release_memory()
                timer.restart(step)
    if step < total:
        best = f"{progress.best_validation_loss:.4f}"
        log(f"{name}: ended early, {progress.since_best} checkpoints since the least validation loss {best}")
    log(f"{name}: done at step {step}; checkpoints in {workdir.checkpoints(name)}")
    return state.ema


def restore_or_init(
    run: TrainingRun,
    setup: stages.StageSetup,
    checkpoints: Checkpoints | None,
    depends: str,
    may_train: bool,
    frozen: Frozen,
) -> tuple[TrainState, int, Progress]:
    """(state on the devices, its step, progress) that a stage starts with. In this order:

    1. the last checkpoint that can be read, finished or to be trained on;
    2. anew, if that one was trained on other embeddings, or by another teacher: it is set aside;
    3. a student from its teacher;
    4. from those of the same stage in `init_from`, or random ones.

    The first process reads and writes, the others are sent the result. InputError if the stage would have to be trained
    and `may_train` is false.
    """
    name, shapes, found = setup.name, jax.eval_shape(setup.init), None

    def restore() -> dict[str, Any]:
        nonlocal found
        found = checkpoints.restore_latest(shapes, run.log.log)
        meta = checkpoints.meta(found[0]) if found else {}
        if found:
            check_meta(meta, run.workdir.checkpoints(name) / str(found[0]))
        if found and meta["depends"] != depends:
            if not may_train:
                raise InputError(f"stage {name} was trained on another encoder: run train.py with --config.stage=all")
            moved, found = run.workdir.set_aside(name), None
            cause = "teacher" if name == DISTILL else "encoder"
            run.log.log(f"{name}: the {cause} has changed since; it is trained anew, the old one is in {moved}")
        progress = Progress(*(meta[field] for field in Progress._fields)) if found else Progress()
        if not may_train and not (progress.finished and progress.total_steps == setup.total_steps):
            raise InputError(
                f"stage {name} in {run.workdir.root} is not finished: run train.py with --config.stage=all"
            )
        return {"step": found[0] if found else 0, "found": bool(found), "progress": progress._asdict()}

    start = parallel.broadcast_from_first(restore)
    if start["found"]:
        local = found[1] if found else jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
        state = parallel.broadcast_arrays(local)
    elif name == DISTILL:
        state = distillation.make_first_student(setup.init, frozen)
    else:
        state = warm_start.make_first_state(setup.init, run.config.init_from, name, run.log.log)
    return parallel.replicate(state), start["step"], Progress(**start["progress"])


def update_progress(progress: Progress, loss: float | None, step: int, total: int, patience: int) -> Progress:
    """After a checkpoint at `step`, whose validation loss is `loss` if it was measured."""
    best, since_best = progress.best_validation_loss, progress.since_best
    if loss is not None:
        best, since_best = (loss, 0) if best is None or loss < best else (best, since_best + 1)
    ended = step == total or bool(patience and since_best >= patience)
    return Progress(ended, total, best, since_best)


# ----------------------------------------------------------------------------- pieces of a stage


def write_metrics(
    writer: StageMetricWriter,
    pending: tuple[int, dict[str, jax.Array], int],
    timer: cost_analysis.StepTimer,
    config: ConfigDict,
    name: str,
) -> float:
    """Writes a step's metrics, (step, metrics, timesteps), fetched from the device; returns the seconds a step takes.

    InputError after `max_skipped` updates in a row that were left out for non-finite gradients.
    """
    step, metrics, timesteps = pending
    values = {k: float(v) for k, v in jax.device_get(metrics).items()}
    pace = timer.seconds_per_step(step)
    values |= {"images_per_second": config[name].batch_size / pace} | (
        {"segments" if name == DISTILL else "timesteps": timesteps} if timesteps else {}
    )
    writer.write_scalars(step, values)
    if values["skipped_in_a_row"] >= config.max_skipped:
        raise InputError(
            f"{name}: {values['skipped_in_a_row']:.0f} updates in a row had non-finite gradients at step {step}: "
            f"lower {name}.optimizer.learning_rate, or train with --config.precision=float32"
        )
    return pace


def dry_run(config: ConfigDict, workdir: Workdir, note: str) -> None:
    """Prints `note`, what each stage would start from and take; compiles, trains nothing, leaves nothing behind."""
    with contextlib.ExitStack() as stack:
        make = lambda: stack.enter_context(tempfile.TemporaryDirectory(dir=shared_folder(workdir)))  # noqa: E731
        empty = Workdir(parallel.broadcast_from_first(make))
        place, source = (workdir, NO_MODEL) if workdir.config.is_file() else (empty, config.init_from)
        data = prepare_data(config, place)
        log = RunLog(empty, parallel.is_first()).log
        if note:
            log(note)
        shapes = constant_shapes(config, len(data.dataset.users))
        constants = {name: np.zeros(shape.shape, shape.dtype) for name, shape in shapes.items()}
        zeros = Embeddings(np.zeros((len(data.dataset), condition_size(config)), np.float32), constants, "", 0.0)
        for name in stages.stage_names(config):
            embeddings = NO_EMBEDDINGS if name == "encoder" else zeros
            users, windows = len(data.dataset.users), len(data.rows["train"])
            setup = stages.set_up_stage(config, name, users, windows, embeddings.constants)
            shapes = jax.eval_shape(setup.init)
            if name != DISTILL and (line := warm_start.describe_first_state(shapes, source, name)):
                log(line)
            if not setup.total_steps:
                log(f"{name}: not trained, {name}.epochs is 0")
                continue
            batch = next(parallel.prefetch(make_batches(config, name, data, embeddings, "train")))
            state = parallel.lowering_arguments(shapes)
            frozen = distillation.teacher_shapes(config, users) if name == DISTILL else NOTHING_FROZEN
            with doing(f"{name}: compiling the training step"):
                cost = setup.measure_cost(1, state, batch, parallel.lowering_arguments(frozen))
            size = config[name].batch_size
            plan = cost_analysis.plan_stage(name, size, windows, shapes, setup.total_steps, cost)
            log(cost_analysis.format_plan(plan))
        parallel.wait_for_all("dry run")  # before the first removes the folder


def shared_folder(workdir: Workdir) -> Path | None:
    """A folder for temporary files that all processes reach, as they reach the working directory; None: any will do."""
    return next(p for p in workdir.root.parents if p.is_dir()) if jax.process_count() > 1 else None
