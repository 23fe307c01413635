"""Samples spectrograms of named users from a trained working directory, or of new people from the base model.

python sample.py --workdir=runs/gait --user_ids=ID_1,ID_3 --num_samples_per_user=4 --sample_timesteps=64
python sample.py --workdir=runs/gait --user_ids=ID_1 --filter=physics,novelty --npz
python sample.py --workdir=runs/gait --interpolate=ID_1,ID_5 --interpolate_steps=8
python sample.py --workdir=runs/gait --like=FILE_OR_FOLDER --strength=0.6
python sample.py --workdir=runs/gait --like=training --strength=0.5
python sample.py --workdir=runs/gait --like=training --as=ID_1 --strength=0.6
python sample.py --workdir=runs/gait --filter=physics,novelty,hard
python sample.py --workdir=runs/gait --user_ids=ID_1 --seconds=10
python sample.py --workdir=runs/gait --teacher --sample_timesteps=64
python sample.py --base --like=FOLDER
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdiff_jax.runtime import ranges
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.flags import Flags, parse_numbers, require_together, require_workdir
from mdiff_jax.runtime.progress import doing
from mdiff_jax.validation import CHOICES, RANGES

if TYPE_CHECKING:
    from mdiff_jax.inference.model import Model
    from mdiff_jax.inference.sampling_jobs import SamplingJob
    from mdiff_jax.inference.user_windows import UserWindows

FLAGS = Flags()

FLAGS.group("users and number of samples")
WORKDIR = FLAGS.folder("workdir", "Working directory of train.py, or an exported model; or give --base.")
BASE = FLAGS.switch("base", False, "With --like: the base model, for the people whose windows lie there.")
USER_IDS = FLAGS.text("user_ids", "all", "Names of users, separated by commas, or all.")
COUNT = FLAGS.integer(
    "num_samples_per_user",
    None,
    "Samples of each user, strips, or variations of a window.",
    RANGES["sample.num_samples_per_user"],
)
SEED = FLAGS.integer("seed", 0, "Random seed: image i of a user depends on the seed and i alone.", ranges.SEED)

FLAGS.group("sampling; without a flag, the value of the working directory")
STEPS = FLAGS.integer(
    "sample_timesteps",
    None,
    "Sampling steps: of the student, else of prior and decoder.",
    RANGES["decoder.sample_timesteps"],
)
TEACHER = FLAGS.switch("teacher", False, "Draw by the decoder itself, even where its student is finished.")
COND_SCALE = FLAGS.number(
    "cond_scale", None, "Guidance scale of the decoder; 1: no guidance.", RANGES["sample.cond_scale"]
)
PRIOR_COND_SCALE = FLAGS.number(
    "prior_cond_scale", None, "Guidance scale of the prior; 1: no guidance.", RANGES["sample.prior_cond_scale"]
)
GUIDE = FLAGS.choice(
    "guide",
    None,
    CHOICES["sample.guide"],
    "What guidance leads away from: null (no condition), early (checkpoints).",
)
GUIDANCE_INTERVAL = FLAGS.texts("guidance_interval", None, "LOW,HIGH: log-SNRs to guide the decoder between.")
GUIDANCE_RESCALE = FLAGS.number(
    "guidance_rescale",
    None,
    "0 to 1: scales guided estimates to the deviation before.",
    RANGES["sample.guidance_rescale"],
)
SAMPLER = FLAGS.choice("sampler", None, CHOICES["sample.sampler"], "Sampler.")
ETA = FLAGS.number(
    "eta", None, "Noise of the ddim sampler, from 0 (none) to 1 (as much as ddpm).", RANGES["sample.eta"]
)
NOISE_SCALE = FLAGS.number(
    "noise_scale", None, "Above 1: leaves more noise at each step, for more structure.", RANGES["sample.noise_scale"]
)
SPACING = FLAGS.choice("spacing", None, CHOICES["sample.spacing"], "Spacing of the sampling steps.")
EMA_DECAY = FLAGS.number("ema_decay", None, "Parameter average to use: one of ema_decays.", RANGES["sample.ema_decay"])
PRECISION = FLAGS.choice("precision", None, CHOICES["precision"], "Precision of the networks.")
BATCH_SIZE = FLAGS.integer(
    "batch_size", None, "Samples in a batch; affects only memory and speed.", RANGES["sample.batch_size"]
)

FLAGS.group("other kinds of samples, and filters")
INTERPOLATE = FLAGS.text("interpolate", None, "USER,USER: strips of windows from one to the other.")
INTERPOLATE_STEPS = FLAGS.integer("interpolate_steps", 8, "Number of windows in a strip.", ranges.STRIP_WINDOWS)
LIKE = FLAGS.path("like", "File or folder of windows to vary, or training (./training: a folder).")
STRENGTH = FLAGS.number(
    "strength", 1.0, "With --like: 1 keeps only the embedding, less the window too.", ranges.STRENGTHS
)
AS = FLAGS.text("as", None, "With --like: USER,USER or all, whom to draw windows of other people as.")
GAMMA = FLAGS.number(
    "soft_label_gamma", None, "With --as: strength^gamma is the share of USER, 0.7 if not given.", ranges.GAMMAS
)
SECONDS = FLAGS.number("seconds", None, "Duration of walks longer than a window, in seconds.", ranges.SECONDS)
WINDOW_SECONDS = FLAGS.number(
    "window_seconds", None, "With --seconds: duration of a window, if unknown.", ranges.SECONDS
)
FILTER = FLAGS.texts("filter", [], "Keep samples that pass: physics, novelty; of four the hardest: hard.")

FLAGS.group("output")
OUTPUT_DIR = FLAGS.folder("output_dir", "Folder of the samples; by default WORKDIR/samples/SETTINGS.")
FORMAT = FLAGS.choice("format", None, ("png", "jpg"), "Format of the images; that of the recordings if not given.")
NPZ = FLAGS.switch("npz", False, "Also write samples.npz: scalar windows, users, axes.")
MAT = FLAGS.switch("mat", False, "Also write samples.npz and samples.mat (MATLAB v5), with axes and units.")
TFDS = FLAGS.switch("tfds", False, "Also write samples.npz and, beside the folder, the data set FOLDER_tfds.")

FLAGS.group("several processes, one on each host; on a TPU pod they find each other")
COORDINATOR = FLAGS.text("coordinator_address", None, "HOST:PORT of the first process.")
PROCESSES = FLAGS.integer("num_processes", None, "Number of processes.", ranges.PROCESSES)
PROCESS = FLAGS.integer("process_id", None, "Index of this process, from 0.", ranges.PROCESS)

TRAINING = "training"  # value of --like that is no path

KEYS = {  # that flags change in the configuration of the working directory
    "sample.num_samples_per_user": COUNT,
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


def main() -> None:
    check_flags()
    if not BASE.value:
        require_workdir(WORKDIR)

    with doing("starting", in_logs=False):
        from mdiff_jax.runtime import processes

    with processes.connect(COORDINATOR.value, PROCESSES.value, PROCESS.value):
        draw_samples()


def check_flags() -> None:
    """Raises InputError for flags that make no sense together."""
    if BASE.value == (WORKDIR.value is not None):
        raise InputError("give --workdir=DIR, the working directory of train.py, or else --base --like=FOLDER")
    if BASE.value and not LIKE.value:
        raise InputError("--base knows nobody by name: give --like=FOLDER, windows of one person or a folder for each")
    if BASE.value and LIKE.value == TRAINING:
        raise InputError("--base was trained on nobody of yours: give --like=FOLDER, ./training if that is its name")
    if BASE.value and (given := [f.name for f in (STRENGTH, AS) if f.present]):
        raise InputError(f"--{given[0]} is for training windows and variations, with --workdir: remove it")
    require_together((INTERPOLATE_STEPS, INTERPOLATE), (STRENGTH, LIKE), (WINDOW_SECONDS, SECONDS))
    require_together((AS, LIKE), (GAMMA, AS))
    if INTERPOLATE.value and USER_IDS.present:
        raise InputError("--user_ids does not go with --interpolate, which names its users itself: remove one of them")
    if AS.value is not None and STRENGTH.value == 1:
        raise InputError("--strength is 1, which keeps nothing of the windows to draw --as USER: give 0.3 to 0.9")
    jobs = (INTERPOLATE, SECONDS) if BASE.value else (INTERPOLATE, LIKE, SECONDS)
    modes = [f for f in jobs if f.value is not None]
    modes += [FILTER] if FILTER.value and not counts_by_user() else []
    if len(modes) > 1:
        raise InputError(f"--{modes[0].name} and --{modes[1].name} do not go together: give one of them")


def draw_samples() -> None:
    """Draws and writes what the flags ask for."""
    with doing("starting", in_logs=False):
        from mdiff_jax import load, load_base
        from mdiff_jax.inference import provenance, sample_writer
        from mdiff_jax.runtime import parallel
        from mdiff_jax.runtime.workdir import Workdir

    with doing("reading the model"):
        model = load_base(LIKE.value, settings()) if BASE.value else load(WORKDIR.value, settings())
    if reason := needs_teacher():
        model = model.with_teacher(reason)
    if STEPS.value is not None:
        model = model.with_steps(STEPS.value)

    # ------------------------------------------------------------------- sample
    count, seed = model.config.sample.num_samples_per_user, SEED.value
    options = sample_writer.SaveOptions(FORMAT.value, NPZ.value, TFDS.value, FILTER.value, MAT.value)
    parent = Path("samples") if BASE.value else Workdir(WORKDIR.value).samples
    folder = provenance.default_folder(model, parent, seed, folder_suffix())
    folder = Path(OUTPUT_DIR.value) if OUTPUT_DIR.value else folder
    with doing("preparing what is to be drawn"):
        job = make_job(model, sample_writer.count_attempts(count, options), seed)
    files = sample_writer.write_job(job, seed, folder, options, count if counts_by_user() else None)

    # ------------------------------------------------------------------- report
    if not parallel.is_first():
        return
    print(f"{len(files)} images in {folder}; sheet {folder / job.sheet}")
    if model.drawn_by:
        print(model.drawn_by)
    if FILTER.value:
        share = provenance.read_share_rejected(folder)
        print(f"{share:.1%} of the generated samples were rejected by --filter={','.join(FILTER.value)}")


def settings() -> dict[str, Any]:
    """Returns the keys that the given flags change, with their values."""
    given = {key: flag.value for key, flag in KEYS.items() if flag.value is not None}
    given |= {"sample.teacher": True} if TEACHER.value else {}
    if GUIDANCE_INTERVAL.value is not None:  # empty: guidance everywhere
        interval = parse_numbers(GUIDANCE_INTERVAL, RANGES["sample.guidance_interval"])
        given["sample.guidance_interval"] = tuple(interval)
    return given


def needs_teacher() -> str:
    """Returns why the decoder's student cannot draw what the flags ask for; '' where it can."""
    from mdiff_jax.inference import sampling_jobs

    if LIKE.value is not None:
        return sampling_jobs.FROM_WINDOWS
    return sampling_jobs.OVERLAPPING if SECONDS.value is not None else ""


