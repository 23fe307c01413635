"""A trained model as users of Python see it, and where it comes from."""

import base64
import html
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mdiff_jax.config import spectrogram_shape
from mdiff_jax.inference import base_model, exported, loading, sampling_jobs, user_adapters, user_windows
from mdiff_jax.inference.model import Model as TrainedModel
from mdiff_jax.inference.sampling_jobs import SamplingJob
from mdiff_jax.inference.user_windows import UserWindows
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.ranges import SEED
from mdiff_jax.runtime.workdir import Workdir
from mdiff_jax.validation import RANGES

SHOWN_USERS = 20  # of those whose names a notebook shows
GivenWindows = np.ndarray | str | Path  # (n, F, T) in [-1, 1] as `Model.sample` returns them, or a file or folder


class Model(TrainedModel):
    """A trained model: draws windows of its users, learns to know new ones, and shows itself in a notebook.

    `users` are those it was trained on, `enrolled` those added since, `config` its configuration. Windows are float32
    (n, F, T) in [-1, 1], -1 the noise floor, row 0 the highest velocity, time to the right; `to_image` colors them.

        model = mdiff_jax.load("runs/gait")
        windows = model.sample("ID_1", n=4)
        images = model.to_image(windows)
    """

    __slots__ = ()

    def vary(
        self, windows: GivenWindows, user: str | None = None, strength: float = 1.0, n: int = 1, seed: int = 0
    ) -> np.ndarray:
        """Draws `n` variations of each window: walks with its embedding, as `user` walks.

        `windows` are an array (m, F, T), or a file or folder, read as the recordings were; without `user` folders name
        the users. Of `strength`, above 0 to 1, 1 keeps the embedding alone, less also what is coarse in the window
        itself. Returns (m * n, F, T), window after window. Raises InputError for windows of another size, and for users
        that the model does not know.

            windows = model.sample("ID_1", n=4)
            more = model.vary(windows, "ID_1", strength=0.6, n=8)
            more = model.vary("recordings/ID_1/ID1_walk_001.jpg", strength=0.6)
        """
        check_draws(n, seed)
        job = sampling_jobs.variations(self, read_given(self, windows, user), strength, n, seed)
        return draw_job(job, seed)

    def interpolate(self, first: str, second: str, steps: int = 8, n: int = 1, seed: int = 0) -> np.ndarray:
        """Draws `n` strips of windows that lead from one user to another in `steps`, 2 to 100.

        Returns (n, steps, F, T); all windows of a strip have the same noise. Raises InputError for users that the model
        does not know, or who have weights of their own.

            [strip] = model.interpolate("ID_1", "ID_3", steps=8)
        """
        check_draws(n, seed)
        job = sampling_jobs.interpolate(self, (first, second), steps, n, seed)
        drawn = draw_job(job, seed)
        return drawn.reshape(n, steps, *drawn.shape[1:])

    def walk(
        self, user: str, seconds: float, n: int = 1, seed: int = 0, window_seconds: float | None = None
    ) -> np.ndarray:
        """Draws `n` walks of `seconds`, longer than a window, (n, F, longer T).

        `window_seconds` is the duration of a window, for recordings that do not say it. Raises InputError where it is
        needed.

            walks = model.walk("ID_1", seconds=10)
        """
        check_draws(n, seed)
        return draw_job(sampling_jobs.long_walks(self, [user], n, seed, seconds, window_seconds), seed)

    def enroll(self, name: str, windows: GivenWindows, finetune: bool = False, save: bool = False) -> "Model":
        """Returns the model that also knows the person of these 5 to 20 windows, as `name`; nobody else changes.

        `windows` are an array (m, F, T), or a file or folder. Takes seconds where the model knows people by reference
        windows, as the base model does, and a minute with `finetune`, or where it does not. With `save` the person is
        also written into the working directory, where `load` and the commands find it. Raises InputError for a name
        that is taken, and for too few windows or too many.

            model = mdiff_jax.load("runs/gait").enroll("ID_11", "new_person")
            windows = model.sample("ID_11", n=4)
        """
        from mdiff_jax.training import enrollment

        root = self.root if save else None
        if save and not (root and root.is_dir()):
            raise InputError("this model was not loaded from a folder that could keep the person: leave out save")
        enrollment.check_user_name(self, name)
        knows_nobody = not self.num_users and not isinstance(windows, np.ndarray)
        options = user_windows.free_options(self) if knows_nobody else None
        given = read_given(self, windows, name, options)
        known = base_model.draw_as(self, given) if knows_nobody else self
        adapter = enrollment.make_adapter(known, given, finetune, f"what is given of '{name}'")
        if root:
            user_adapters.write_adapter(Workdir(root).enrolled / f"{name}.npz", adapter)
        return known.with_users(self.enrolled | {name: adapter})

    def save(self, path: str | Path, about: str = "") -> None:
        """Writes the model without its recordings to a new folder, or to one file that ends in .safetensors.

        Weights are float16, users enrolled since stay behind; `load` reads both. `about` goes into the model card.
        Raises InputError for what exists already.

            model.save("gait.safetensors")
            model = mdiff_jax.load("gait.safetensors")
        """
        export = exported.export_file if Path(path).suffix == exported.SUFFIX else exported.export_model
        export(self, Path(path), about)

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th style="text-align: left">{html.escape(name)}</th>'
            f'<td style="text-align: left; white-space: normal">{html.escape(text)}</td></tr>'
            for name, text in describe(self).items()
        )
        sheet = self.root / "grid.png" if self.root else None
        picture = ""
        if sheet and sheet.is_file():
            data = base64.b64encode(sheet.read_bytes()).decode()
            picture = f'<img src="data:image/png;base64,{data}" alt="samples" style="max-width: 100%; width: 640px">'
        return f"<div><table><tbody>{rows}</tbody></table>{picture}</div>"


