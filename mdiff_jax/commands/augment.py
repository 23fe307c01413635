"""Writes a data set to train a classifier on: recorded training windows, and generated ones where they help.

python augment.py --workdir=runs/gait --output=runs/augmented
"""

from pathlib import Path

from mdiff_jax.runtime.flags import Flags, require, require_workdir
from mdiff_jax.runtime.progress import doing
from mdiff_jax.runtime.ranges import Range

RECIPES = ("generated", "hard", "variations", "from_others")
USUAL = ("generated", "variations")

FLAGS = Flags()

FLAGS.group("data set")
WORKDIR = FLAGS.folder("workdir", "Working directory of train.py. Required.")
OUTPUT = FLAGS.text("output", None, "New folder for the data set. Required.")
SHARE = FLAGS.number(
    "share",
    1.0,
    "Generated windows added, as a share of the recorded ones of each user.",
    Range(float, 0, 100, above=True),
)

FLAGS.group("choice of the recipe, on validation windows")
RECIPE = FLAGS.texts("recipes", list(USUAL), f"Recipes to compare, of {', '.join(RECIPES)}.")
SEEDS = FLAGS.integer("seeds", 10, "Judges trained for each recipe.", Range(int, 1, 1000))


def main() -> None:
    require("--workdir=DIR --output=FOLDER", WORKDIR, OUTPUT)
    require_workdir(WORKDIR)

    with doing("starting", in_logs=False):
        from mdiff_jax.evaluation import augmented_set

    page = augmented_set.write_augmented_set(
        Path(WORKDIR.value), Path(OUTPUT.value), SHARE.value, SEEDS.value, RECIPE.value
    )
    print(
        f"{page}\nwritten to {OUTPUT.value}: a folder for each user, labels.csv, metadata.jsonl, provenance.json, "
        f"{augmented_set.PAGE}"
    )
