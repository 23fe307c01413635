"""A data set to train a classifier on: recorded training windows, and generated ones by the recipe that helps most.

Recipes are compared by judges that are trained on recorded windows and those of the recipe, and scored on validation
windows, by which one is chosen, and on test windows, which tell what it brings.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mdiff_jax.data import export, images, labels
from mdiff_jax.data.labels import Label
from mdiff_jax.evaluation import augmentation_study, sample_folders
from mdiff_jax.evaluation.augmentation_study import (
    BEST,
    COMBINED,
    JUDGES,
    PARTS,
    RECORDED,
    TOGETHER,
    Experiment,
    Scores,
)
from mdiff_jax.evaluation.recipes import check_recipes, draw_recipes
from mdiff_jax.inference.loading import load
from mdiff_jax.inference.model import Model
from mdiff_jax.metrics import paired_gain
from mdiff_jax.metrics.paired_gain import Estimate
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.progress import Bar
from mdiff_jax.runtime.version import VERSION
from mdiff_jax.runtime.workdir import Workdir, atomic_folder, write_json, write_text

GENERATED = "generated"  # folder of a user's generated windows
PAGE = "augmentation.md"
TEXT = """# Augmented data set

{recorded} recorded windows for training and {generated} generated ones.

**Chosen on validation windows: {row}.** {advice}

{table}

Mean of a linear and a convolutional judge; in brackets 5 to 95 % over walks and seeds of differences, which are paired.
The test part has {walks} walks.

## How to use it

`labels.csv` names each file, its user, its weight, its label (shares of users that add up to 1) and its source;
`metadata.jsonl` says the same to Hugging Face `datasets`: `load_dataset("imagefolder", data_dir="…")`.
Recorded windows of the validation and test part are not in this folder: test on these, never on generated windows or on
windows of walks that are trained on.
{classical}"""
CLASSICAL_USE = """
The choice includes a classical augmentation: while training, change windows by `{}` of
`mdiff_jax.metrics.augmentation_utility`, too.
"""


class Choice(NamedTuple):
    """The row of the comparison with the highest accuracy on validation windows, mean of the judges."""

    row: str
    recipe: str | None  # None: no generated windows
    classical: str | None  # to apply while training, None: none
    test: Estimate  # gain over recorded windows alone


def write_augmented_set(root: Path, output: Path, share: float, seeds: int, recipes: Sequence[str]) -> str:
    """Chooses a recipe and writes the folder; returns the page, which lies there as augmentation.md.

    `share` times as many generated as recorded training windows of each user are added. Samples and scores lie in the
    working directory, so that the same call resumes. InputError for an unknown recipe, and where `output` exists.
    """
    check_recipes(recipes)
    if output.exists():
        raise InputError(f"'{output}' exists already: give another --output")
    workdir, model = Workdir(root), load(root)
    model.require_recordings()

    # ------------------------------------------------------------------- draw
    samples = draw_recipes(model, recipes, share, workdir.samples)

    # ------------------------------------------------------------------- compare
    budget = model.config.data.windows_per_user
    experiment = augmentation_study.read_experiment(model, budget, workdir.root / "augmentation", samples, share)
    total = experiment.count_rows() * seeds * len(JUDGES)
    with Bar(total=total, desc="training judges", unit="judge") as bar:
        scores = augmentation_study.run_experiment(experiment, seeds, bar.update)
    choice = choose(experiment, scores)

    # ------------------------------------------------------------------- write
    with atomic_folder(output) as folder:
        written = copy_recorded(model, folder)
        chosen = list(samples) if choice.recipe == TOGETHER else [choice.recipe] if choice.recipe else []
        for i, name in enumerate(chosen):
            wanted = (count_wanted(experiment, share) + i) // len(chosen)
            written += copy_generated(model, samples[name], name, wanted, folder)
        labels.write_labels(folder, written)
        labels.write_metadata(folder, written)
        record = {"version": VERSION, "workdir": root.name, "recipe": choice.recipe, "share": share, "seeds": seeds}
        record |= {"classical": choice.classical, "data_fingerprint": model.dataset.fingerprint}
        write_json(folder / "provenance.json", record)
        page = format_page(experiment, scores, choice, len(written))
        write_text(folder / PAGE, page)
    return page


def choose(experiment: Experiment, scores: Mapping[str, Mapping[str, Scores]]) -> Choice:
    """Chooses among recorded windows alone, classical augmentation, each source, and both together."""
    row = most_accurate(experiment, scores, "validation")
    recipe = next((s for s in experiment.sources if row in (s, COMBINED.format(s))), None)
    classical = None if row in (RECORDED, recipe) else best_classical(experiment, scores)
    return Choice(row, recipe, classical, mean_gain(experiment, scores, row, RECORDED, "test"))


def most_accurate(experiment: Experiment, scores: Mapping[str, Mapping[str, Scores]], part: str) -> str:
    """Returns the row, of those that can be chosen, that both judges together learn most from, by a part of the split.

    Ceilings, which nobody has, are left out.
    """
    rows = [RECORDED, BEST]
    rows += [name for source in experiment.sources for name in (source, COMBINED.format(source))]
    return max(rows, key=lambda row: mean_accuracy(scores, row, part))


def best_classical(experiment: Experiment, scores: Mapping[str, Mapping[str, Scores]]) -> str:
    """Returns the classical augmentation that both judges together learn most from, on validation windows."""
    return max(experiment.classical, key=lambda name: mean_accuracy(scores, name, "validation"))


def mean_accuracy(scores: Mapping[str, Mapping[str, Scores]], row: str, part: str) -> float:
    """Returns the accuracy of a row on a part of the split, the mean of the judges."""
    return float(np.mean([getattr(of_judge[row], part).mean() for of_judge in scores.values()]))


def mean_gain(
    experiment: Experiment, scores: Mapping[str, Mapping[str, Scores]], row: str, other: str, part: str
) -> Estimate:
    """Returns the gain of a row over another one, of the judges together, each seed of each as one."""
    first, second = (np.concatenate([getattr(s[r], part) for s in scores.values()]) for r in (row, other))
    return paired_gain.estimate_gain(first, second, experiment.unseen[part].walk_names())


# ----------------------------------------------------------------------------- files


def copy_recorded(model: Model, folder: Path) -> list[Label]:
    """Copies the recorded training windows, as their own files where these are images that are still there, else as
    images like those that are sampled.
    """
    source, files = Path(model.config.data.path), model.split["train"]
    own = [source / file for file in files]
    if model.config.data.kind == "folder" and all(p.suffix.lower() in images.SUFFIXES and p.is_file() for p in own):
        for path, file in zip(own, files, strict=True):
            copy_file(path, folder / file)
        names = list(files)
    else:
        rows = model.dataset.rows(files)
        suffix = export.image_suffix(model.dataset.metadata, None)
        export.write_images(model.dataset, rows, folder, suffix)
        names = [f"{export.file_name(model.dataset, int(row))}.{suffix}" for row in rows]
    users = [model.users[model.dataset.user_ids[row]] for row in model.dataset.rows(files)]
    return [Label(name, user, 1.0, {user: 1.0}, [labels.RECORDED]) for name, user in zip(names, users, strict=True)]


def copy_generated(model: Model, samples: Path, recipe: str, wanted: np.ndarray, folder: Path) -> list[Label]:
    """Copies so many generated windows of each user, the first ones; returns their labels, with the recipe as the first
    source.
    """
    known = {label.file: label for label in labels.read_labels(samples)} if (samples / labels.FILE).exists() else {}
    written = []
    for user, count in zip(model.users, wanted.tolist(), strict=True):
        items = [item for item in sample_folders.scan_samples(model, samples) if item.user == user]
        for item in items[:count]:
            name = f"{user}/{GENERATED}/{Path(item.file).name}"
            copy_file(samples / item.file, folder / name)
            label = known.get(item.file, Label(item.file, user, 1.0, {user: 1.0}))
            written.append(label._replace(file=name, source=[recipe, *label.source]))
    return written


def count_wanted(experiment: Experiment, share: float) -> np.ndarray:
    """Returns how many generated windows of each user the judges were trained on."""
    users = experiment.recorded.targets.shape[1]
    return np.round(share * np.bincount(experiment.recorded.users, minlength=users)).astype(int)


def copy_file(source: Path, target: Path) -> None:
    """Copies contents alone, not rights."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    os.utime(target, (source.stat().st_mtime,) * 2)


