"""Adds a new user to a trained working directory from 5 to 20 windows; sample.py then accepts the name.

python enroll.py --workdir=runs/gait --name=ID_11 --path=FOLDER [--finetune]

Or, without any training, makes a new folder of the base model with the people of FOLDER, which holds a folder for each:

python enroll.py --base --workdir=runs/people --path=FOLDER [--finetune]
"""

from pathlib import Path
from shlex import quote

from mdiff_jax.runtime import cli
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.flags import Flags, require, require_workdir
from mdiff_jax.runtime.progress import doing

FLAGS = Flags()

FLAGS.group("new user")
WORKDIR = FLAGS.folder("workdir", "Working directory of train.py; with --base a new folder. Required.")
BASE = FLAGS.switch("base", False, "Enroll people in the base model, named after the folders that hold them.")
NAME = FLAGS.text("name", None, "Name of the new user. Required without --base.")
PATH = FLAGS.path("path", "Folder or file with windows of that user, plotted as the recordings are. Required.")
FINETUNE = FLAGS.switch("finetune", False, "Also fit updates of the networks' weights to the windows: a minute.")


def main() -> None:
    if BASE.value and NAME.value:
        raise InputError("--base names people after their folders: leave --name out")
    if BASE.value:
        require("--workdir=NEW_FOLDER --path=FOLDER", WORKDIR, PATH)
    else:
        require("--workdir=DIR --name=NEW --path=FOLDER", WORKDIR, NAME, PATH)
        require_workdir(WORKDIR)

    with doing("starting", in_logs=False):
        from mdiff_jax.training import enrollment

    if BASE.value:
        names = enrollment.enroll_in_base(WORKDIR.value, Path(PATH.value), FINETUNE.value)
        print(f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} enrolled in {WORKDIR.value}")
        print(cli.name_commands(f"    python sample.py --workdir={quote(WORKDIR.value)}"))
        return
    target = enrollment.enroll(WORKDIR.value, NAME.value, Path(PATH.value), FINETUNE.value)
    print(f"{NAME.value} is enrolled in {target}; to remove the user, delete this file")
    scale = 1 if FINETUNE.value else 2
    named = f"--workdir={quote(WORKDIR.value)} --user_ids={quote(NAME.value)}"
    line = f"    python sample.py {named} --cond_scale={scale}"
    print(cli.name_commands(line))
