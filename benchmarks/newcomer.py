"""Leaves people out of training, adds them from a few windows, and evaluates the windows that are drawn of them.

python benchmarks/newcomer.py --workdir=runs/gait --output=runs/newcomers [--models=base,trained] [--leave_out=2]
    [--given=5,10,20] [--windows=33] [--scale=1.0] [--epochs=N]

Users of --workdir are left out --leave_out at a time, and each is added from so many windows, one after the other in
time: to the base model, which has seen no real person, and to a model trained with the configuration of --workdir on
the other users, both with and without fine-tuning. Split, judges and real windows are those of --workdir. One table;
the reports lie in WORKDIR/reports. The same command resumes after an interruption.
"""

import argparse
import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from mdiff_jax import load, load_base
from mdiff_jax.config import from_plain_dict
from mdiff_jax.data import export
from mdiff_jax.evaluation.run import judge_samples
from mdiff_jax.inference import people, sample_writer
from mdiff_jax.inference.model import Model
from mdiff_jax.runtime import cli
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir
from mdiff_jax.training import enrollment, train_loop

MODELS = ("base", "trained")
COLUMNS = {  # of the table: metric and judge of the report
    "identified, convolutional judge": ("accuracy", "convolutional judge"),
    "identified, linear judge": ("accuracy", "linear judge"),
    "plausible": ("plausible", None),
    "variety": ("median variety", None),
    "kernel distance": ("kernel distance", "convolutional judge"),
    "AUC, gradients": ("told from recorded ones", "gradients"),
    "taught by them": ("train on generated, test on real", "convolutional judge"),
    "suspected copies": ("suspected copies", None),
}


class Way(NamedTuple):
    """A way to add a person."""

    model: str  # one of MODELS
    given: int  # windows
    finetune: bool

    @property
    def name(self) -> str:
        return f"{self.model}_{self.given}{'_finetuned' * self.finetune}"


def ways(models: list[str], given: list[int]) -> Iterator[Way]:
    """Yields all of them."""
    for model in models:
        for finetune in (False, True):
            yield from (Way(model, count, finetune) for count in given)


def training_windows(known: Model, user: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns so many training windows of a user (n, F, T, C), one after the other in time, and their frames."""
    rows = known.dataset.rows(known.split["train"])
    rows = np.sort(rows[known.dataset.user_ids[rows] == known.index(user)])
    if len(rows) < count:
        raise InputError(f"'{user}' has {len(rows)} training windows: give --given of so many at most")
    return known.dataset.load(rows[:count]), known.dataset.frames[rows[:count]]


def train_without(known: Model, workdir: Path, left_out: list[str], output: Path, epochs: int | None) -> Path:
    """Trains a working directory with the configuration of another one, on its other users; returns it."""
    config = from_plain_dict(Workdir(workdir).read_config())
    config.decoder.epochs = epochs or config.decoder.epochs
    others, recordings = output / "others", Path(config.data.path)
    if (
        not others.exists()
        and config.data.kind == "folder"
        and all((recordings / user).is_dir() for user in known.users)
    ):
        for user in set(known.users) - set(left_out):
            shutil.copytree(recordings / user, output / "copying" / user, dirs_exist_ok=True)
        (output / "copying").rename(others)
    elif not others.exists():
        rows = np.flatnonzero(~np.isin(np.array(known.users)[known.dataset.user_ids], left_out))
        export.export_windows(known.dataset, rows, others, "images", "png")
    config.data.update(kind="folder", path=str(others.absolute()))
    train_loop.train(config, output / "run")
    return output / "run"


def add_person(model: Model, known: Model, user: str, way: Way) -> Model:
    """Returns the model with the user added, and no other."""
    windows, frames = training_windows(known, user, way.given)
    if windows.shape[1:3] != model.dataset.image_size:
        raise InputError(f"windows are {windows.shape[1:3]}, the model's {model.dataset.image_size}: give another one")
    make = people.person_adapter if model.config.people.references else enrollment.fit_adapter
    adapter = make(model, windows, frames)
    if way.finetune:
        adapter = enrollment.finetune_adapter(model, adapter, windows, frames)
    return model.with_users({user: adapter})


def draw(model: Model, known: Model, users: list[str], way: Way, folder: Path, count: int) -> None:
    """Draws windows of users who are added one by one, as FOLDER/USER, in files like the recordings'."""
    model = model._replace(dataset=dataclasses.replace(model.dataset, metadata=known.dataset.metadata))
    for user in users:
        parts = folder.with_name(f"{folder.name}_parts") / user
        if not (folder / user).is_dir():
            sample_writer.write_samples(add_person(model, known, user, way), [user], count, 0, parts)
            folder.mkdir(exist_ok=True)
            (parts / user).rename(folder / user)


def read_report(workdir: Path, folder: Path) -> dict[tuple[str, str | None], dict]:
    """Returns the figures of a folder's report, which is made where there is none."""
    path = workdir / "reports" / folder.name / "report.json"
    if not path.is_file():
        judge_samples(workdir, folder)
    return {(f["metric"], f["judge"]): f for f in json.loads(path.read_text())["figures"]}


def write_row(title: str, figures: dict[tuple[str, str | None], dict], value: str) -> None:
    cells = (figures.get(key, {}).get(value) for key in COLUMNS.values())
    print(f"| {title} | {' | '.join('–' if cell is None else f'{cell:.3f}' for cell in cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, required=True, help="working directory of train.py, of all users")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--models", type=lambda text: text.split(","), default=list(MODELS))
    parser.add_argument("--leave_out", type=int, default=2, help="users that are left out together")
    parser.add_argument("--given", type=lambda text: [int(n) for n in text.split(",")], default=[5, 10, 20])
    parser.add_argument("--windows", type=int, default=33, help="drawn of each user")
    parser.add_argument("--scale", type=float, default=1.0, help="of guidance, of prior and decoder alike")
    parser.add_argument("--epochs", type=int, help="of the decoder of trained models, if not those of --workdir")
    given = parser.parse_args()
    if strange := set(given.models) - set(MODELS):
        raise InputError(f"--models names '{strange.pop()}': give {' or '.join(MODELS)}")
    settings = {"sample.cond_scale": given.scale, "sample.prior_cond_scale": given.scale}
    known = load(given.workdir)
    users = list(known.users)
    groups = [users[i : i + given.leave_out] for i in range(0, len(users), given.leave_out)]
    trained = {}
    if "trained" in given.models:
        for group in groups:
            output = given.output / f"without_{'_'.join(group)}"
            root = train_without(known, given.workdir, group, output, given.epochs)
            trained[group[0]] = root
    print(f"| added to, from so many windows | {' | '.join(COLUMNS)} |\n{'|---' * (1 + len(COLUMNS))}|", flush=True)
    for way in ways(given.models, given.given):
        folder = given.output / f"{way.name}_guidance{given.scale:g}_{given.windows}"
        for group in groups:
            model = load(trained[group[0]], settings) if way.model == "trained" else load_base(settings=settings)
            draw(model, known, group, way, folder, given.windows)
        figures = read_report(given.workdir, folder)
        write_row(way.name.replace("_", ", "), figures, "generated")
    write_row("real unseen windows", figures, "real")


if __name__ == "__main__":
    cli.guard(main)