def counts_by_user() -> bool:
    """Returns whether samples are so many of each user, of which filters can choose: not strips, long walks, or
    variations of each file.
    """
    varied = LIKE.value is not None and not BASE.value and AS.value is None and LIKE.value != TRAINING
    return INTERPOLATE.value is None and SECONDS.value is None and not varied


def make_job(model: "Model", count: int, seed: int) -> "SamplingJob":
    """Returns the job that the flags ask for, of `count` samples of each user, strips, or variations of a file."""
    from mdiff_jax.inference import augmenting_jobs, sampling_jobs

    if INTERPOLATE.value is not None:
        ends = tuple(INTERPOLATE.value.split(","))
        if len(ends) != 2:
            raise InputError(f"--interpolate={INTERPOLATE.value}: give two users, as in ID_1,ID_5")
        return sampling_jobs.interpolate(model, ends, INTERPOLATE_STEPS.value, count, seed)
    if AS.value is not None:
        others, users = given_windows(model), select_users(model, AS.value)
        gamma = augmenting_jobs.GAMMA if GAMMA.value is None else GAMMA.value
        return augmenting_jobs.others_drawn_as(model, others, users, STRENGTH.value, count, seed, gamma)
    if LIKE.value is not None and LIKE.value != TRAINING and not BASE.value:
        return sampling_jobs.variations(model, given_windows(model), STRENGTH.value, count, seed)
    users = requested_users(model)
    if LIKE.value == TRAINING:
        return augmenting_jobs.training_variations(model, users, STRENGTH.value, count, seed)
    if SECONDS.value is not None:
        return sampling_jobs.long_walks(model, users, count, seed, SECONDS.value, WINDOW_SECONDS.value)
    return sampling_jobs.plain_samples(model, users, count, seed)


