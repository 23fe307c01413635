"""The values that a configuration can have: a range or a list of choices for each key, and what has to agree.

Upper bounds are generous: they keep a slip of the finger from taking all memory, or forever.
"""

import difflib
from typing import Any

from ml_collections import ConfigDict

from mdiff_jax.runtime import ranges
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.ranges import COUNT, SEED, Range, flatten, prefixed

STAGES = ("encoder", "prior", "decoder")
DISTILL = "distill"  # the stage of the decoder's student, where there is one
NO_MODEL, BASE_MODEL, EARLY = "none", "base", "early"  # values of init_from that are no folder, and of sample.guide
CHOICES: dict[str, tuple[str, ...]] = {
    f"{name}.optimizer.schedule": ("cosine", "constant") for name in (*STAGES, DISTILL)
}
CHOICES |= {f"{name}.schedule": ("cosine", "linear") for name in STAGES[1:]} | {
    "precision": ("float32", "bfloat16", "float16"),
    "stage": ("all", *STAGES, DISTILL),
    "attention": ("einsum", "cudnn"),
    "remat": ranges.REMAT,
    "data.kind": ("folder", "walkers"),
    "data.channels": ("scalar", "rgb"),
    "data.stft.array_axes": ranges.ARRAY_AXES,
    "data.split_by": ("auto", "recording", "block", "random_that_leaks"),
    "decoder.prediction": ranges.PREDICTIONS,
    "decoder.weighting": ranges.WEIGHTINGS,
    "sample.sampler": ranges.SAMPLERS,
    "sample.spacing": ranges.SPACINGS,
    "sample.threshold": ("clip", "dynamic"),
    "sample.checkpoint": ("latest", "best"),
    "sample.guide": ("null", EARLY),
}
MAX_POSITIONS = 2**14  # that attend to each other: 1 GB of float32 for each head and example

# ----------------------------------------------------------------------------- ranges

SWITCH, TEXT, SHARE = Range(bool), Range(str), Range(float, 0, 1)
COUNT_OR_NONE = Range(int, 0, 10**6)
POSITIVE, WEIGHT = Range(float, 0, 10**6, above=True), Range(float, 0, 10**6)
BATCH_SIZE = Range(int, 1, 2**16)
TIMESTEPS, SAMPLING_STEPS = Range(int, 2, 10**5), Range(int, 1, 10**5)
WIDTH, WIDTHS = Range(int, 1, 2**13), Range(int, 1, 2**12, length=(1, 6))
SCALE, SIDE = Range(float, 0, 100), Range(int, 8, 2**12)  # of guidance; of a window
DECAY, INTERVAL = Range(float, 0, 1, below=True), Range(float, -100, 100, length=(0, 2))
SAMPLES_PER_USER = Range(int, 1, 10**5)


