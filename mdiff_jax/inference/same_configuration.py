"""Two runs in one working directory: which keys of a configuration may change between them."""

from mdiff_jax.config import from_older_version
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.validation import DISTILL, flatten

# Keys that may change between two runs: they do not touch what was trained.
FREE_KEYS = (
    *("stage", "log_every", "checkpoint_every", "keep_checkpoints", "keep_early", "compilation_cache"),
    *("max_skipped", "remat", "dry_run", "validation_passes", "patience", "sheet_every", "tensorboard"),
    *("grace_seconds", "prior.sample_timesteps", "decoder.sample_timesteps", "distill.sample_timesteps"),
    "data.path",  # the recordings' contents decide, not where they are
)
FREE_PREFIXES = ("sample.", "enrollment.", "summary.")


def check_same_configuration(before: dict, values: dict, where: str) -> None:
    """Raises InputError if keys that matter have other `values` than `before` in the working directory `where`; more
    epochs, and phases added to a curriculum, are accepted.
    """
    before, values = (flatten(from_older_version(v)) for v in (before, values))
    free = FREE_PREFIXES + (("data.walkers.",) if values.get("data.kind") == "folder" else ())
    free += () if before.get(f"{DISTILL}.curriculum") else (f"{DISTILL}.",)  # a student may be made later
    for key in sorted(before.keys() | values.keys()):
        old, new = before.get(key), values.get(key)
        if old == new or key in FREE_KEYS or key.startswith(free):
            continue
        if key.endswith(".epochs") and new > old:
            continue
        if key.endswith(".curriculum") and extends_curriculum(old, new):
            continue
        raise InputError(
            f"{where} was made with {key}={old!r}, now it is {new!r}: restore the old value or give another --workdir"
        )


def extends_curriculum(old: list, new: list) -> bool:
    """Returns whether the new curriculum is the old one with more epochs or phases at its end."""
    if not old or len(new) < len(old):
        return False
    (old_timesteps, old_epochs), (timesteps, epochs) = old[-1], new[len(old) - 1]
    return new[: len(old) - 1] == old[:-1] and timesteps == old_timesteps and epochs >= old_epochs
