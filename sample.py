"""Samples spectrograms of named users from a trained working directory, or of new people from the base model.

python sample.py --workdir=runs/gait --user_ids=ID_1,ID_3 --num_samples_per_user=4 --sample_timesteps=64
python sample.py --workdir=runs/gait --user_ids=ID_1 --filter=physics,novelty --npz
python sample.py --workdir=runs/gait --interpolate=ID_1,ID_5 --interpolate_steps=8
python sample.py --workdir=runs/gait --like=FILE_OR_FOLDER --strength=0.6
python sample.py --workdir=runs/gait --user_ids=ID_1 --seconds=10
python sample.py --base --like=FOLDER
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from mdiff_jax import load, load_base
from mdiff_jax.inference import provenance, sample_writer, sampling_jobs, user_windows
from mdiff_jax.inference.model import Model
from mdiff_jax.runtime import cli, parallel, processes, ranges
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir
from mdiff_jax.validation import RANGES

# --- users and number of samples
WORKDIR = flags.DEFINE_string("workdir", None, "Working directory of train.py, or an exported model; or give --base.")
BASE = flags.DEFINE_bool("base", False, "With --like: the base model, for the people whose windows lie there.")
USER_IDS = flags.DEFINE_string("user_ids", "all", "Names of users, separated by commas, or all.")
COUNT = flags.DEFINE_integer("num_samples_per_user", None, "Samples of each user, strips, or variations of a window.")
SEED = flags.DEFINE_integer("seed", 0, "Random seed: image i of a user depends on the seed and i alone.")

# --- sampling; without a flag, the value of the working directory
STEPS = flags.DEFINE_integer("sample_timesteps", None, "Number of sampling steps, of prior and decoder alike.")
COND_SCALE = flags.DEFINE_float("cond_scale", None, "Guidance scale of the decoder; 1: no guidance.")
PRIOR_COND_SCALE = flags.DEFINE_float("prior_cond_scale", None, "Guidance scale of the prior; 1: no guidance.")
GUIDE = flags.DEFINE_string("guide", None, "What guidance leads away from: null (no condition), early (checkpoints).")
GUIDANCE_INTERVAL = flags.DEFINE_list("guidance_interval", None, "LOW,HIGH: log-SNRs to guide the decoder between.")
GUIDANCE_RESCALE = flags.DEFINE_float(
    "guidance_rescale", None, "0 to 1: scales guided estimates to the deviation before."
)
SAMPLER = flags.DEFINE_string("sampler", None, "Sampler: ddim, ddpm, dpmpp_2m or heun.")
ETA = flags.DEFINE_float("eta", None, "Noise of the ddim sampler, from 0 (none) to 1 (as much as ddpm).")
NOISE_SCALE = flags.DEFINE_float("noise_scale", None, "Above 1: leaves more noise at each step, for more structure.")
SPACING = flags.DEFINE_string("spacing", None, "Spacing of the sampling steps: trailing, leading, linspace or logsnr.")
EMA_DECAY = flags.DEFINE_float("ema_decay", None, "Parameter average to use: one of ema_decays.")
PRECISION = flags.DEFINE_string("precision", None, "Precision of the networks: float32, bfloat16 or float16.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", None, "Samples in a batch; affects only memory and speed.")
COORDINATOR = flags.DEFINE_string("coordinator_address", None, "HOST:PORT of the first of several processes.")
PROCESSES = flags.DEFINE_integer("num_processes", None, "Number of these processes, one on each host.")
PROCESS = flags.DEFINE_integer("process_id", None, "Index of this process, from 0.")

# --- other kinds of samples, and filters
INTERPOLATE = flags.DEFINE_string("interpolate", None, "USER,USER: strips of windows from one to the other.")
INTERPOLATE_STEPS = flags.DEFINE_integer("interpolate_steps", 8, "Number of windows in a strip.")
LIKE = flags.DEFINE_string("like", None, "File or folder of windows to generate variations of; see also --base.")
STRENGTH = flags.DEFINE_float("strength", 1.0, "With --like, above 0: 1 keeps only the embedding, less the window too.")
SECONDS = flags.DEFINE_float("seconds", None, "Duration of walks longer than a window, in seconds.")
WINDOW_SECONDS = flags.DEFINE_float("window_seconds", None, "With --seconds: duration of a window, if unknown.")
FILTER = flags.DEFINE_list("filter", [], "Keep samples that pass: physics, novelty or physics,novelty.")

# --- output
OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder of the samples; by default WORKDIR/samples/SETTINGS.")
FORMAT = flags.DEFINE_string("format", None, "Format of the images: png or jpg; that of the recordings if not given.")
NPZ = flags.DEFINE_bool("npz", False, "Also write samples.npz: scalar windows, users, axes.")
TFDS = flags.DEFINE_bool("tfds", False, "Also write samples.npz and, beside the folder, the data set FOLDER_tfds.")

KEYS = {  # that flags change in the configuration of the working directory
    "sample.num_samples_per_user": COUNT,
    "prior.sample_timesteps": STEPS,
    "decoder.sample_timesteps": STEPS,
    "sample.cond_scale": COND_SCALE,
    "sample.prior_cond_scale": PRIOR_COND_SCALE,
    "sample.guide": GUIDE,
    "sample.guidance_rescale": GUIDANCE_RESCALE,
    "sample.sampler": SAMPLER,
    "sample.eta": ETA,
    "sample.noise_scale": NOISE_SCALE,
    "sample.spacing": SPACING,
    "sample.ema_decay": EMA_DECAY,
    "sample.batch_size": BATCH_SIZE,
    "precision": PRECISION,
}

for key in RANGES.keys() & (KEYS.keys() - {"prior.sample_timesteps"}):
    cli.limit(RANGES[key], KEYS[key])
cli.limit(ranges.SEED, SEED)
cli.limit(ranges.PROCESSES, PROCESSES)
cli.limit(ranges.PROCESS, PROCESS)
cli.limit(sampling_jobs.STRIP_WINDOWS, INTERPOLATE_STEPS)
cli.limit(sampling_jobs.STRENGTHS, STRENGTH)
cli.limit(sampling_jobs.SECONDS, SECONDS, WINDOW_SECONDS)
cli.require_paths(WORKDIR, OUTPUT_DIR, folders=True)
cli.require_paths(LIKE)


def main() -> None:
    if BASE.value == (WORKDIR.value is not None):
        raise InputError("give --workdir=DIR, the working directory of train.py, or else --base --like=FOLDER")
    if BASE.value and not LIKE.value:
        raise InputError("--base knows nobody by name: give --like=FOLDER, windows of one person or a folder for each")
    if BASE.value and STRENGTH.present:
        raise InputError("--strength is for variations of windows, with --workdir: remove it")
    cli.require_together((INTERPOLATE_STEPS, INTERPOLATE), (STRENGTH, LIKE), (WINDOW_SECONDS, SECONDS))
    if INTERPOLATE.value and USER_IDS.present:
        raise InputError("--user_ids does not go with --interpolate, which names its users itself: remove one of them")
    jobs = (INTERPOLATE, SECONDS, FILTER) if BASE.value else (INTERPOLATE, LIKE, SECONDS, FILTER)
    modes = [f"--{f.name}" for f in jobs if f.value not in (None, [])]
    if len(modes) > 1:
        raise InputError(f"{modes[0]} and {modes[1]} do not go together: give one of them")
    with processes.connect(COORDINATOR.value, PROCESSES.value, PROCESS.value):
        draw_samples()


def draw_samples() -> None:
    """Draws and writes what the flags ask for."""
    model = load_base(LIKE.value, settings()) if BASE.value else load(WORKDIR.value, settings())

    # ------------------------------------------------------------------- sample
    count, seed = model.config.sample.num_samples_per_user, SEED.value
    options = sample_writer.SaveOptions(FORMAT.value, NPZ.value, TFDS.value, FILTER.value)
    parent = Path("samples") if BASE.value else Workdir(WORKDIR.value).samples
    folder = provenance.default_folder(model, parent, seed, folder_suffix())
    folder = Path(OUTPUT_DIR.value) if OUTPUT_DIR.value else folder
    if INTERPOLATE.value or (LIKE.value and not BASE.value) or SECONDS.value is not None:
        job = make_job(model, count, seed)
        files, sheet = sample_writer.write_job(job, seed, folder, options), job.sheet
    else:
        users = requested_users(model)
        files, sheet = sample_writer.write_samples(model, users, count, seed, folder, options), "grid.png"

    # ------------------------------------------------------------------- report
    if not parallel.is_first():
        return
    print(f"{len(files)} images in {folder}; sheet {folder / sheet}")
    if FILTER.value:
        share = provenance.read_share_rejected(folder)
        print(f"{share:.1%} of the generated samples were rejected by --filter={','.join(FILTER.value)}")


def settings() -> dict[str, Any]:
    """Returns the keys that the given flags change, with their values."""
    given = {key: flag.value for key, flag in KEYS.items() if flag.value is not None}
    if GUIDANCE_INTERVAL.value is not None:  # empty: guidance everywhere
        interval = cli.parse_numbers(GUIDANCE_INTERVAL, RANGES["sample.guidance_interval"])
        given["sample.guidance_interval"] = tuple(interval)
    return given


def make_job(model: Model, count: int, seed: int) -> sampling_jobs.SamplingJob:
    """Returns the job of --interpolate, --like or --seconds."""
    if INTERPOLATE.value:
        ends = tuple(INTERPOLATE.value.split(","))
        if len(ends) != 2:
            raise InputError(f"--interpolate={INTERPOLATE.value}: give two users, as in ID_1,ID_5")
        return sampling_jobs.interpolate(model, ends, INTERPOLATE_STEPS.value, count, seed)
    if LIKE.value and not BASE.value:
        user = None if USER_IDS.value == "all" else USER_IDS.value
        return sampling_jobs.variations(
            model, user_windows.read_user_windows(model, Path(LIKE.value), user), STRENGTH.value, count, seed
        )
    return sampling_jobs.long_walks(model, requested_users(model), count, seed, SECONDS.value, WINDOW_SECONDS.value)


def requested_users(model: Model) -> Sequence[str]:
    """Returns the names of --user_ids; all are the trained users, of the base model those it was given."""
    everyone = tuple(model.enrolled) if BASE.value else model.users
    return everyone if USER_IDS.value == "all" else tuple(USER_IDS.value.split(","))


def folder_suffix() -> str:
    """Returns the end of the name of the default folder, which tells jobs other than plain samples."""
    return (f"_base_{Path(LIKE.value).stem}" if BASE.value else "") + job_suffix()


def job_suffix() -> str:
    if INTERPOLATE.value:
        return f"_between_{INTERPOLATE.value.replace(',', '_and_')}"
    if LIKE.value and not BASE.value:
        return f"_like_{Path(LIKE.value).stem}_strength{STRENGTH.value}"
    if SECONDS.value is not None:
        return f"_{SECONDS.value:g}s"
    return f"_filter_{'_'.join(sorted(FILTER.value))}" if FILTER.value else ""


if __name__ == "__main__":
    cli.run(main)
