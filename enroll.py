"""Adds a new user to a trained working directory from 5 to 20 windows; sample.py then accepts the name.

python enroll.py --workdir=runs/gait --name=ID_11 --path=FOLDER [--finetune]
"""

from pathlib import Path

from absl import flags

from mdiff_jax.runtime import cli
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.training import enrollment

WORKDIR = flags.DEFINE_string("workdir", None, "Working directory of train.py. Required.")
NAME = flags.DEFINE_string("name", None, "Name of the new user. Required.")
PATH = flags.DEFINE_string("path", None, "Folder or file with windows of that user, plotted as the recordings are.")

FINETUNE = flags.DEFINE_bool("finetune", False, "Also fit updates of the networks' weights to the windows: a minute.")

cli.require_paths(WORKDIR, folders=True)
cli.require_paths(PATH)


def main() -> None:
    for flag in (WORKDIR, NAME, PATH):
        if flag.value is None:
            raise InputError(f"--{flag.name} is missing: give --workdir=DIR --name=NEW --path=FOLDER")
    target = enrollment.enroll(WORKDIR.value, NAME.value, Path(PATH.value), FINETUNE.value)
    print(f"{NAME.value} is enrolled in {target}; to remove the user, delete this file")
    print(f"    python sample.py --workdir={WORKDIR.value} --user_ids={NAME.value} --cond_scale=2")


if __name__ == "__main__":
    cli.run(main)
