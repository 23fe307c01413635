"""Draws spectrograms of named users from a trained working directory.

python sample.py --workdir=runs/gait --user_ids=ID_1,ID_3 --num_samples_per_user=4 --sample_timesteps=64
python sample.py --workdir=runs/gait --user_ids=ID_1 --filter=physics,novelty --npz
python sample.py --workdir=runs/gait --interpolate=ID_1,ID_5 --interpolate_steps=8
python sample.py --workdir=runs/gait --like=FILE_OR_FOLDER --strength=0.6
python sample.py --workdir=runs/gait --user_ids=ID_1 --seconds=10
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from mdiff_jax import load
from mdiff_jax.inference import provenance, sample_writer, sampling_jobs, user_windows
from mdiff_jax.inference.model import Model
from mdiff_jax.runtime import cli, parallel
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir

# --- who and how many
WORKDIR = flags.DEFINE_string("workdir", None, "Working directory of train.py.")
USER_IDS = flags.DEFINE_string("user_ids", "all", "Names of users, by commas; or all, those it was trained on.")
COUNT = flags.DEFINE_integer("num_samples_per_user", None, "Samples of each user, strips, or variations of a window.")
SEED = flags.DEFINE_integer("seed", 0, "Which samples: image i of a user depends on seed and i alone.")

# --- how they are drawn; without a flag as the working directory says
STEPS = flags.DEFINE_integer("sample_timesteps", None, "Sampling steps of prior and decoder.")
COND_SCALE = flags.DEFINE_float("cond_scale", None, "Guidance of the decoder; 1: none.")
PRIOR_COND_SCALE = flags.DEFINE_float("prior_cond_scale", None, "Guidance of the prior; 1: none.")
GUIDANCE_INTERVAL = flags.DEFINE_list("guidance_interval", None, "LOW,HIGH: log-SNRs to guide the decoder between.")
GUIDANCE_RESCALE = flags.DEFINE_float("guidance_rescale", None, "0 to 1: brings guided estimates back to their spread.")
SAMPLER = flags.DEFINE_string("sampler", None, "ddim, ddpm, dpmpp_2m or heun.")
ETA = flags.DEFINE_float("eta", None, "Noise of DDIM: 0 none, 1 as much as DDPM.")
SPACING = flags.DEFINE_string("spacing", None, "Of the steps: trailing, leading, linspace or logsnr.")
EMA_DECAY = flags.DEFINE_float("ema_decay", None, "Which average of the parameters; one of ema_decays.")
PRECISION = flags.DEFINE_string("precision", None, "float32, bfloat16 or float16.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", None, "Samples drawn at once; changes nothing but memory and pace.")
COORDINATOR = flags.DEFINE_string("coordinator_address", None, "HOST:PORT of the first of several processes.")
PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes there are; one a host.")
PROCESS = flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.")

# --- what is drawn, if not samples of users
INTERPOLATE = flags.DEFINE_string("interpolate", None, "Two users, ID_1,ID_5: strips of windows from one to the other.")
INTERPOLATE_STEPS = flags.DEFINE_integer("interpolate_steps", 8, "Windows of a strip.")
LIKE = flags.DEFINE_string("like", None, "A file or folder of windows: variations of them.")
STRENGTH = flags.DEFINE_float(
    "strength", 1.0, "With --like, above 0: 1 keeps the embedding alone, less the window too."
)
SECONDS = flags.DEFINE_float("seconds", None, "Walks of this duration, by overlapping windows.")
WINDOW_SECONDS = flags.DEFINE_float("window_seconds", None, "Duration of a window, where the recordings do not say.")
FILTER = flags.DEFINE_list("filter", [], "Keep what passes: physics, novelty, or both by a comma.")

# --- where to
OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Where to; default WORKDIR/samples/SETTINGS.")
FORMAT = flags.DEFINE_string("format", "png", "Of the images: png or jpg.")
NPZ = flags.DEFINE_bool("npz", False, "Also samples.npz: scalar windows, users, axes.")
TFDS = flags.DEFINE_bool("tfds", False, "Also samples.npz and, beside the folder, FOLDER_tfds.")


def main() -> None:
    if WORKDIR.value is None:
        raise InputError("give --workdir=DIR, the working directory of train.py")
    asked = [f"--{f.name}" for f in (INTERPOLATE, LIKE, SECONDS, FILTER) if f.value not in (None, [])]
    if len(asked) > 1:
        raise InputError(f"{asked[0]} and {asked[1]} do not go together: give one of them")
    parallel.initialize_processes(COORDINATOR.value, PROCESSES.value, PROCESS.value)
    model = load(WORKDIR.value, {key: value for key, value in settings().items() if value is not None})

    # ------------------------------------------------------------------- draw
    count, seed = model.config.sample.num_samples_per_user, SEED.value
    options = sample_writer.SaveOptions(FORMAT.value, NPZ.value, TFDS.value, FILTER.value)
    folder = provenance.default_folder(model, Workdir(WORKDIR.value).samples, seed, kind())
    folder = Path(OUTPUT_DIR.value) if OUTPUT_DIR.value else folder
    if INTERPOLATE.value or LIKE.value or SECONDS.value is not None:
        job = job_of(model, count, seed)
        files, sheet = sample_writer.write_job(job, seed, folder, options), job.sheet
    else:
        users = users_of(model)
        files, sheet = sample_writer.write_samples(model, users, count, seed, folder, options), "grid.png"

    # ------------------------------------------------------------------- say
    if not parallel.is_first():
        return
    print(f"{len(files)} images in {folder}; sheet {folder / sheet}")
    if FILTER.value:
        share = provenance.read_share_rejected(folder)
        print(f"{share:.1%} of the samples drawn were rejected by --filter={','.join(FILTER.value)}")


def settings() -> dict:
    """Flags over the working directory's configuration."""
    return {
        "sample.num_samples_per_user": COUNT.value,
        "prior.sample_timesteps": STEPS.value,
        "decoder.sample_timesteps": STEPS.value,
        "sample.cond_scale": COND_SCALE.value,
        "sample.prior_cond_scale": PRIOR_COND_SCALE.value,
        "sample.guidance_interval": interval(),
        "sample.guidance_rescale": GUIDANCE_RESCALE.value,
        "sample.sampler": SAMPLER.value,
        "sample.eta": ETA.value,
        "sample.spacing": SPACING.value,
        "sample.ema_decay": EMA_DECAY.value,
        "sample.batch_size": BATCH_SIZE.value,
        "precision": PRECISION.value,
    }