OPTIMIZER = prefixed(
    "optimizer",
    {
        "learning_rate": Range(float, 0, 10, above=True),
        "warmup_steps": COUNT_OR_NONE,
        "weight_decay": Range(float, 0, 10),
        "clip_norm": POSITIVE,
        "b2": Range(float, 0, 1, above=True, below=True),
    },
)
TRAINING = {"epochs": COUNT, "batch_size": BATCH_SIZE} | OPTIMIZER  # of each stage
DENOISING = TRAINING | {  # of prior and decoder
    "timesteps": TIMESTEPS,
    "sample_timesteps": SAMPLING_STEPS,
    "cond_drop_prob": Range(float, 0, 1, below=True),
    "curriculum": Range(tuple, length=(0, 100)),
    "accumulate": Range(int, 1, 2**12),
}
GENERAL = {
    "seed": SEED,
    "init_from": TEXT,
    "keep_early": Range(float, 0, 1, below=True),
    "validation_passes": Range(int, 0, 1000),
    "patience": COUNT_OR_NONE,
    "sheet_every": COUNT_OR_NONE,
    "grace_seconds": Range(float, 0, 3600, above=True),
    "ema_decays": DECAY._replace(length=(1, 8)),
}
GENERAL |= dict.fromkeys(("log_every", "checkpoint_every", "keep_checkpoints", "max_skipped"), COUNT)
GENERAL |= dict.fromkeys(("dry_run", "tensorboard", "compilation_cache"), SWITCH)
DATA = {
    "path": TEXT,
    "image_size": SIDE._replace(length=(2, 2)),
    "colormap": TEXT,
    "native_frames": SWITCH,
    "fractions": Range(float, 0, 1, above=True, below=True, length=(3, 3)),
    "folds": Range(int, 1, 1000),
    "fold": Range(int, 0, 999),
    "windows_per_user": COUNT_OR_NONE,
    "gap": COUNT_OR_NONE,
    "balanced": SWITCH,
    "stft.window_seconds": Range(float, 1e-4, 10),
    "stft.hop_seconds": Range(float, 1e-5, 10),
    "stft.frames": SIDE,
    "stft.hop_frames": Range(int, 1, SIDE.high),
    "stft.span_db": Range(float, 1, 200),
    "stft.zero_row": Range(float, 0, 1, below=True),
} | prefixed("walkers", ranges.WALKERS)
ENCODER = TRAINING | {
    "epochs": COUNT_OR_NONE,
    "embedding_dim": WIDTH,
    "channels": WIDTHS,
    "blocks": Range(int, 0, 8),
    "patch": Range(int, 1, 64, length=(2, 2)),
    "temperature": Range(float, 1e-3, 100),
    "contrastive_weight": WEIGHT,
    "classification_weight": WEIGHT,
    **dict.fromkeys(("augment.shift", "augment.gain", "augment.mask"), SHARE),
    "augment.noise": Range(float, 0, 10),
}
PRIOR = DENOISING | {"width": WIDTH, "depth": Range(int, 1, 128), "heads": Range(int, 1, 256), "self_condition": SWITCH}
DECODER = DENOISING | {
    "log_snr_shift": Range(float, -20, 20),
    **dict.fromkeys(("zero_terminal_snr", "user_conditioning", "occupancy"), SWITCH),
    "channels": WIDTHS,
    "blocks": ENCODER["blocks"],
    "attention": SWITCH._replace(length=WIDTHS.length),
    "head_width": WIDTH,
    "patch": ENCODER["patch"],
    "fine_channels": Range(int, 0, WIDTH.high),
    "cond_width": WIDTH,
    "conditioning_noise": Range(float, 0, 10),
    "floor_margin": Range(float, 0, 10),
}
DISTILLATION = OPTIMIZER | {key: DENOISING[key] for key in ("curriculum", "batch_size", "accumulate")}
DISTILLATION |= {"teacher_timesteps": SAMPLING_STEPS, "sample_timesteps": Range(int, 0, SAMPLING_STEPS.high)}
DISTILLATION |= {"scales": SCALE._replace(length=(2, 2)), "huber": POSITIVE}
SAMPLE = {
    "num_samples_per_user": SAMPLES_PER_USER,
    "cond_scale": SCALE,
    "prior_cond_scale": SCALE,
    "guidance_interval": INTERVAL,
    "guidance_rescale": SHARE,
    "eta": SHARE,
    "noise_scale": Range(float, 0.9, 1.1),
    "calibration_windows": SAMPLES_PER_USER._replace(low=0),
    "batch_size": BATCH_SIZE,
    "teacher": SWITCH,
    "ema_decay": DECAY,
}
ENROLLMENT = {
    **dict.fromkeys(("min_windows", "max_windows"), Range(int, 1, 1000)),
    **dict.fromkeys(("steps", "update_steps"), COUNT),
    **dict.fromkeys(("learning_rate", "update_learning_rate"), OPTIMIZER["optimizer.learning_rate"]),
    **dict.fromkeys(("prior_batch_size", "decoder_batch_size", "update_batch_size"), BATCH_SIZE),
    "update_rank": ranges.RANK,
    "deviation_penalty": WEIGHT,
    "seed": SEED,
}
PEOPLE = {"references": SWITCH, "min_references": Range(int, 1, 1000), "max_references": Range(int, 1, 1000)}
PEOPLE |= {"user_row": SWITCH, "row_drop_prob": DENOISING["cond_drop_prob"]}
SUMMARY = {"grid_columns": Range(int, 1, 64), "max_users": COUNT}
PARTS = {"data": DATA, "encoder": ENCODER, "prior": PRIOR, "decoder": DECODER, DISTILL: DISTILLATION}
PARTS |= {"people": PEOPLE, "sample": SAMPLE, "enrollment": ENROLLMENT, "summary": SUMMARY}
RANGES = GENERAL | {key: value for name, part in PARTS.items() for key, value in prefixed(name, part).items()}


