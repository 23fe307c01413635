"""Recipes: the ways to draw windows that may help to train a classifier, each a mode of `sample.py` with its settings.

A recipe takes the model and the number of windows, and writes these of each user into a folder, with `labels.csv` where
labels are not plain. What each is: docs/sampling.md.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mdiff_jax.inference import augmenting_jobs, sample_writer, user_windows
from mdiff_jax.inference.model import Model
from mdiff_jax.inference.sample_writer import SaveOptions
from mdiff_jax.runtime.errors import InputError

Recipe = Callable[[Model, int, Path], None]  # (model, windows of each user, folder)

VARIATION_STRENGTH = 0.5  # of noise on a training window
OTHERS_STRENGTH = 0.6  # of noise on another user's window
HARD = SaveOptions(filters=("physics", "novelty", "hard"))


def draw_plainly(model: Model, count: int, folder: Path) -> None:
    """Prior and decoder."""
    sample_writer.write_samples(model, model.users, count, model.config.seed, folder)


def draw_hard(model: Model, count: int, folder: Path) -> None:
    """Prior and decoder; of every four windows the one that judges of training walks are least certain of."""
    sample_writer.write_samples(model, model.users, count, model.config.seed, folder, HARD)


def vary_windows(model: Model, count: int, folder: Path) -> None:
    """Variations of training windows."""
    seed = model.config.seed
    job = augmenting_jobs.training_variations(model, model.users, VARIATION_STRENGTH, count, seed)
    sample_writer.write_job(job, seed, folder)


def redraw_others(model: Model, count: int, folder: Path) -> None:
    """Training windows of other users drawn as a user, with soft labels."""
    given, seed = user_windows.training_windows(model, model.users), model.config.seed
    job = augmenting_jobs.others_drawn_as(model, given, model.users, OTHERS_STRENGTH, count, seed)
    sample_writer.write_job(job, seed, folder)


RECIPES: dict[str, Recipe] = {
    "generated": draw_plainly,
    "hard": draw_hard,
    "variations": vary_windows,
    "from_others": redraw_others,
}
USUAL = ("generated", "variations")  # what the others bring, and do not: docs/augmentation.md


def check_recipes(names: Sequence[str]) -> None:
    """Raises InputError for a name that is none of RECIPES."""
    if unknown := set(names) - RECIPES.keys():
        raise InputError(f"recipe '{unknown.pop()}' is not known: give any of {', '.join(RECIPES)}")


def draw_recipes(model: Model, names: Sequence[str], share: float, parent: Path) -> dict[str, Path]:
    """Draws `share` times as many windows of each user by each recipe as the user with the most has for training;
    returns the folder of each.
    """
    trained = model.dataset.user_ids[model.dataset.rows(model.split["train"])]
    count = int(np.ceil(share * np.bincount(trained).max()))
    folders = {name: parent / f"recipe_{name}" for name in names}
    for name, folder in folders.items():
        RECIPES[name](model, count, folder)
    return folders
