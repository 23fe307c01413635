"""The windows that are judged: which folder of samples, what is in it, and the real ones to compare with."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mdiff_jax.data import export, sources, splits
from mdiff_jax.data.examples import ReadOptions, read_examples
from mdiff_jax.inference import provenance, user_windows
from mdiff_jax.inference.drawn_windows import DrawnWindows, load_comparison_windows, to_comparison_grid
from mdiff_jax.inference.model import Model
from mdiff_jax.metrics.reference import WindowSet
from mdiff_jax.runtime.array_types import Windows
from mdiff_jax.runtime.errors import InputError


def find_newest_samples(parent: Path) -> Path:
    """Returns the folder of plain samples that was finished last; InputError if there is none."""
    by_time = sorted(parent.glob("*/provenance.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in by_time:
        record = provenance.read_record(path.parent)
        if record["complete"] and provenance.job_kind(record) == "plain":
            return path.parent
    others = f" (folders of other kinds or unfinished: {len(by_time)})" if by_time else ""
    raise InputError(f"{parent} holds no finished plain samples{others}: run sample.py, or give --samples=FOLDER")


def is_own(model: Model, folder: Path, files: Sequence[str]) -> bool:
    """Returns whether a folder holds finished samples of this model of single windows of users, and nothing else."""
    record = provenance.read_record(folder)
    return (
        record is not None
        and record["complete"]
        and provenance.job_kind(record) in ("plain", "filter")
        and record.get("data_fingerprint") == model.dataset.fingerprint
        and set(files) == record["files"].keys()
    )


def read_sample_set(model: Model, folder: Path) -> WindowSet:
    """Reads images as anybody would who has only the files, with their names; users enrolled since training follow the
    trained ones. InputError where the folder holds anything but single windows of the model's users.
    """
    items, users = scan_samples(model, folder), (*model.users, *model.enrolled)
    windows, frames = read_grid(model, folder, items)
    indices = np.array([users.index(item.user) for item in items])
    return WindowSet(windows, indices, files=np.array([item.file for item in items]), frames=frames)


def read_grid(model: Model, folder: Path, items: list[sources.WindowSource]) -> tuple[Windows, np.ndarray | None]:
    """Reads files as the model's recordings were read: windows as judges see them, and their frames, if known."""
    # without native frames, samples have a column or a block of equal columns for each frame of the model
    examples = list(read_examples(folder, items, sample_options(model, folder)))
    windows, frames = np.stack([e.window for e in examples]), np.array([e.frames for e in examples])
    return to_grid(model, windows, frames), known_frames(model, frames)


def write_windows(model: Model, given: user_windows.UserWindows, folder: Path) -> None:
    """Writes windows as files that the model's recordings could be, USER/NNNN.png or .jpg; InputError for a user whom
    the model does not know.
    """
    metadata = model.dataset.metadata
    for user in dict.fromkeys(given.users):
        model.index(user)
    suffix = export.image_suffix(metadata, None)
    for file, window, frames in zip(given.files, given.windows, given.frames.tolist(), strict=True):
        export.write_window(folder / f"{file}.{suffix}", window, frames, metadata)


def sample_options(model: Model, folder: Path) -> ReadOptions:
    """Returns the options that the model's recordings were read by. Colors of samples that say how they were made are
    not asked for: a model that has learnt nothing yet draws noise, which JPEG takes far off the colormap.
    """
    return user_windows.read_options(model)._replace(strict_colors=provenance.read_record(folder) is None)


def scan_samples(model: Model, folder: Path) -> list[sources.WindowSource]:
    """Lists the windows in a folder of samples; InputError where it holds anything but single windows of the model's
    users.
    """
    if not folder.is_dir():
        raise InputError(f"'{folder}' is no folder: give one with a folder of images for each user")
    record, users = provenance.read_record(folder), (*model.users, *model.enrolled)
    if record and (kind := provenance.job_kind(record)) in ("interpolate", "seconds"):
        raise InputError(f"'{folder}' was sampled with --{kind}, single windows of users are judged: give another one")
    present = [path.name for path in sources.list_visible(folder) if path.is_dir()]
    if strangers := sorted(set(present) - set(users)):
        raise InputError(f"'{folder}' holds '{strangers[0]}', which is no user of this model: remove it")
    stft = user_windows.read_options(model).stft
    items = [item for user in users if user in present for item in sources.scan_user(folder, folder / user, stft)]
    if not items:
        raise InputError(f"'{folder}' holds no windows of a user of this model: {', '.join(users)}")
    return items


def to_grid(model: Model, windows: np.ndarray, frames: np.ndarray) -> Windows:
    """Returns windows (n, F, T, C), which fill so many frames each, as one channel at the size that judges see."""
    return to_comparison_grid(DrawnWindows(windows.mean(-1), frames), model.dataset.metadata)


def known_frames(model: Model, frames: np.ndarray) -> np.ndarray | None:
    """Returns the frames, None where windows have no number of their own."""
    return frames if model.dataset.metadata["native"] else None


# ----------------------------------------------------------------------------- real windows


def real_window_set(model: Model, name: str, users: np.ndarray | None = None) -> WindowSet:
    """Returns real windows of a split as one channel, as judges see them, with users' indices, recordings, indices,
    files, and the configured gap; those of some `users` (indices), or of all. InputError if the split has none.
    """
    if not model.split[name]:
        raise InputError(f"the split has no {name} windows: they are needed, give a share in data.fractions")
    files = np.array(model.split[name])
    rows = model.dataset.rows(files.tolist())
    if users is not None:
        mine = np.isin(model.dataset.user_ids[rows], users)
        rows, files = rows[mine], files[mine]
    recordings, indices = np.array(model.dataset.recordings)[rows], model.dataset.indices[rows]
    frames = known_frames(model, model.dataset.frames[rows])
    windows = load_comparison_windows(model.dataset, rows)
    return WindowSet(windows, model.dataset.user_ids[rows], recordings, indices, files, model.config.data.gap, frames)


def enrolled_window_set(model: Model) -> WindowSet | None:
    """Returns the windows kept of users who were enrolled; None without any."""
    kept = {name: to_grid(model, a.windows, a.frames) for name, a in model.enrolled.items()}
    if not any(map(len, kept.values())):
        return None
    users = np.repeat(np.arange(len(kept)) + len(model.users), [len(x) for x in kept.values()])
    files = [f"enrolled/{name}.npz#{i}" for name, x in kept.items() for i in range(len(x))]
    return WindowSet(np.concatenate([*kept.values()]), users, files=np.array(files))


def leaking_share(model: Model) -> float | None:
    """Returns the share of test windows that share pixels with a training window; None if their order is unknown."""
    share = splits.leaking_share(model.dataset, model.split, model.config.data.gap)
    return None if np.isnan(share) else share