def given_windows(model: "Model") -> "UserWindows":
    """Returns the windows of --like; of training windows those of --user_ids, who else names the owner of a folder."""
    from mdiff_jax.inference import user_windows

    if LIKE.value == TRAINING:
        return user_windows.training_windows(model, requested_users(model))
    owner = None if USER_IDS.value == "all" else USER_IDS.value
    return user_windows.read_user_windows(model, Path(LIKE.value), owner)


def requested_users(model: "Model") -> Sequence[str]:
    """Returns the names of --user_ids."""
    return select_users(model, USER_IDS.value)


def select_users(model: "Model", names: str) -> Sequence[str]:
    """Returns the users of a flag: names separated by commas, or 'all': the trained ones, else those enrolled."""
    return (model.users or tuple(model.enrolled)) if names == "all" else tuple(names.split(","))


def folder_suffix() -> str:
    """Returns the end of the name of the default folder, which tells jobs other than plain samples."""
    return (f"_base_{Path(LIKE.value).stem}" if BASE.value else "") + job_suffix()


def job_suffix() -> str:
    if INTERPOLATE.value:
        return f"_between_{INTERPOLATE.value.replace(',', '_and_')}"
    if SECONDS.value is not None:
        return f"_{SECONDS.value:g}s"
    filters = f"_filter_{'_'.join(sorted(FILTER.value))}" if FILTER.value else ""
    if LIKE.value and not BASE.value:
        drawn_as = f"_as_{AS.value.replace(',', '_and_')}" if AS.value is not None else ""
        return f"_like_{Path(LIKE.value).stem}{drawn_as}_strength{STRENGTH.value}{filters}"
    return filters
