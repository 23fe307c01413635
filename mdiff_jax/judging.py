"""From folders to a report: reads the samples, asks `evaluate`, writes report.md and report.json."""

from pathlib import Path

import numpy as np

from mdiff_jax import __version__, evaluate
from mdiff_jax.data import builders, sources, splits
from mdiff_jax.errors import InputError
from mdiff_jax.model import Model, load
from mdiff_jax.types import Windows
from mdiff_jax.workdir import Workdir, write_json


def judge(root: str | Path, samples: Path | None) -> str:
    """Judges a folder of images against the working directory's data; returns the report and the files' places."""
    workdir, model = Workdir(root), load(root)
    folder = newest(workdir.samples) if samples is None else samples
    windows, users = read(model, folder)
    figures = evaluate.evaluate(
        evaluate.WindowSet(*real(model, "train")),
        evaluate.WindowSet(*real(model, "test")),
        evaluate.WindowSet(windows, users),
        model.dataset.metadata["zero_doppler"],
    )
    about = {
        "samples": f"{folder}, {len(windows)} windows of {len(np.unique(users))} of {len(model.users)} users",
        "real windows": f"{len(model.split['train'])} for training the judge, {len(model.split['test'])} unseen",
        "test windows that leak from training": "unknown" if (share := leaking(model)) is None else f"{share:.0%}",
        "version": __version__,
    }
    text = evaluate.report(figures, about)
    workdir.root.joinpath("report.md").write_text(text)
    write_json(workdir.root / "report.json", {"about": about, "figures": [f._asdict() for f in figures]})
    return f"{text}\nwritten to {workdir.root / 'report.md'} and report.json"


def leaking(model: Model) -> float | None:
    """Share of test windows that have pixels in common with a training window; None where the order is unknown."""
    share = splits.leaking(model.dataset, model.split, model.config.data.gap)
    return None if np.isnan(share) else share


def newest(parent: Path) -> Path:
    """The folder of samples that was finished last."""
    finished = sorted(parent.glob("*/provenance.json"), key=lambda path: path.stat().st_mtime)
    if not finished:
        raise InputError(f"{parent} holds no samples: run sample.py, or give --samples=FOLDER")
    return finished[-1].parent


def read(model: Model, folder: Path) -> tuple[Windows, np.ndarray]:
    """Images as somebody would read them who has only the files: (N, F, T) in [-1, 1], and users' indices."""
    items = [
        item for user in model.users if (folder / user).is_dir() for item in sources.scan_user(folder, folder / user)
    ]
    if not items:
        raise InputError(f"'{folder}' holds no folder of a user of this model: {', '.join(model.users)}")
    strangers = sorted({p.name for p in folder.iterdir() if p.is_dir()} - set(model.users))
    if strangers:
        raise InputError(f"'{folder}' holds '{strangers[0]}', which is no user of this model: take it out")
    config = model.config.data
    name = model.dataset.metadata["colormap"] or "auto"
    examples = builders.folder_examples(folder, items, model.dataset.image_size, config.channels, name)
    windows = np.stack([window.mean(-1) for _, window, _ in examples])
    return windows, np.array([model.users.index(item.user) for item in items])


def real(model: Model, name: str) -> tuple[Windows, np.ndarray]:
    """Real windows of a split, one channel."""
    windows, users = model.windows(name)
    return (windows.mean(-1) if windows.ndim == 4 else windows), users