# ----------------------------------------------------------------------------- page


def format_page(
    experiment: Experiment, scores: Mapping[str, Mapping[str, Scores]], choice: Choice, windows: int
) -> str:
    """Returns what was compared, what was chosen, what it brings, and when not to use it, as Markdown."""
    recorded, walks = len(experiment.recorded.windows), len(np.unique(experiment.unseen["test"].walk_names()))
    head = ["judges trained on", "validation, %", "test, %", f"test, over {RECORDED}", f"over {BEST}"]
    table = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in next(iter(scores.values())):
        each = [mean_accuracy(scores, row, part) for part in PARTS]
        gains = (mean_gain(experiment, scores, row, other, "test") for other in (RECORDED, BEST))
        cells = [row, *(f"{100 * x:.1f}" for x in each), *map(augmentation_study.format_gain, gains)]
        table.append(f"| {' | '.join(cells)} |")
    classical = CLASSICAL_USE.format(choice.classical) if choice.classical else ""
    return TEXT.format(
        recorded=recorded,
        generated=windows - recorded,
        row=choice.row,
        advice=advise(choice),
        table="\n".join(table),
        walks=walks,
        classical=classical,
    )


def advise(choice: Choice) -> str:
    """Says whether to use it."""
    gain = augmentation_study.format_gain(choice.test)
    if choice.recipe is None:
        return "No recipe was more accurate on validation windows, so no generated window is in the folder."
    if choice.test.interval is None or choice.test.interval[0] > 0:
        return f"On test windows it adds {gain} points to recorded windows alone."
    if choice.test.value > 0:
        return f"On test windows it adds {gain} points, which may be chance: try it, and keep what your own test shows."
    return f"On test windows it adds nothing ({gain} points): do not use it."