# ----------------------------------------------------------------------------- checks


def validate(config: ConfigDict) -> None:
    """Raises InputError for the first value that cannot work, before anything is made.

    In this order: the keys, each value by itself (`CHOICES`, `RANGES`), values that have to agree.
    """
    check_values(config.to_dict())
    for name in ("encoder", "decoder"):
        check_levels(config, name)
    for name in ("prior", "decoder"):
        check_timesteps(config, name)
    check_attention(config)
    check_distillation(config)
    data, sample = config.data, config.sample
    if data.path and data.kind == "walkers":
        raise InputError(f"data.path is '{data.path}', but walkers are simulated: give data.kind=folder")
    if abs(sum(data.fractions) - 1) > 1e-6:
        raise InputError(f"data.fractions is {tuple(data.fractions)}: give three shares that add up to 1")
    if data.fold >= data.folds:
        raise InputError(f"data.fold is {data.fold}: give 0 to {data.folds - 1}, below data.folds")
    if len({str(decay) for decay in config.ema_decays}) < len(config.ema_decays):
        raise InputError(f"ema_decays is {tuple(config.ema_decays)}: give each decay once")
    if sample.ema_decay not in config.ema_decays:
        raise InputError(f"sample.ema_decay {sample.ema_decay} is not among ema_decays {config.ema_decays}")
    interval = tuple(sample.guidance_interval)
    if interval and not (len(interval) == 2 and interval[0] < interval[1]):
        raise InputError(f"sample.guidance_interval is {interval}: give two log-SNRs, the lower first, or ()")
    if not config.encoder.epochs and config.init_from == NO_MODEL:
        raise InputError("encoder.epochs is 0: give init_from too, the model whose encoder is kept")
    if sample.eta and sample.sampler != "ddim":
        raise InputError(f"sample.eta is {sample.eta}: with sample.sampler {sample.sampler} give 0, it is for ddim")
    if config.decoder.occupancy and config.decoder.prediction != "v":
        raise InputError(f"decoder.prediction is {config.decoder.prediction}: with decoder.occupancy give v")
    for part, unit in (("enrollment", "windows"), ("people", "references")):
        if (low := config[part][f"min_{unit}"]) > (high := config[part][f"max_{unit}"]):
            raise InputError(f"{part}.min_{unit} is {low}: give at most {high} ({part}.max_{unit})")


def check_values(values: dict[str, Any]) -> None:
    """Raises InputError for the first key of a nested dict that is unknown or missing, or has a value out of range."""
    values = flatten(values)
    known = RANGES.keys() | CHOICES.keys()
    for key, value in values.items():
        check_value(key, value)
    for key in sorted(known - values.keys()):
        raise InputError(f"the configuration has no value for '{key}': take it over from configs/default.py")


def check_value(key: str, value: Any) -> None:
    """Raises InputError for a dotted key that is unknown, or has a value that it cannot have."""
    if key in CHOICES:
        if value not in CHOICES[key]:
            raise InputError(f"{key} is {ranges.show(value)}: give one of {', '.join(CHOICES[key])}")
    elif key in RANGES:
        RANGES[key].check(key, value)
    else:
        near = difflib.get_close_matches(key, RANGES.keys() | CHOICES.keys(), 1, cutoff=0.0)
        raise InputError(f"'{key}' is not a key of the configuration: remove it, or did you mean '{near[0]}'?")


def check_levels(config: ConfigDict, name: str) -> None:
    """Raises InputError unless windows divide into the patches and levels of encoder or decoder."""
    c, size = config[name], tuple(config.data.image_size)
    units = tuple(side * 2 ** (len(c.channels) - 1) for side in c.patch)
    if size[0] % units[0] or size[1] % units[1]:
        raise InputError(
            f"data.image_size is {size}: with {name}.patch {tuple(c.patch)} and {len(c.channels)} levels the two must "
            f"be multiples of {units[0]} and {units[1]}"
        )