def interval() -> tuple[float, ...] | None:
    """The log-SNRs of --guidance_interval; empty: guide everywhere."""
    if GUIDANCE_INTERVAL.value is None:
        return None
    try:
        return tuple(float(x) for x in GUIDANCE_INTERVAL.value)
    except ValueError:
        raise InputError(f"--guidance_interval={','.join(GUIDANCE_INTERVAL.value)}: give LOW,HIGH, as -3,5") from None


def job_of(model: Model, count: int, seed: int) -> sampling_jobs.SamplingJob:
    """What a flag asks for in place of plain samples."""
    if INTERPOLATE.value:
        ends = tuple(INTERPOLATE.value.split(","))
        if len(ends) != 2:
            raise InputError(f"--interpolate={INTERPOLATE.value}: give two users by a comma, --interpolate=ID_1,ID_5")
        return sampling_jobs.interpolate(model, ends, INTERPOLATE_STEPS.value, count, seed)
    if LIKE.value:
        user = None if USER_IDS.value == "all" else USER_IDS.value
        return sampling_jobs.variations(
            model, user_windows.read_user_windows(model, Path(LIKE.value), user), STRENGTH.value, count, seed
        )
    return sampling_jobs.long_walks(model, users_of(model), count, seed, SECONDS.value, WINDOW_SECONDS.value)


def users_of(model: Model) -> Sequence[str]:
    return model.users if USER_IDS.value == "all" else tuple(USER_IDS.value.split(","))


def kind() -> str:
    """What the name of the default folder says of the job."""
    if INTERPOLATE.value:
        return f"_between_{INTERPOLATE.value.replace(',', '_and_')}"
    if LIKE.value:
        return f"_like_{Path(LIKE.value).stem}_strength{STRENGTH.value}"
    if SECONDS.value is not None:
        return f"_{SECONDS.value:g}s"
    return f"_filter_{'_'.join(sorted(FILTER.value))}" if FILTER.value else ""


if __name__ == "__main__":
    cli.run(main)
