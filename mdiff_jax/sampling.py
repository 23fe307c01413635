"""Samples as a folder that training can read: an image a sample, a sheet, and where each came from."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from mdiff_jax import __version__, pictures
from mdiff_jax.data import export
from mdiff_jax.errors import InputError
from mdiff_jax.generate import Request
from mdiff_jax.model import Model
from mdiff_jax.workdir import write_json


def write_samples(model: Model, users: Sequence[str], count: int, seed: int, folder: Path) -> list[Path]:
    """Draws `count` samples of each user into FOLDER/USER/USER_seedS_NNNN.png; returns the files.

    Images that are there already are kept, so an interrupted call goes on where it stopped, and a larger `count` adds.
    Each file appears whole or not at all. Raises InputError if the folder holds samples drawn with other settings.
    """
    if count < 1:
        raise InputError(f"num_samples_per_user is {count}: give at least 1")
    requests = model.requests(users, range(count))
    settings = describe(model, seed)
    done = earlier(folder, settings)

    def path_of(r: Request) -> Path:
        return folder / r.user / f"{r.user}_seed{seed}_{r.sample_id:04d}.png"

    missing = [r for r in requests if not path_of(r).is_file()]
    if missing:
        write_json(folder / "provenance.json", settings | {"complete": False, "files": done})
        with tqdm(total=len(missing), desc="samples", unit="image", file=sys.stderr) as bar:
            for chunk, windows in model.draw(missing, seed):
                for request, image in zip(chunk, model.to_image(windows), strict=True):
                    export.write_image(path_of(request), image, model.image_size())
                bar.update(len(chunk))
    done |= {path_of(r).relative_to(folder).as_posix(): {"user": r.user, "sample_id": r.sample_id} for r in requests}
    write_json(folder / "provenance.json", settings | {"complete": True, "files": done})
    write_grid(folder / "grid.png", model, {u: [path_of(r) for r in requests if r.user == u] for u in users})
    return [path_of(r) for r in requests]


def folder_of(model: Model, parent: Path, seed: int) -> Path:
    """A folder named by the settings that most often change."""
    s, steps = model.config.sample, model.config.decoder.sample_timesteps
    return parent / f"seed{seed}_{s.sampler}{steps}_cond{s.cond_scale}_prior{s.prior_cond_scale}"


def describe(model: Model, seed: int) -> dict:
    """What decides the pixels of a sample."""
    c = model.config
    return {
        "seed": seed,
        "cond_scale": c.sample.cond_scale,
        "prior_cond_scale": c.sample.prior_cond_scale,
        "sampler": c.sample.sampler,
        "spacing": c.sample.spacing,
        "eta": c.sample.eta,
        "prior_sample_timesteps": c.prior.sample_timesteps,
        "decoder_sample_timesteps": c.decoder.sample_timesteps,
        "ema_decay": c.sample.ema_decay,
        "checkpoint_step": model.step,
        "data_fingerprint": model.dataset.fingerprint,
        "version": __version__,
    }


def earlier(folder: Path, settings: dict) -> dict:
    """The files an earlier call with the same settings wrote; InputError if the settings were others."""
    path = folder / "provenance.json"
    if not path.is_file():
        return {}
    before = json.loads(path.read_text())
    for key, value in settings.items():
        if before.get(key) != value:
            raise InputError(
                f"{folder} holds samples with {key}={before.get(key)!r}, now it is {value!r}: give another --output_dir"
            )
    return before["files"]


def write_grid(path: Path, model: Model, files: dict[str, list[Path]]) -> None:
    """A row a user: real test windows beside generated ones, as many as `summary.grid_columns` of each."""
    columns = model.config.summary.grid_columns
    real, real_users = model.windows("test")
    rows = {}
    for user, paths in files.items():
        mine = real[real_users == model.users.index(user)]
        spread = np.linspace(0, len(mine) - 1, min(columns, len(mine))).astype(int)
        generated = np.stack([np.asarray(Image.open(p).convert("RGB")) for p in paths[:columns]])
        rows[user] = (model.to_image(mine[spread]), generated)
    pictures.grid(path, rows, model.dataset.metadata.get("zero_doppler"))
