"""Writes a data set to train a classifier on: recorded training windows, and generated ones where they help.

python augment.py --workdir=runs/gait --output=runs/augmented
"""

from pathlib import Path

from absl import flags

from mdiff_jax.evaluation import augmented_set
from mdiff_jax.evaluation.recipes import RECIPES
from mdiff_jax.runtime import cli, ranges
from mdiff_jax.runtime.errors import InputError

WORKDIR = flags.DEFINE_string("workdir", None, "Working directory of train.py. Required.")
OUTPUT = flags.DEFINE_string("output", None, "New folder for the data set. Required.")
SHARE = flags.DEFINE_float("share", 1.0, "Generated windows added, as a share of the recorded ones of each user.")
SEEDS = flags.DEFINE_integer("seeds", 10, "Judges trained for each recipe.")
RECIPE = flags.DEFINE_list("recipes", list(RECIPES), f"Recipes to compare, by commas: {', '.join(RECIPES)}.")

cli.limit(ranges.Range(float, 0, 100, above=True), SHARE)
cli.limit(ranges.Range(int, 1, 1000), SEEDS)
cli.require_paths(WORKDIR, folders=True)


def main() -> None:
    for flag in (WORKDIR, OUTPUT):
        if flag.value is None:
            raise InputError(f"--{flag.name} is missing: give --workdir=DIR --output=FOLDER")
    page = augmented_set.write_augmented_set(
        Path(WORKDIR.value), Path(OUTPUT.value), SHARE.value, SEEDS.value, RECIPE.value
    )
    print(
        f"{page}\nwritten to {OUTPUT.value}: a folder for each user, labels.csv, metadata.jsonl, provenance.json, "
        f"{augmented_set.PAGE}"
    )


if __name__ == "__main__":
    cli.run(main)
