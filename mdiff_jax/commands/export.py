"""Exports a trained model without its recordings: configuration, weights and a card, in a folder or file to pass on.

python export.py --workdir=runs/gait --output=gait_model [--nousers]
python export.py --workdir=runs/gait --weights=gait.safetensors

sample.py and enroll.py take the folder as --workdir, train.py as --config.init_from; `mdiff_jax.load` takes both.
"""

from pathlib import Path

from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.flags import Flags, require_workdir
from mdiff_jax.runtime.progress import doing

FLAGS = Flags()

FLAGS.group("model")
WORKDIR = FLAGS.folder("workdir", "Working directory of train.py. Required.")
OUTPUT = FLAGS.folder("output", "New folder for the model; this or --weights, or both.")
WEIGHTS = FLAGS.path("weights", "New .safetensors for all in one file; its model card as .md beside it.")
USERS = FLAGS.switch("users", True, "--nousers leaves users out: the model knows people by given windows alone.")
ABOUT = FLAGS.text("about", "", "What the model is and how it was made, for its card.")


def main() -> None:
    if WORKDIR.value is None or (OUTPUT.value is None and WEIGHTS.value is None):
        missing = "workdir" if WORKDIR.value is None else "output"
        raise InputError(f"--{missing} is missing: give --workdir=DIR --output=NEW_FOLDER, or --weights=NEW_FILE")
    require_workdir(WORKDIR)

    with doing("starting", in_logs=False):
        from mdiff_jax import load
        from mdiff_jax.inference import exported

    with doing("reading the model"):
        read = load(WORKDIR.value)
    model = read if USERS.value else exported.without_users(read)
    users = "its users are named in its card" if USERS.value else "it knows nobody by name"
    for flag, export in ((OUTPUT, exported.export_model), (WEIGHTS, exported.export_file)):
        if flag.value is not None:
            place = Path(flag.value)
            export(model, place, ABOUT.value)
            files = place.iterdir() if place.is_dir() else [place]
            size = sum(file.stat().st_size for file in files) / 1e6
            print(f"the model is in {place}, {size:.1f} MB; {users}, recordings are not there")
    if model.student:
        print(f"its student is there too, and draws in {model.decoder_steps} steps")
    elif model.instead:
        print(f"its student stays behind: {model.instead}")
