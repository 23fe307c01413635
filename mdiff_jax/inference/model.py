"""A trained working directory as one object: users in, spectrograms out."""

import difflib
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from mdiff_jax.config import (
    STAGES,
    Params,
    check_same_configuration,
    from_plain_dict,
    parameter_shapes,
    person_size,
    spectrogram_shape,
    to_plain_dict,
)
from mdiff_jax.data import builders, export, splits
from mdiff_jax.inference import chosen_settings, denoisers, pipeline, user_adapters
from mdiff_jax.inference.drawn_windows import DrawnWindows, close_gap, to_image_axes
from mdiff_jax.runtime import parallel
from mdiff_jax.runtime.array_types import Windows
from mdiff_jax.runtime.checkpointing import CheckpointReader
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.user_names import check_user_names
from mdiff_jax.runtime.workdir import Workdir, refuse_damage
from mdiff_jax.validation import check_value, validate

ENCODER_DECAY = "encoder_decay"  # of prior and decoder: which average of the encoder gave their embeddings
META_TYPES = {"config": dict, "users": list, "finished": bool, "total_steps": int, "depends": str}  # of every stage


class Model(NamedTuple):
    """A trained model and its data set, as `load` returns them. `config.sample` holds the defaults of `sample`."""

    config: ConfigDict
    users: tuple[str, ...]  # trained users
    enrolled: dict[str, user_adapters.UserAdapter]  # users enrolled since
    params: dict[str, Params]  # 'encoder', 'prior', 'decoder': averaged parameters
    adapters: dict[str, user_adapters.Adapters]  # 'prior', 'decoder': the collection of the enrolled users
    constants: dict[str, np.ndarray]  # 'embedding_mean' (D,), 'embedding_deviation' (); see `people`
    dataset: builders.Dataset
    split: dict[str, list[str]]
    step: int  # of the decoder's checkpoint
    prior_step: int

    def sample(self, users: Sequence[str], n: int, seed: int = 0) -> np.ndarray:
        """(len(users) * n, F, T) in [-1, 1], user after user; sample i of a user depends on `seed` and i alone.

        With native frames F and T are those of the recordings' images, else those of the model. An 'rgb' model gives
        (…, F, T, 3). Raises InputError for a user it does not know.
        """
        requests = self.requests(users, range(n))
        drawn = [windows for _, windows in self.run(requests, seed)]
        return np.concatenate([to_image_axes(windows, self.dataset.metadata) for windows in drawn])

    def requests(self, users: Sequence[str], sample_ids: Sequence[int]) -> list[pipeline.SampleRequest]:
        """A request for each sample, user after user."""
        if not users or not len(sample_ids):
            raise InputError("no samples are asked for: give one user and one sample at least")
        if repeated := [user for user in users if list(users).count(user) > 1]:
            raise InputError(f"user '{repeated[0]}' is given twice: give each user once")
        index, told = {user: self.index(user) for user in users}, self.people
        return [pipeline.SampleRequest(user, index[user], i, told[user]) for user in users for i in sample_ids]

    def run(
        self,
        requests: Sequence[pipeline.SampleRequest],
        seed: int,
        function: pipeline.SampleFunction | None = None,
        batch_size: int | None = None,
    ) -> Iterator[tuple[Sequence[pipeline.SampleRequest], DrawnWindows]]:
        """Yields chunks of `requests` with their windows, as they come off the devices.

        `function` is one of those that `pipeline` makes, `window_sampler()` by default; chunks are of
        `sample.batch_size`, or of all requests where they are fewer.
        """
        function = function or self.window_sampler()
        size = batch_size or min(self.config.sample.batch_size, len(requests))
        for chunk, out in pipeline.run_requests(function, self.variables, requests, seed=seed, batch_size=size):
            x = close_gap(out["spectrogram"], self.dataset.metadata, self.config.decoder.floor_margin)
            yield chunk, DrawnWindows(x if x.shape[-1] == 3 else x[..., 0], out["frames"])

    def window_sampler(self) -> pipeline.SampleFunction:
        """The function that samples windows; the same one while the configuration is the same, so compiled once."""
        return cached_window_sampler(json.dumps(to_plain_dict(self.config)), len(self.users))

    @property
    def people(self) -> dict[str, dict[str, np.ndarray]]:
        """User → what a sample function takes beside the index: with `people.references` {'person': (P,)}."""
        if not self.config.people.references:
            return {user: {} for user in (*self.users, *self.enrolled)}
        people = dict(zip(self.users, self.constants["people"], strict=True))
        people |= {user: adapter.person for user, adapter in self.enrolled.items()}
        return {user: {"person": person} for user, person in people.items()}

    @property
    def variables(self) -> dict[str, pipeline.Variables]:
        """{'prior', 'decoder'} → the collections that the network is applied to."""
        adapters = {name: {"user_adapters": collection} for name, collection in self.adapters.items()}
        return {name: {"params": self.params[name], **adapters.get(name, {})} for name in ("prior", "decoder")}

    def embed(self, windows: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """(n, F, T, C) in [-1, 1] and their frames (n,) → (n, D) embeddings as prior and decoder know them:
        standardised as in training, and with native frames their number as one more.
        """
        batch = {"spectrogram": windows, "frames": frames}
        z = parallel.compile_map(denoisers.make_encoder(self.config))(self.params["encoder"], batch)
        z = self.standardise(z)
        return denoisers.append_frames(z, frames, windows.shape[2]) if self.config.data.native_frames else z

    def standardise(self, z: np.ndarray) -> np.ndarray:
        """Unit embeddings of the encoder → those of the prior."""
        return (z - self.constants["embedding_mean"]) / self.constants["embedding_deviation"]

    def to_image(self, x: np.ndarray) -> np.ndarray:
        """(…, F, T) in [-1, 1] → (…, F, T, 3) uint8 in the data set's colour map; RGB windows are only scaled."""
        rgb = self.config.data.channels == "rgb"
        return export.to_image(x if rgb else x[..., None], self.dataset.metadata["colormap"])

    def image_size(self) -> tuple[int, int]:
        """(rows, columns) of the data set's own images."""
        return tuple(self.dataset.metadata["original_size"])

    def windows(self, name: str) -> tuple[Windows, np.ndarray]:
        """Real windows of a part of the split and their users' indices."""
        rows = self.dataset.rows(self.split[name])
        x = self.dataset.load(rows)
        return (x if x.shape[-1] == 3 else x[..., 0]), self.dataset.user_ids[rows]

    @property
    def num_users(self) -> int:
        """Trained and enrolled users."""
        return len(self.users) + len(self.enrolled)

    def index(self, user: str) -> int:
        """Row of a user in the networks' tables; InputError if there is none, or one that belongs to other weights."""
        known = (*self.users, *self.enrolled)
        if user not in known:
            near = difflib.get_close_matches(user, known, 1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise InputError(f"user '{user}' is unknown: {hint}the users are {', '.join(known)}")
        steps = (self.prior_step, self.step)
        if user in self.enrolled and self.enrolled[user].steps != steps:
            raise InputError(
                f"'{user}' was enrolled when prior and decoder were at steps {self.enrolled[user].steps}, they are at "
                f"{steps}: remove the file in WORKDIR/enrolled and enroll again"
            )
        return known.index(user)


@functools.lru_cache(maxsize=4)
def cached_window_sampler(config: str, num_users: int) -> pipeline.SampleFunction:
    """The window sampler of a configuration given as JSON."""
    values = from_plain_dict(json.loads(config))
    return pipeline.make_window_sampler(
        denoisers.prior_sampler(values, num_users), denoisers.decoder_sampler(values, num_users)
    )


def load(root: str | Path, settings: Mapping[str, Any] | None = None) -> Model:
    """The model in a working directory whose stages are all finished; nothing else is needed to sample.

    `settings` go over its configuration, {"decoder.sample_timesteps": 16}. Raises InputError that names the stage that
    is missing.
    """
    # ------------------------------------------------------------------- configuration
    workdir = Workdir(root)
    values = workdir.read_config()
    try:
        config = from_plain_dict(values)
    except InputError as error:
        raise InputError(f"{workdir.config}: {error}") from None
    config.update_from_flattened_dict(chosen_settings.read_chosen(workdir.chosen, to_plain_dict(config)))
    for key, value in (settings or {}).items():
        check_value(key, value)
        config.update_from_flattened_dict({key: value})
    validate(config)

    # ------------------------------------------------------------------- data
    dataset = builders.open_prepared(workdir.data)
    split = read_known_split(workdir, dataset)

    # ------------------------------------------------------------------- checkpoints
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
    params = {name: stage.params for name, stage in stages.items()}

    # ------------------------------------------------------------------- users enrolled since
    sizes = spectrogram_shape(config), person_size(config)
    shapes = user_adapters.adapter_shapes(params["prior"], params["decoder"], *sizes)
    paths = sorted(workdir.enrolled.glob("[!.]*.npz"))
    check_user_names((*dataset.users, *(path.stem for path in paths)), workdir.root)
    enrolled = {path.stem: user_adapters.read_adapter(path, shapes) for path in paths}
    return Model(
        config,
        users=dataset.users,
        enrolled=enrolled,
        params=params,
        adapters=user_adapters.stack_adapters([*enrolled.values()], len(dataset.users)) if enrolled else {},
        constants=stages["decoder"].constants,
        dataset=dataset,
        split=split,
        step=stages["decoder"].step,
        prior_step=stages["prior"].step,
    )


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
    checkpoints = CheckpointReader(workdir.checkpoints(name))

    def read() -> tuple[int, dict[str, Any]] | None:
        step = checkpoints.latest()
        return None if step is None else (step, checkpoints.meta(step))

    found = checkpoints.read_while_written(read)
    if found is None:
        raise InputError(f"{workdir.root} has no finished stage {name}: run train.py on it to the end")
    step, meta = found
    check_meta(meta, checkpoints.directory / str(step))
    if not meta["finished"]:
        raise InputError(
            f"{workdir.root}: stage {name} is at step {step} of {meta['total_steps']}: "
            "run train.py with this --workdir to the end"
        )
    return meta


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


def restore_stage(workdir: Workdir, config: ConfigDict, name: str, decay: float) -> RestoredStage:
    """The latest checkpoint of a stage, or the best of prior or decoder where the configuration says so."""
    checkpoints = CheckpointReader(workdir.checkpoints(name))

    def read() -> RestoredStage:
        best = name != "encoder" and config.sample.checkpoint == "best"
        step = checkpoints.best() if best else checkpoints.latest()
        users = len(checkpoints.meta(step)["users"])
        like = {"ema": {str(decay): parameter_shapes(config, name, users)}}
        like |= {} if name == "encoder" else {"constants": constant_shapes(config, users)}
        state = {"constants": {}} | checkpoints.restore_part(step, like)
        return RestoredStage(step, state["ema"][str(decay)], state["constants"])

    return checkpoints.read_while_written(read)


def constant_shapes(config: ConfigDict, num_users: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of what is measured on the training embeddings."""
    shapes = {"embedding_mean": (config.encoder.embedding_dim,), "embedding_deviation": ()}
    shapes |= {"people": (num_users, person_size(config))} if config.people.references else {}
    return {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in shapes.items()}
