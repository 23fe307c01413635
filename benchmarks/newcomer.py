"""Enrolls a user that a model has not seen, and evaluates the windows generated for that user.

python benchmarks/newcomer.py --workdir=runs/quickstart --user=walker_06 --output=runs/without_06 [--windows=32]

A model with the configuration of --workdir is trained on its other users, and the user is enrolled from twenty training
windows. The judges and the real windows are those of --workdir. The same command resumes after an interruption.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from mdiff_jax import load
from mdiff_jax.config import from_plain_dict
from mdiff_jax.data import export
from mdiff_jax.evaluation import sample_folders, user_measures
from mdiff_jax.evaluation.report import LEFT_OUT
from mdiff_jax.inference import sample_writer
from mdiff_jax.inference.model import Model
from mdiff_jax.metrics.comparison import Figure
from mdiff_jax.metrics.reference import MeasuredSet, Reference, make_reference
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir
from mdiff_jax.training import enrollment, train_loop

GIVEN = 20  # windows to enroll from
GUIDANCE = ((1.0, ()), (1.5, ()), (2.0, (-3.0, 3.0)), (2.0, ()))  # scale, interval of log-SNR
COLUMNS = ("accuracy", "plausible", "kernel distance", "suspected copies")


def take_apart(known: Model, user: int, output: Path) -> None:
    """Exports the windows of the others, and `GIVEN` training windows of the user, as folders of images."""
    users, train = known.dataset.user_ids, known.dataset.rows(known.split["train"])
    mine = train[users[train] == user]
    if len(mine) < GIVEN:
        raise InputError(f"'{known.users[user]}' has {len(mine)} training windows: give a user of {GIVEN} at least")
    rows = {"others": np.flatnonzero(users != user), "given": mine[:: len(mine) // GIVEN][:GIVEN]}
    for name, chosen in rows.items():
        if not (output / name).exists():
            export.export_windows(known.dataset, chosen, output / name, "images", "png")


def train(root: Path, output: Path) -> Path:
    """Trains a working directory with the configuration of `root`, without the user; returns it."""
    config = from_plain_dict(Workdir(root).read_config())
    config.data.update(kind="folder", path=str((output / "others").absolute()))
    train_loop.train(config, output / "run")
    return output / "run"


def cell(value: float | None, ends: tuple[float, float] | None) -> str:
    if value is None:
        return LEFT_OUT
    return f"{value:.2f} ({ends[0]:.2f} to {ends[1]:.2f})" if ends else f"{value:.2f}"


def figures(reference: Reference, test: MeasuredSet, generated: MeasuredSet, user: int) -> dict[str, Figure]:
    return {f.metric: f for f in user_measures.figures_by_user(reference, test, generated)[user] if f.metric in COLUMNS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("workdir", "user", "output"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--windows", type=int, default=32, help="samples for each guidance")
    given = parser.parse_args()
    known, output = load(given.workdir), Path(given.output)
    user = known.index(given.user)
    take_apart(known, user, output)
    workdir = train(Path(given.workdir), output)

    # ------------------------------------------------------------------- enroll
    began = time.perf_counter()
    if not (Workdir(workdir).enrolled / f"{given.user}.npz").is_file():
        enrollment.enroll(workdir, given.user, output / "given")
        print(f"enrolled in {time.perf_counter() - began:.0f} s")

    # ------------------------------------------------------------------- sample and evaluate
    real = sample_folders.real_window_set(known, "train").sort_by_content()
    reference = make_reference(real, known.dataset.metadata["zero_doppler"])
    test, lines = reference.measure(sample_folders.real_window_set(known, "test").sort_by_content()), []
    for scale, interval in GUIDANCE:
        model = load(workdir, {"sample.cond_scale": scale, "sample.guidance_interval": interval})
        title = f"{scale:g}, log-SNR {interval[0]:g} to {interval[1]:g}" if interval else f"{scale:g}"
        folder = output / f"guidance {title}"
        sample_writer.write_samples(model, [given.user], given.windows, 0, folder)
        made = reference.measure(sample_folders.read_sample_set(known, folder).sort_by_content())
        found = figures(reference, test, made, user)
        lines.append([title, *(cell(f.generated, f.generated_range) for f in found.values())])
    lines.append(["real unseen windows", *(cell(f.real, f.real_range) for f in found.values())])
    for line in (["guidance", *found], ["---"] * (len(found) + 1), *lines):
        print(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    main()
