"""Judges windows: the working directory's own samples, or any folder of images in the data layout.

python evaluate.py --workdir=runs/gait [--samples=FOLDER]
python evaluate.py --workdir=runs/gait --sweep=steps|guidance
"""

from pathlib import Path

from absl import flags

from mdiff_jax import cli, judging, samplers, sweeps
from mdiff_jax.errors import InputError

WORKDIR = flags.DEFINE_string("workdir", None, "Working directory of train.py.")
SWEEP = flags.DEFINE_enum("sweep", None, list(sweeps.SWEEPS), "Compares settings of sampling on validation windows.")
SWEEP_STEPS = flags.DEFINE_list("sweep_steps", ["4", "8", "16", "32", "64", "128", "250"], "Of the sweep of steps.")
SWEEP_SAMPLERS = flags.DEFINE_list("sweep_samplers", list(samplers.METHODS), "Of the sweep of steps.")
SWEEP_SCALES = flags.DEFINE_list("sweep_scales", ["1", "1.5", "2", "3"], "Of the sweep of guidance.")
SWEEP_COUNT = flags.DEFINE_integer("sweep_count", 8, "Samples of each user and setting.")
SAMPLES = flags.DEFINE_string("samples", None, "Folder with a folder of images per user; default: the newest samples.")


def main() -> None:
    if WORKDIR.value is None:
        raise InputError("give --workdir=DIR, the working directory of train.py")
    if SWEEP.value is not None:
        steps, scales = [int(n) for n in SWEEP_STEPS.value], [float(s) for s in SWEEP_SCALES.value]
        print(sweeps.sweep(WORKDIR.value, SWEEP.value, steps, SWEEP_SAMPLERS.value, scales, SWEEP_COUNT.value))
        return
    print(judging.judge(WORKDIR.value, None if SAMPLES.value is None else Path(SAMPLES.value)))


if __name__ == "__main__":
    cli.run(main)
