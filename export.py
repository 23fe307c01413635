"""Exports a trained model without its recordings: configuration, weights and a card, in a folder to pass on.

python export.py --workdir=runs/gait --output=gait_model

sample.py and enroll.py take the folder as --workdir, train.py as --config.init_from.
"""

from pathlib import Path

from absl import flags

from mdiff_jax import load
from mdiff_jax.inference import exported
from mdiff_jax.runtime import cli
from mdiff_jax.runtime.errors import InputError

WORKDIR = flags.DEFINE_string("workdir", None, "Working directory of train.py. Required.")
OUTPUT = flags.DEFINE_string("output", None, "New folder for the model. Required.")
ABOUT = flags.DEFINE_string("about", "", "What the model is and how it was made, for its card.")

cli.require_paths(WORKDIR, OUTPUT, folders=True)


def main() -> None:
    for flag in (WORKDIR, OUTPUT):
        if flag.value is None:
            raise InputError(f"--{flag.name} is missing: give --workdir=DIR --output=NEW_FOLDER")
    folder = Path(OUTPUT.value)
    exported.export_model(load(WORKDIR.value), folder, ABOUT.value)
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    print(f"the model is in {folder}, {size:.1f} MB; its users are named in card.json, their recordings are not there")


if __name__ == "__main__":
    cli.run(main)
