"""Judges windows: the working directory's own samples, or any folder of images in the data layout.

python evaluate.py --workdir=runs/gait [--samples=FOLDER] [--augmentation=linear] [--features=module:function]
python evaluate.py --workdir=runs/gait --sweep=weights|guidance|steps
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from absl import flags

from mdiff_jax.diffusion import samplers
from mdiff_jax.evaluation import run, sweep
from mdiff_jax.runtime import cli
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.validation import SAMPLES_PER_USER, SAMPLING_STEPS, SCALE

WORKDIR = flags.DEFINE_string("workdir", None, "Working directory of train.py.")
SWEEP = flags.DEFINE_enum("sweep", None, list(sweep.SWEEP_KINDS), "Compares sampling settings on validation windows.")
SWEEP_STEPS = flags.DEFINE_list("sweep_steps", ["4", "8", "16", "32", "64", "128", "250"], "Of the sweep of steps.")
SWEEP_SAMPLERS = flags.DEFINE_list("sweep_samplers", list(samplers.METHODS), "Of the sweep of steps.")
SWEEP_SCALES = flags.DEFINE_list("sweep_scales", ["1", "1.5", "2", "3"], "Of the sweep of guidance.")
SWEEP_COUNT = flags.DEFINE_integer("sweep_count", 8, "Samples of each user and setting.")
SAMPLES = flags.DEFINE_string("samples", None, "Folder with a folder of images per user; default: the newest samples.")
AUGMENTATION = flags.DEFINE_enum(
    "augmentation",
    "none",
    list(run.AUGMENTATION_JUDGES),
    "Judge to train on real windows and others, to see whether adding them helps: linear (minutes), convolutional "
    "(hours).",
)
FEATURES = flags.DEFINE_string(
    "features", None, "module:function of your own, windows (N, F, T) in [-1, 1] to features (N, D), for distances."
)

SWEEP_FLAGS = (SWEEP_STEPS, SWEEP_SAMPLERS, SWEEP_SCALES, SWEEP_COUNT)

cli.limit(SAMPLES_PER_USER, SWEEP_COUNT)
cli.require_paths(WORKDIR, folders=True)
cli.require_paths(SAMPLES)


def main() -> None:
    if WORKDIR.value is None:
        raise InputError("give --workdir=DIR, the working directory of train.py")
    cli.require_together(*((flag, SWEEP) for flag in SWEEP_FLAGS))
    if SWEEP.value is not None:
        for flag in (SAMPLES, AUGMENTATION, FEATURES):
            if flag.present:
                raise InputError(f"--sweep and --{flag.name} do not go together: give one of them")
        steps = cli.parse_numbers(SWEEP_STEPS, SAMPLING_STEPS._replace(length=(1, 100)))
        scales = cli.parse_numbers(SWEEP_SCALES, SCALE._replace(length=(1, 100)))
        if not SWEEP_SAMPLERS.value or set(SWEEP_SAMPLERS.value) - set(samplers.METHODS):
            given = ",".join(SWEEP_SAMPLERS.value)
            raise InputError(f"--sweep_samplers={given}: give any of {', '.join(samplers.METHODS)}")
        print(sweep.run_sweep(WORKDIR.value, SWEEP.value, steps, SWEEP_SAMPLERS.value, scales, SWEEP_COUNT.value))
        return
    samples = None if SAMPLES.value is None else Path(SAMPLES.value)
    own = None if FEATURES.value is None else import_function(FEATURES.value)
    print(run.judge_samples(WORKDIR.value, samples, AUGMENTATION.value, own))


def import_function(name: str) -> Callable:
    """Returns the function that `module:function` names, looked for in the present folder too."""
    module, _, attribute = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        function = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # the module is the user's own
        raise InputError(f"--features={name}: {error}; give module:function, a file module.py here") from None
    if not callable(function):
        raise InputError(f"--features={name} is a {type(function).__name__}: give a function of windows (N, F, T)")
    return function


if __name__ == "__main__":
    cli.run(main)
