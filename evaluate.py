"""Judges windows: the working directory's own samples, or any folder of images in the data layout.

python evaluate.py --workdir=runs/gait [--samples=FOLDER]
"""

from pathlib import Path

from absl import flags

from mdiff_jax import cli, judging
from mdiff_jax.errors import InputError

WORKDIR = flags.DEFINE_string("workdir", None, "Working directory of train.py.")
SAMPLES = flags.DEFINE_string("samples", None, "Folder with a folder of images per user; default: the newest samples.")


def main() -> None:
    if WORKDIR.value is None:
        raise InputError("give --workdir=DIR, the working directory of train.py")
    print(judging.judge(WORKDIR.value, None if SAMPLES.value is None else Path(SAMPLES.value)))


if __name__ == "__main__":
    cli.run(main)
