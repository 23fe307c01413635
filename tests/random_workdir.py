"""Working directories that look trained and take seconds to make, since their parameters are random."""

import shutil
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from configs import tiny
from mdiff_jax.config import STAGES, from_plain_dict, parameter_shapes, person_size, to_plain_dict
from mdiff_jax.data import builders, export, splits
from mdiff_jax.inference.loading import TEACHER_STEPS, load, read_finished_meta, restore_stage
from mdiff_jax.inference.model import Model
from mdiff_jax.inference.user_adapters import UserAdapter, write_adapter
from mdiff_jax.runtime.checkpointing import Checkpoints
from mdiff_jax.runtime.workdir import Workdir, write_json
from mdiff_jax.validation import DISTILL

STEPS = 2  # of sampling


def make_workdir(
    root: Path,
    users: int = 2,
    recordings: int = 6,
    windows: int = 2,
    native: bool = False,
    people: dict[str, Any] = MappingProxyType({}),
    path: Path | None = None,
) -> Path:
    """A working directory whose stages look finished, all at step 3; heads are random too. Returns `root`.

    With `native` windows keep their own frames, of which walkers have 36 to 60. `people` are keys of that part.
    With `path` these are the users and recordings that lie there.
    """
    workdir = Workdir(root)
    config = tiny.get_config()
    config.data.update(image_size=(16, 64) if native else (16, 16), native_frames=native)
    config.data.walkers.update(num_users=users, recordings_per_user=recordings, windows_per_recording=windows)
    config.encoder.update(embedding_dim=4, channels=(8, 8), patch=(2, 2))
    config.prior.update(width=8, depth=1, heads=2, sample_timesteps=STEPS)
    config.decoder.update(channels=(8, 8), patch=(2, 2), cond_width=8, head_width=8, sample_timesteps=STEPS)
    config.sample.update(num_samples_per_user=2, batch_size=2)
    config.people.update(people)
    if path:
        config.data.update(kind="folder", path=str(path))
    c = config.data
    dataset = builders.prepare_dataset(
        kind=c.kind,
        path=c.path,
        image_size=c.image_size,
        cache_dir=workdir.data,
        channels=c.channels,
        colormap_name=c.colormap,
        native_frames=native,
        stft=dict(c.stft),
        walkers=dict(c.walkers),
    )
    splits.write_split(
        workdir.split, splits.make_split(dataset, fractions=c.fractions, by=c.split_by, gap=c.gap, seed=0)
    )
    write_json(workdir.config, to_plain_dict(config))
    constants = {"embedding_mean": np.full(4, 0.1, np.float32), "embedding_deviation": np.float32(0.4)}
    meta = {"config": to_plain_dict(config), "users": dataset.users, "finished": True, "total_steps": 3}
    meta |= {"depends": "one encoder"}
    rng = np.random.default_rng(0)
    if config.people.references:
        constants["people"] = rng.normal(size=(len(dataset.users), person_size(config))).astype(np.float32)
    for name in STAGES:
        shapes = parameter_shapes(config, name, len(dataset.users))
        params = jax.tree_util.tree_map_with_path(
            lambda path, x: 0.2 * rng.normal(size=x.shape).astype(np.float32) + (path[-1].key == "scale"), shapes
        )
        ema = {str(config.sample.ema_decay): params}
        with Checkpoints(workdir.checkpoints(name)) as checkpoints:
            checkpoints.save(3, {"ema": ema} | ({} if name == "encoder" else {"constants": constants}), meta)
    return workdir.root


def add_student(root: Path, meta: dict[str, Any] = MappingProxyType({}), seed: int = 0) -> Path:
    """Adds a student of the decoder to a working directory, finished at step 4, four segments at last. Returns `root`.

    `meta` are other values than those that training would save beside it.
    """
    workdir = Workdir(root)
    values = workdir.read_config()
    values["distill"]["curriculum"] = [[8, 1], [4, 1]]
    write_json(workdir.config, values)
    decoder, config, rng = read_finished_meta(workdir, "decoder"), from_plain_dict(values), np.random.default_rng(seed)
    step = decoder.pop("step")
    own = {"config": values, TEACHER_STEPS: decoder["total_steps"], "depends": f"{decoder['depends']}-a teacher"}
    shapes = parameter_shapes(config, DISTILL, len(decoder["users"]))
    params = jax.tree_util.tree_map_with_path(
        lambda path, x: 0.2 * rng.normal(size=x.shape).astype(np.float32) + (path[-1].key == "scale"), shapes
    )
    state = {"ema": {str(config.sample.ema_decay): params}}
    state["constants"] = restore_stage(workdir, config, "decoder", config.sample.ema_decay, step).constants
    with Checkpoints(workdir.checkpoints(DISTILL)) as checkpoints:
        checkpoints.save(4, state, decoder | own | {"total_steps": 4} | dict(meta))
    return root


def write_stranger(trained: Model, folder: Path) -> Path:
    """Six windows of one person in FOLDER/stranger, as images; returns that folder."""
    for i, x in enumerate(trained.dataset.load(np.arange(6))):
        image = export.to_image(x, trained.dataset.metadata["colormap"])
        export.write_image(folder / "stranger" / f"walk_{i}.png", image, trained.image_size())
    return folder / "stranger"


def load_with_new_user(root: Path, target: Path) -> Model:
    """The model of a copy of `root` at `target`, to which a user NEW with random parameters was added."""
    shutil.copytree(root, target, dirs_exist_ok=True)
    model, rng = load(target), np.random.default_rng(1)
    draw = lambda *shape: 0.2 * rng.normal(size=shape).astype(np.float32)  # noqa: E731
    rows = [draw(model.params[name]["user"]["embedding"].shape[1]) for name in ("prior", "decoder")]
    blocks = {name: p["modulation"]["bias"] for name, p in model.params["decoder"].items() if "modulation" in p}
    modulations = {name: draw(len(bias)) for name, bias in blocks.items()}
    given, frames = model.dataset.load(np.arange(6)), model.dataset.frames[:6]
    write_adapter(Workdir(target).enrolled / "NEW.npz", UserAdapter(*rows, modulations, given, frames, (3, 3)))
    return load(target)
