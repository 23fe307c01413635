"""What the commands do, from Python: training, evaluation, inspection and augmented data sets."""

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from mdiff_jax.api.models import Model, load
from mdiff_jax.config import with_settings
from mdiff_jax.inference import loading, user_windows
from mdiff_jax.inference.model import Model as AnyModel
from mdiff_jax.runtime import cli, config_files
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir

if TYPE_CHECKING:
    from mdiff_jax.evaluation.results import Report


def train(config: Any, workdir: str | Path, settings: Mapping[str, Any] | None = None) -> Model | None:
    """Trains encoder, prior and decoder in `workdir`, and samples each user; the same call resumes.

    `config` is a ConfigDict, the name of a configuration that comes with the package ("gait_cpu"), or the path of one;
    `settings` go over it: {"data.path": "recordings"}. Shows the cost of each stage, progress and a first figure of
    identity. Returns the model; None where `stage` or `dry_run` ask for less. Ctrl-C saves a checkpoint and raises
    KeyboardInterrupt. Raises InputError for keys and values that cannot be, recordings that cannot be used, and a
    working directory of another configuration.

        model = mdiff_jax.train("gait_cpu", "runs/gait", {"data.path": "recordings"})
        windows = model.sample("ID_1", n=4)
    """
    config = config_files.load_config(str(config)) if isinstance(config, str | Path) else config
    return load(workdir) if train_and_summarize(with_settings(config, settings or {}), workdir) else None


def train_and_summarize(config: Any, workdir: str | Path) -> bool:
    """Does what the command `train` does; returns whether there is a model now, which is not read."""
    from mdiff_jax.evaluation import summary
    from mdiff_jax.training import train_loop

    train_loop.train(config, workdir)
    if config.stage not in ("all", "decoder", "distill") or config.dry_run:
        return False
    if text := summary.summarize_run(workdir):
        tqdm.write(cli.name_commands(text), file=sys.stdout)
    return True


def evaluate(
    samples: Mapping[str, np.ndarray] | str | Path | None,
    real: AnyModel | str | Path,
    augmentation: str = "none",
    features: Callable[[np.ndarray], np.ndarray] | None = None,
) -> "Report":
    """Judges windows beside real ones that neither the model nor the judges have seen: minutes.

    `samples` map users to windows (n, F, T) in [-1, 1], or are a folder with a folder of images for each user, made by
    whatever; None takes the newest in the working directory. `real` is a model, its working directory, or a folder of
    recordings, which is then split anew. `augmentation` trains a judge on real windows and others, to see whether they
    help: "linear" (minutes) or "convolutional" (hours). `features` is a function of your own, windows (N, F, T) to
    features (N, D), to take distances in. Raises InputError for users that have no real windows.

        model = mdiff_jax.load("runs/gait")
        report = mdiff_jax.evaluate({user: model.sample(user, n=16) for user in model.users}, model)
        report.to_dataframe()
    """
    from mdiff_jax.evaluation import run, sample_folders

    with tempfile.TemporaryDirectory() as temporary:
        judge = read_real(real, Path(temporary) / "recordings")
        if isinstance(samples, Mapping):
            folder, name = Path(temporary) / "samples", "windows in memory"
            sample_folders.write_windows(judge, user_windows.take_user_windows(judge, samples), folder)
        elif samples is not None:
            folder, name = Path(samples), str(samples)
        elif judge.root:
            folder = sample_folders.find_newest_samples(Workdir(judge.root).samples)
            name = str(folder)
        else:
            raise InputError("there is no working directory to take samples from: give them")
        return run.evaluate(judge, folder, augmentation, features, name)


def inspect(path: str | Path, curve: bool = False) -> dict[str, Any]:
    """Measures a folder of recordings before training: users, overlap of windows, colormap, and a safe split.

    With `curve` also whether more windows, walks or augmentation would help, in 'enough_data': minutes. Returns what
    the command `inspect` writes as JSON. Raises InputError for anything that cannot be used, and with `curve` for too
    few walks.

        found = mdiff_jax.inspect("recordings")
        found["users"], found["overlap"], found["split"]
    """
    from mdiff_jax.data import inspect
    from mdiff_jax.metrics import learning_curve

    report, data = inspect.inspect(Path(path))
    if curve:
        learning_curve.add_to_report(report, data)
    return report


def augment(
    workdir: str | Path, output: str | Path, share: float = 1.0, seeds: int = 10, recipes: Sequence[str] | None = None
) -> str:
    """Writes a data set to train a classifier on: recorded training windows, and generated ones where they help.

    Draws windows by each of the `recipes`, by default `recipes.USUAL`, chooses among them on validation windows by
    judges of `seeds`, and adds `share` times as many as there are recorded ones of each user. Returns the page
    (Markdown) that says what it brings on test windows. Raises InputError for an `output` that exists.

        page = mdiff_jax.augment("runs/gait", "runs/augmented")
    """
    from mdiff_jax.evaluation import augmented_set
    from mdiff_jax.evaluation.recipes import USUAL

    return augmented_set.write_augmented_set(
        Path(workdir), Path(output), share, seeds, USUAL if recipes is None else recipes
    )


def read_real(real: AnyModel | str | Path, temporary: Path) -> AnyModel:
    """Returns the model whose recordings are asked for, or for recordings alone one without networks."""
    from mdiff_jax.training import training_data

    if isinstance(real, AnyModel):
        return real
    if not Path(real).is_dir() or Workdir(real).config.exists():
        return loading.load(real)
    return training_data.load_recordings(Path(real), Workdir(temporary))
