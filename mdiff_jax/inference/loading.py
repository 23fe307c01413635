"""Models from disk: from a working directory that train.py has finished, or from the files of an exported model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from mdiff_jax.config import (
    STAGES,
    Params,
    constant_shapes,
    from_plain_dict,
    parameter_shapes,
    person_size,
    spectrogram_shape,
    to_plain_dict,
    with_settings,
)
from mdiff_jax.data import builders, splits
from mdiff_jax.inference import chosen_settings, denoisers, exported, sample_calibration, user_adapters
from mdiff_jax.inference.model import Model
from mdiff_jax.inference.same_configuration import check_same_configuration
from mdiff_jax.runtime.checkpointing import CheckpointReader
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.user_names import check_user_names
from mdiff_jax.runtime.workdir import Workdir, refuse_damage
from mdiff_jax.validation import DISTILL, EARLY, validate

ENCODER_DECAY = "encoder_decay"  # of prior and decoder: which average of the encoder gave their embeddings
TEACHER_STEPS = "teacher_steps"  # of the student: that its teacher, the decoder, was trained for
META_TYPES = {"config": dict, "users": list, "finished": bool, "total_steps": int, "depends": str}  # of every stage


def load(root: str | Path, settings: Mapping[str, Any] | None = None) -> Model:
    """The model in a working directory whose stages are all finished, in a folder of `exported.export_model`, or in a
    file of `exported.export_file`; nothing else is needed to sample.

    `settings` go over its configuration, {"decoder.sample_timesteps": 16}. Raises InputError that names the stage that
    is missing.
    """
    workdir, in_one_file = Workdir(root), Path(root).is_file()
    values = exported.read_header(Path(root))["config"] if in_one_file else workdir.read_config()
    try:
        config = from_plain_dict(values)
    except InputError as error:
        raise InputError(f"{root if in_one_file else workdir.config}: {error}") from None
    config.update_from_flattened_dict(chosen_settings.read_chosen(workdir.chosen, to_plain_dict(config)))
    config = with_settings(config, settings or {})
    validate(config)
    if in_one_file:
        return exported.read_exported_file(Path(root), config)._replace(root=Path(root).absolute())
    read = exported.read_exported if workdir.weights.exists() else read_trained
    model = add_enrolled(read(workdir, config), workdir)._replace(root=workdir.root)
    return model if config.sample.calibration_windows else model._replace(calibration=None)


def read_trained(workdir: Workdir, config: ConfigDict) -> Model:
    """The model of a working directory, without users enrolled since."""
    dataset, values = builders.open_prepared(workdir.data), workdir.read_config()
    split = read_known_split(workdir, dataset)
    metas = {name: read_finished_meta(workdir, name) for name in STAGES}
    if metas["prior"]["depends"] != metas["decoder"]["depends"]:
        raise InputError(f"{workdir.root}: prior and decoder belong to two encoders: run train.py to the end")
    for name, meta in metas.items():
        with refuse_damage(workdir.checkpoints(name), "remove it, then run train.py"):
            check_same_configuration(meta["config"], values, where=str(workdir.checkpoints(name)))
        if meta["users"] != list(dataset.users):
            raise InputError(f"{workdir.checkpoints(name)} has other users than {workdir.data}: restore one of the two")
    encoder_decay = read_encoder_decay(workdir, metas["decoder"])
    stages = {
        name: restore_stage(workdir, config, name, encoder_decay if name == "encoder" else config.sample.ema_decay)
        for name in STAGES
    }
    student, instead = read_student(workdir, config, metas["decoder"])
    model = Model(
        config,
        users=dataset.users,
        enrolled={},
        params={name: stage.params for name, stage in stages.items()},
        adapters={},
        constants=stages["decoder"].constants,
        dataset=dataset,
        split=split,
        step=stages["decoder"].step,
        prior_step=stages["prior"].step,
        weaker=read_weaker(workdir, config) if config.sample.guide == EARLY else {},
        student=student.params if student else {},
        student_step=student.step if student else 0,
        instead=instead,
    )
    calibration = sample_calibration.read_calibration(workdir.calibration(bool(model.student)), model.drawing_steps)
    return model._replace(calibration=calibration)


def read_student(
    workdir: Workdir, config: ConfigDict, decoder_meta: dict[str, Any]
) -> tuple["RestoredStage | None", str]:
    """The averages of the decoder's student, where it stands for the decoder as `config` would draw from it; otherwise
    None, and why it does not ('' where there is no such stage).
    """
    meta = None if config.sample.teacher else find_meta(workdir, DISTILL)
    if meta is None:
        return None, ""
    with refuse_damage(workdir.checkpoints(DISTILL), "remove it, then run train.py"):
        if not meta["finished"]:
            return None, "the stage distill is not finished"
        if (meta[TEACHER_STEPS], meta["depends"].partition("-")[0]) != (
            decoder_meta["total_steps"],
            decoder_meta["depends"],
        ):
            return None, "the decoder was trained on since, repeat the stage distill"
        if different := denoisers.find_untaught(from_plain_dict(meta["config"]), config):
            return None, different
    return restore_stage(workdir, config, DISTILL, config.sample.ema_decay), ""


def read_weaker(workdir: Workdir, config: ConfigDict) -> dict[str, Params]:
    """The averages of the earliest checkpoints of prior and decoder. Where only the last one was kept, of a short
    training, there is nothing to be led away from, and guidance changes nothing.
    """
    steps = {name: CheckpointReader(workdir.checkpoints(name)).steps()[0] for name in ("prior", "decoder")}
    decay = config.sample.ema_decay
    return {name: restore_stage(workdir, config, name, decay, step).params for name, step in steps.items()}


def add_enrolled(model: Model, workdir: Workdir) -> Model:
    """The model with the users that were enrolled in its folder."""
    paths = sorted(workdir.enrolled.glob("[!.]*.npz"))
    if not paths:
        return model
    check_user_names((*model.users, *(path.stem for path in paths)), workdir.root)
    sizes = spectrogram_shape(model.config), person_size(model.config)
    shapes = user_adapters.adapter_shapes(model.params["prior"], model.params["decoder"], *sizes)
    return model.with_users({path.stem: user_adapters.read_adapter(path, shapes, model.params) for path in paths})


def read_known_split(workdir: Workdir, dataset: builders.Dataset) -> splits.Split:
    """Reads split.json; InputError if it names a file that the data set does not hold."""
    split, known = splits.read_split(workdir.split), set(dataset.files)
    if strange := next((file for files in split.values() for file in files if file not in known), None):
        raise InputError(f"{workdir.split} names '{strange}', which the prepared data do not hold: restore it")
    return split


class RestoredStage(NamedTuple):
    """One stage's checkpoint."""

    step: int
    params: Params  # averaged
    constants: dict[str, np.ndarray]  # the encoder has none


