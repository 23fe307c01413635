"""Exports a trained model without its recordings: configuration, weights and a card, in a folder to pass on.

python export.py --workdir=runs/gait --output=gait_model [--nousers]

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
USERS = flags.DEFINE_bool("users", True, "--nousers leaves users out: the model knows people by given windows alone.")
ABOUT = flags.DEFINE_string("about", "", "What the model is and how it was made, for its card.")

cli.require_paths(WORKDIR, OUTPUT, folders=True)


def main() -> None:
    for flag in (WORKDIR, OUTPUT):
        if flag.value is None:
            raise InputError(f"--{flag.name} is missing: give --workdir=DIR --output=NEW_FOLDER")
    folder = Path(OUTPUT.value)
    model = load(WORKDIR.value)
    exported.export_model(model if USERS.value else exported.without_users(model), folder, ABOUT.value)
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    users = "its users are named in card.json" if USERS.value else "it knows nobody by name"
    print(f"the model is in {folder}, {size:.1f} MB; {users}, recordings are not there")


if __name__ == "__main__":
    cli.run(main)
