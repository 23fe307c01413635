"""Judges windows: the working directory's own samples, or any folder of images in the data layout.

python evaluate.py --workdir=runs/gait [--samples=FOLDER] [--augmentation=linear] [--features=module:function]
python evaluate.py --workdir=runs/gait --sweep=weights|guidance|steps
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from mdiff_jax.runtime import cli
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.flags import Flags, parse_numbers, require_together, require_workdir
from mdiff_jax.runtime.progress import doing
from mdiff_jax.runtime.ranges import SAMPLERS
from mdiff_jax.validation import SAMPLES_PER_USER, SAMPLING_STEPS, SCALE

SWEEPS = ("weights", "guidance", "steps")
JUDGES = ("none", "linear", "convolutional")

FLAGS = Flags()

FLAGS.group("windows to judge")
WORKDIR = FLAGS.folder("workdir", "Working directory of train.py. Required.")
SAMPLES = FLAGS.path("samples", "Folder with a folder of images per user; default: the newest samples.")

FLAGS.group("further figures")
AUGMENTATION = FLAGS.choice(
    "augmentation",
    "none",
    JUDGES,
    "Judge to train on real windows and others, to see whether adding them helps: linear (minutes), convolutional "
    "(hours).",
)
FEATURES = FLAGS.text(
    "features", None, "module:function of your own, windows (N, F, T) in [-1, 1] to features (N, D), for distances."
)

FLAGS.group("comparison of sampling settings, in place of these")
SWEEP = FLAGS.choice("sweep", None, SWEEPS, "Compares sampling settings on validation windows.")
SWEEP_STEPS = FLAGS.texts("sweep_steps", ["4", "8", "16", "32", "64", "128", "250"], "Of the sweep of steps.")
SWEEP_SAMPLERS = FLAGS.texts("sweep_samplers", list(SAMPLERS), "Of the sweep of steps.")
SWEEP_SCALES = FLAGS.texts("sweep_scales", ["1", "1.5", "2", "3"], "Of the sweep of guidance.")
SWEEP_COUNT = FLAGS.integer("sweep_count", 8, "Samples of each user and setting.", SAMPLES_PER_USER)

SWEEP_FLAGS = (SWEEP_STEPS, SWEEP_SAMPLERS, SWEEP_SCALES, SWEEP_COUNT)


def main() -> None:
    if WORKDIR.value is None:
        raise InputError("give --workdir=DIR, the working directory of train.py")
    require_workdir(WORKDIR)
    require_together(*((flag, SWEEP) for flag in SWEEP_FLAGS))
    print(cli.name_commands(judge_samples() if SWEEP.value is None else compare_settings()), flush=True)


def judge_samples() -> str:
    """Judges the samples; returns the verdict."""
    own = None if FEATURES.value is None else import_function(FEATURES.value)

    with doing("starting", in_logs=False):
        from mdiff_jax.evaluation import run

    samples = None if SAMPLES.value is None else Path(SAMPLES.value)
    return run.judge_samples(WORKDIR.value, samples, AUGMENTATION.value, own)


def compare_settings() -> str:
    """Runs the sweep; returns its table."""
    for flag in (SAMPLES, AUGMENTATION, FEATURES):
        if flag.present:
            raise InputError(f"--sweep and --{flag.name} do not go together: give one of them")
    steps = parse_numbers(SWEEP_STEPS, SAMPLING_STEPS._replace(length=(1, 100)))
    scales = parse_numbers(SWEEP_SCALES, SCALE._replace(length=(1, 100)))
    if not SWEEP_SAMPLERS.value or set(SWEEP_SAMPLERS.value) - set(SAMPLERS):
        given = ",".join(SWEEP_SAMPLERS.value)
        raise InputError(f"--sweep_samplers={given}: give any of {', '.join(SAMPLERS)}")

    with doing("starting", in_logs=False):
        from mdiff_jax.evaluation import sweep

    return sweep.run_sweep(WORKDIR.value, SWEEP.value, steps, SWEEP_SAMPLERS.value, scales, SWEEP_COUNT.value)


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