def read_finished_meta(workdir: Workdir, name: str) -> dict[str, Any]:
    """Reads what was saved beside the parameters of a finished stage: 'users', 'depends' and more. InputError if the
    stage is not finished.
    """
    meta = find_meta(workdir, name)
    if meta is None:
        raise InputError(f"{workdir.root} has no finished stage {name}: run train.py on it to the end")
    if not meta["finished"]:
        raise InputError(
            f"{workdir.root}: stage {name} is at step {meta['step']} of {meta['total_steps']}: "
            "run train.py with this --workdir to the end"
        )
    return meta


def find_meta(workdir: Workdir, name: str) -> dict[str, Any] | None:
    """Reads what was last saved beside a stage's parameters, with its 'step'; None where nothing was."""
    checkpoints = CheckpointReader(workdir.checkpoints(name))

    def read() -> tuple[int, dict[str, Any]] | None:
        step = checkpoints.latest()
        return None if step is None else (step, checkpoints.meta(step))

    found = checkpoints.read_while_written(read)
    if found is None:
        return None
    step, meta = found
    check_meta(meta, checkpoints.directory / str(step))
    return meta | {"step": step}


def read_encoder_decay(workdir: Workdir, meta: dict[str, Any]) -> float:
    """The average of the encoder that the decoder with this `meta` was trained on, whatever it is sampled with."""
    with refuse_damage(workdir.checkpoints("decoder"), "remove it, then run train.py"):
        older = meta["config"]["sample"]["ema_decay"]  # what versions took that did not record it
        return float(meta.get(ENCODER_DECAY, older))


def check_meta(meta: dict[str, Any], path: Path) -> None:
    """Raises InputError unless what was saved beside a stage's state has the types that training writes."""
    for key, kind in META_TYPES.items():
        if not isinstance(meta.get(key), kind):
            raise InputError(f"checkpoint {path} does not say its '{key}': remove it, then run train.py")


def restore_stage(
    workdir: Workdir, config: ConfigDict, name: str, decay: float, chosen: int | None = None
) -> RestoredStage:
    """The checkpoint of a stage at the step `chosen`; by default the latest, or the best of prior or decoder where the
    configuration says so.
    """
    checkpoints = CheckpointReader(workdir.checkpoints(name))

    def read() -> RestoredStage:
        best = name in ("prior", "decoder") and config.sample.checkpoint == "best"
        step = chosen or (checkpoints.best() if best else checkpoints.latest())
        users = len(checkpoints.meta(step)["users"])
        like: dict[str, Any] = {"ema": {str(decay): parameter_shapes(config, name, users)}}
        like |= {} if name == "encoder" else {"constants": constant_shapes(config, users)}
        state: dict[str, Any] = {"constants": {}} | checkpoints.restore_part(step, like)
        return RestoredStage(step, state["ema"][str(decay)], state["constants"])

    return checkpoints.read_while_written(read)
