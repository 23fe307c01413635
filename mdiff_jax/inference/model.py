"""A trained model as one object: users in, spectrograms out."""

import difflib
import functools
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from mdiff_jax.config import Params, from_plain_dict, to_plain_dict
from mdiff_jax.data import builders, export
from mdiff_jax.inference import denoisers, pipeline, user_adapters
from mdiff_jax.inference.drawn_windows import DrawnWindows, close_gap, to_image_axes
from mdiff_jax.inference.sample_calibration import Calibration
from mdiff_jax.inference.weight_updates import add_update
from mdiff_jax.runtime import parallel
from mdiff_jax.runtime.array_types import Windows
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.ranges import SEED
from mdiff_jax.validation import validate

BAR_DELAY = 2  # seconds that drawing takes before its progress is shown


AnyModel = TypeVar("AnyModel", bound="Model")


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
    weaker: Mapping[str, Params] = MappingProxyType({})  # 'prior', 'decoder': those of early checkpoints, if they guide
    calibration: Calibration | None = None  # which drawn windows go through
    student: Params = MappingProxyType({})  # averaged parameters of the decoder's student, if it draws in its place
    student_step: int = 0  # of its checkpoint
    instead: str = ""  # why the decoder draws itself, where there is a student
    root: Path | None = None  # folder or file that it was loaded from

    def __repr__(self) -> str:
        return f"<mdiff_jax.Model of {self.num_users} users>"  # the arrays would fill pages

    def sample(self, users: str | Sequence[str], n: int, seed: int = 0) -> np.ndarray:
        """Draws `n` windows of each of these users, or of one.

        Returns (len(users) * n, F, T) in [-1, 1], user after user; window i of a user depends on `seed` and i alone.
        With native frames F and T are those of the recordings' images, else those of the model; row 0 is the highest
        velocity. An 'rgb' model gives (…, F, T, 3). Raises InputError for a user it does not know.

            model = mdiff_jax.load("runs/gait")
            windows = model.sample("ID_1", n=4, seed=0)
            images = model.to_image(windows)  # (4, F, T, 3) uint8
        """
        return self.draw(self.requests([users] if isinstance(users, str) else users, range(n)), seed)

    def draw(
        self,
        requests: Sequence[pipeline.SampleRequest],
        seed: int,
        function: pipeline.SampleFunction | None = None,
        length: float = 1.0,
    ) -> np.ndarray:
        """Returns the windows of requests on the axes of the recordings' images, `length` windows long; shows progress
        where that takes long. `function` is that of `run`.
        """
        SEED.check("seed", seed)
        hidden, parts = not parallel.is_first(), []
        with tqdm(total=len(requests), desc="samples", unit="window", delay=BAR_DELAY, disable=hidden) as bar:
            for chunk, windows in self.run(requests, seed, function):
                parts.append(to_image_axes(windows, self.dataset.metadata, length))
                bar.update(len(chunk))
        return np.concatenate(parts)

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
        fine_tuned = self.fine_tuned
        for user, own in itertools.groupby(requests, lambda request: fine_tuned.get(request.index)):
            variables = self.variables_of(user)
            for chunk, out in pipeline.run_requests(function, variables, [*own], seed=seed, batch_size=size):
                x = close_gap(out["spectrogram"], self.dataset.metadata, self.config.decoder.floor_margin)
                x = self.calibration.apply(x) if self.calibration else x
                yield chunk, DrawnWindows(x if x.shape[-1] == 3 else x[..., 0], out["frames"])

    def window_sampler(self) -> pipeline.SampleFunction:
        """The function that samples windows; the same one while the configuration is the same, so compiled once."""
        return cached_window_sampler(json.dumps(to_plain_dict(self.config)), len(self.users), bool(self.student))

    def decoder_sampler(self) -> denoisers.SamplerSpec:
        """The decoder or its student as windows are drawn by it."""
        return denoisers.drawing_sampler(self.config, len(self.users), bool(self.student))

    @property
    def decoder_steps(self) -> int:
        """Steps in which the decoder, or its student, draws."""
        return self.decoder_sampler().settings.sample_timesteps

    def with_teacher(self: AnyModel, because: str) -> AnyModel:
        """The model that draws by the decoder itself, for what a student cannot do; `because` says what."""
        return self._replace(student=MappingProxyType({}), student_step=0, instead=because) if self.student else self

    def with_steps(self: AnyModel, steps: int) -> AnyModel:
        """The model that draws in so many steps: those of the student, or else of prior and decoder alike.

        InputError for more than there are timesteps.
        """
        config = self.config.copy_and_resolve_references()
        for name in ("distill",) if self.student else ("prior", "decoder"):
            config[name].sample_timesteps = steps
        validate(config)
        return self._replace(config=config)

    @property
    def drawn_by(self) -> str:
        """A line that says which of the two draws, decoder or student; '' where there is no choice."""
        if self.student:
            other = f"with --teacher by the decoder, in {self.config.decoder.sample_timesteps}"
            return f"drawn by the student in {self.decoder_steps} steps ({other})"
        return f"drawn by the decoder in {self.decoder_steps} steps: {self.instead}" if self.instead else ""

    @property
    def people(self) -> dict[str, dict[str, np.ndarray]]:
        """User → what a sample function takes beside the index: with `people.references` {'person': (P,)}."""
        if not self.config.people.references:
            return {user: {} for user in (*self.users, *self.enrolled)}
        people = dict(zip(self.users, self.constants["people"], strict=True))
        people |= {user: adapter.person for user, adapter in self.enrolled.items()}
        return {user: {"person": person} for user, person in people.items()}

    def variables_of(self, user: str | None = None) -> dict[str, pipeline.Variables]:
        """{'prior', 'decoder'} → the collections that the network is applied to, and a weaker one's parameters; with
        the updates of a `user` that was fine-tuned.
        """
        updates = self.enrolled[user].updates if user else {}
        variables: dict[str, pipeline.Variables] = {}
        for name in ("prior", "decoder"):
            collections: dict[str, Any] = {"params": self.params[name]}
            if name in self.weaker:
                collections[pipeline.WEAKER] = self.weaker[name]
            if name == "decoder" and self.student:
                collections = {"params": self.student}  # it has learned where a weaker one leads
            if name in updates:
                collections = {key: add_update(params, updates[name]) for key, params in collections.items()}
            if name in self.adapters:
                collections["user_adapters"] = self.adapters[name]
            variables[name] = collections
        return variables

    @property
    def fine_tuned(self) -> dict[int, str]:
        """Index → user, of those whose own weights draw their windows."""
        users = enumerate(self.enrolled, len(self.users))
        return {i: user for i, user in users if self.enrolled[user].updates}

    @property
    def drawing_steps(self) -> list[int]:
        """Steps of the checkpoints that windows are drawn by: of prior, decoder, and a student in its place."""
        return [self.prior_step, self.step, *([self.student_step] if self.student else [])]

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

    def with_users(self: AnyModel, enrolled: Mapping[str, user_adapters.UserAdapter]) -> AnyModel:
        """The model with these users enrolled, and no others."""
        rows, users = len(self.params["prior"]["user"]["embedding"]) - 1, len(self.users)
        adapters = user_adapters.stack_adapters([*enrolled.values()], users, rows) if enrolled else {}
        return self._replace(enrolled=dict(enrolled), adapters=adapters)

    def require_recordings(self) -> None:
        """Raises InputError for a model that was exported, which has left its recordings behind."""
        if not len(self.dataset):
            raise InputError("an exported model has no recordings: give the working directory that it was trained in")

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

    def index(self, user: str) -> int:  # type: ignore[override]
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
def cached_window_sampler(config: str, num_users: int, student: bool) -> pipeline.SampleFunction:
    """The window sampler of a configuration given as JSON."""
    values = from_plain_dict(json.loads(config))
    decoder = denoisers.drawing_sampler(values, num_users, student)
    return pipeline.make_window_sampler(denoisers.prior_sampler(values, num_users), decoder)