def check_timesteps(config: ConfigDict, name: str) -> None:
    """Raises InputError unless sampling steps, curriculum and noise schedule of prior or decoder go together."""
    c = config[name]
    if c.sample_timesteps > c.timesteps:
        raise InputError(f"{name}.sample_timesteps is {c.sample_timesteps}: give 1 to {c.timesteps} ({name}.timesteps)")
    check_curriculum(config, name, ("timesteps", TIMESTEPS), "((250, 10), (1000, 50))")
    if name == "decoder" and c.zero_terminal_snr and c.prediction == "eps":
        raise InputError("decoder.prediction is 'eps': with decoder.zero_terminal_snr give v or x0")


def check_curriculum(config: ConfigDict, name: str, first: tuple[str, Range], example: str) -> None:
    """Raises InputError unless each phase of a curriculum is a pair of what `first` names, and epochs."""
    for pair in config[name].curriculum:
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            say = f"give pairs of ({first[0]}, epochs), {example}"
            raise InputError(f"{name}.curriculum holds {ranges.show(pair)}: {say}")
        for (part, allowed), value in zip((first, ("epochs", COUNT)), pair, strict=True):
            allowed.check(f"{name}.curriculum: {part}", value)


def check_distillation(config: ConfigDict) -> None:
    """Raises InputError unless segments divide the teacher's steps, and the student learns the scale to sample with."""
    c, (low, high), sample = config.distill, config.distill.scales, config.sample
    check_curriculum(config, DISTILL, ("segments", SAMPLING_STEPS), "((8, 10), (4, 20))")
    if config.stage == DISTILL and not c.curriculum:
        raise InputError("distill.curriculum is (): give phases of (segments, epochs), ((8, 8), (4, 16))")
    if not c.curriculum:
        return
    for key in ("teacher_timesteps", "sample_timesteps"):
        if c[key] > (most := config.decoder.timesteps):
            raise InputError(f"distill.{key} is {c[key]}: give at most {most} (decoder.timesteps)")
    if wrong := [segments for segments, _ in c.curriculum if c.teacher_timesteps % segments]:
        raise InputError(f"distill.teacher_timesteps is {c.teacher_timesteps}: give a multiple of {wrong[0]}, segments")
    if not low <= 1 <= high:
        raise InputError(f"distill.scales is {(low, high)}: give two, the lower first, 1 (no guidance) not outside")
    if not (sample.teacher or low <= sample.cond_scale <= high):
        say = f"the student learns {low} to {high} (distill.scales): give one of these, or sample.teacher (--teacher)"
        raise InputError(f"sample.cond_scale is {sample.cond_scale}: {say}")


def check_attention(config: ConfigDict) -> None:
    """Raises InputError unless channels divide into heads, and the fused attention can take them."""
    c, prior = config.decoder, config.prior
    if len(c.attention) != len(c.channels):
        raise InputError("decoder.attention needs one true or false for each of decoder.channels")
    if prior.width % prior.heads:
        raise InputError(f"prior.width {prior.width} must be a multiple of prior.heads {prior.heads}")
    widths = {"prior.width / prior.heads": prior.width // prior.heads}
    rows, frames = (side // patch for side, patch in zip(config.data.image_size, c.patch, strict=True))
    for level in (i for i, attends in enumerate(c.attention) if attends):
        heads, positions = max(1, c.channels[level] // c.head_width), (rows >> level) * (frames >> level)
        if c.channels[level] % heads:
            raise InputError(
                f"decoder.channels has {c.channels[level]} at a level with attention: give a multiple of "
                f"decoder.head_width {c.head_width}"
            )
        if positions > MAX_POSITIONS:
            raise InputError(
                f"decoder.attention is true at level {level}, of {positions} positions: give at most {MAX_POSITIONS}, "
                "by a larger decoder.patch or attention at later levels only"
            )
        widths["decoder.channels / heads"] = c.channels[level] // heads
    if config.attention == "cudnn":
        if config.precision == "float32":
            raise InputError("attention is 'cudnn': with it give precision float16 or bfloat16, or einsum")
        for name, width in widths.items():
            if width % 8 or width > 128:
                raise InputError(f"attention is 'cudnn' and {name} {width}: give a multiple of 8, at most 128")
