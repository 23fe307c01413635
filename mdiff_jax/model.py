"""A trained working directory as one object: users in, spectrograms out."""

import difflib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from mdiff_jax import build, generate
from mdiff_jax.checkpoint import Checkpoints
from mdiff_jax.data import builders, export, splits
from mdiff_jax.errors import InputError
from mdiff_jax.types import Windows
from mdiff_jax.workdir import Workdir


class Model(NamedTuple):
    """What `load` gives. `config.sample` holds the defaults of `sample`."""

    config: ConfigDict
    users: tuple[str, ...]
    params: dict[str, Any]  # 'prior', 'decoder': averaged parameters
    dataset: builders.Dataset
    split: dict[str, list[str]]
    step: int  # of the decoder's checkpoint

    def sample(self, users: Sequence[str], n: int, seed: int = 0) -> np.ndarray:
        """(len(users) * n, F, T) in [-1, 1], user after user; sample i of a user depends on `seed` and i alone.

        An 'rgb' model gives (…, F, T, 3). Raises InputError for a user it was not trained on.
        """
        requests = self.requests(users, range(n))
        return np.concatenate([x for _, x in self.draw(requests, seed)])

    def requests(self, users: Sequence[str], sample_ids: Sequence[int]) -> list[generate.Request]:
        """What to draw, user after user."""
        if repeated := [user for user in users if list(users).count(user) > 1]:
            raise InputError(f"user '{repeated[0]}' is asked for twice: name each user once")
        return [generate.Request(user, self._index(user), i) for user in users for i in sample_ids]

    def draw(
        self, requests: Sequence[generate.Request], seed: int
    ) -> Iterator[tuple[Sequence[generate.Request], np.ndarray]]:
        """Chunks of `requests` with their windows, as they come off the devices."""
        function = build.draw(self.config, len(self.users))
        size = min(self.config.sample.batch_size, len(requests))
        for chunk, out in generate.generate(function, self.params, requests, seed=seed, batch_size=size):
            x = out["spectrogram"]
            yield chunk, x if x.shape[-1] == 3 else x[..., 0]

    def to_image(self, x: np.ndarray) -> np.ndarray:
        """(…, F, T) in [-1, 1] → (…, F, T, 3) uint8 in the data set's colour map; RGB windows are only scaled."""
        rgb = self.config.data.channels == "rgb"
        return export.to_image(x if rgb else x[..., None], self.dataset.metadata["colormap"])

    def image_size(self) -> tuple[int, int]:
        """(rows, columns) of the data set's own images."""
        return tuple(self.dataset.metadata["original_size"])

    def windows(self, name: str) -> tuple[Windows, np.ndarray]:
        """Real windows of a split and their users' indices."""
        position = {file: i for i, file in enumerate(self.dataset.files)}
        rows = np.array([position[file] for file in self.split[name]], int)
        x = self.dataset.load(rows)
        return (x if x.shape[-1] == 3 else x[..., 0]), self.dataset.user_ids[rows]

    def _index(self, user: str) -> int:
        if user not in self.users:
            near = difflib.get_close_matches(user, self.users, 1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise InputError(f"user '{user}' is unknown: {hint}the users are {', '.join(self.users)}")
        return self.users.index(user)


def load(root: str | Path) -> Model:
    """The model in a working directory whose stages are all finished; nothing else is needed to sample.

    Raises InputError that names the stage that is missing.
    """
    workdir = Workdir(root)
    config = build.from_plain(workdir.read_config())
    if workdir.chosen.is_file():  # by a sweep, as defaults of sampling
        config.update_from_flattened_dict(build.with_tuples(json.loads(workdir.chosen.read_text())))
    params, meta, depends = {}, {}, []
    for name in build.STAGES:
        if not workdir.checkpoints(name).is_dir():
            raise InputError(f"{workdir.root} has no finished stage {name}: run train.py on it to the end")
        with Checkpoints(workdir.checkpoints(name)) as checkpoints:
            step = checkpoints.latest()
            meta = checkpoints.meta(step) if step is not None else {"total_steps": 1, "finished": False}
            if not meta["finished"]:
                raise InputError(
                    f"{workdir.root}: stage {name} is at step {step or 0} of {meta['total_steps']}: "
                    "run train.py with this --workdir to the end"
                )
            if name == "encoder":
                continue
            depends.append(meta["depends"])
            if depends[0] != depends[-1]:
                raise InputError(f"{workdir.root}: prior and decoder are of two encoders: run train.py to the end")
            if config.sample.checkpoint == "best":
                step = checkpoints.best()
            stage = build.stage(config, name, len(meta["users"]))
            shapes = jax.eval_shape(stage.init, jax.random.key(0))
            decay = str(config.sample.ema_decay)
            params[name] = checkpoints.restore_part(step, {"ema": {decay: shapes}})["ema"][decay]
    dataset = builders.open_prepared(workdir.data)
    return Model(config, tuple(meta["users"]), params, dataset, splits.read(workdir.split), step)