def load(root: str | Path, settings: Mapping[str, Any] | None = None) -> Model:
    """Loads the model of a working directory whose stages are all finished, or one that `Model.save` wrote.

    `settings` go over its configuration: {"decoder.sample_timesteps": 16, "sample.cond_scale": 2.0}. Raises InputError
    that names the stage that is missing, or the file that is damaged.

        model = mdiff_jax.load("runs/gait")
        windows = model.sample("ID_1", n=4)
    """
    return Model(*loading.load(root, settings))


def load_base(like: str | Path | None = None, settings: Mapping[str, Any] | None = None) -> Model:
    """Loads the base model, which was trained on simulated people and ships with the package.

    It knows nobody but the people of `like`: a folder of one person's windows, at least 5, or one with a folder for
    each. Windows come out on the axes of these files. Raises InputError for files that cannot be read, and for too few
    of a person.

        model = mdiff_jax.load_base(like="recordings")
        windows = model.sample(list(model.enrolled), n=4)
    """
    return Model(*base_model.load_base(like, settings))


# ----------------------------------------------------------------------------- what is given


def check_draws(n: int, seed: int) -> None:
    RANGES["sample.num_samples_per_user"].check("n", n)
    SEED.check("seed", seed)


def read_given(model: Model, windows: GivenWindows, user: str | None, options: Any = None) -> UserWindows:
    """Returns windows that are given as an array, which are all of `user`, or as files."""
    if not isinstance(windows, np.ndarray):
        return user_windows.read_user_windows(model, Path(windows), user, options)
    if user is None:
        raise InputError("an array of windows does not say whose they are: give user")
    return user_windows.take_user_windows(model, {user: windows})


def draw_job(job: SamplingJob, seed: int) -> np.ndarray:
    """Returns the windows of a job, in its order."""
    return job.model.draw([task.request for task in job.tasks], seed, job.function, job.length)


def describe(model: Model) -> dict[str, str]:
    """Returns what a notebook shows of a model: name of an aspect → text."""
    rows, frames = spectrogram_shape(model.config)[:2]
    nobody = "none: enroll people, or load the base model like their recordings"
    shown = {} if model.enrolled and not model.users else {"users": list_names(model.users) if model.users else nobody}
    shown |= {"enrolled": list_names(list(model.enrolled))} if model.enrolled else {}
    columns = f"up to {frames} frames" if model.config.data.native_frames else f"{frames} frames"
    shown["windows"] = f"{rows} Doppler rows, {columns}, files of {' x '.join(map(str, model.image_size()))}"
    if count := len(model.dataset):
        shown["recordings"] = f"{count} windows, {len(model.split['train'])} of them trained on"
    drawn = model.drawn_by or f"drawn by the decoder in {model.decoder_steps} steps"
    shown["networks"] = f"trained for {model.prior_step} and {model.step} steps; {drawn}"
    if model.root:
        saved = Workdir(model.root).checkpoints("decoder") / str(model.step)
        places = (saved, Workdir(model.root).weights, model.root)
        if place := next((place for place in places if place.exists()), None):
            shown["saved"] = f"{time.strftime('%Y-%m-%d', time.localtime(place.stat().st_mtime))} in {model.root}"
    return shown


def list_names(users: Sequence[str]) -> str:
    """Returns how many users there are, and the names of some."""
    more = f" and {len(users) - SHOWN_USERS} more" if len(users) > SHOWN_USERS else ""
    return f"{len(users)}: {', '.join(users[:SHOWN_USERS])}{more}"
