"""The record of a folder of samples, provenance.json: the settings that decide the pixels, and what each file is."""

from pathlib import Path
from typing import Any

from mdiff_jax.config import to_plain_dict
from mdiff_jax.data import labels
from mdiff_jax.inference import user_adapters
from mdiff_jax.inference.model import Model
from mdiff_jax.inference.sampling_jobs import SamplingJob
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.version import VERSION
from mdiff_jax.runtime.workdir import read_json, refuse_damage, write_json

Settings = dict[str, Any]  # JSON values; samples of one folder have all of them in common
Record = dict[str, Any]  # 'files': name → what is known of it; 'rejected': names of tasks; 'enrolled': user → digest

# of a folder of plain samples, beside the images
FILES = ("provenance.json", "grid.png", "samples.npz", "samples.mat", labels.FILE, labels.METADATA_FILE)
# the first of these settings names a job; folders of older versions may have across_walks
JOB_KINDS = ("interpolate", "across_walks", "like", "seconds", "filter")
MAX_SUFFIX_BYTES = 120  # of the name of a folder, which may have 255
KEYS_WITHOUT_EFFECT = ("num_samples_per_user", "batch_size", "teacher")  # of config.sample
KEYS_BESIDE_SETTINGS = {"complete", "files", "rejected", "share_rejected", "enrolled"}


def default_folder(model: Model, parent: Path, seed: int, suffix: str = "") -> Path:
    """Returns the folder named by the settings that change most often; `suffix`, any text, tells jobs other than plain
    samples.
    """
    s, steps = model.config.sample, model.decoder_steps
    suffix = "".join(c if c.isprintable() and c not in "/\\" else "_" for c in suffix)
    suffix = suffix.encode()[:MAX_SUFFIX_BYTES].decode(errors="ignore")
    sampler = "student" if model.student else s.sampler
    return parent / f"seed{seed}_{sampler}{steps}_cond{s.cond_scale}_prior{s.prior_cond_scale}{suffix}"


def describe_settings(model: Model, seed: int) -> Settings:
    """Returns the seed and what else of a model decides the pixels of a sample."""
    values = to_plain_dict(model.config)
    return {
        "seed": seed,
        **{name: value for name, value in values["sample"].items() if name not in KEYS_WITHOUT_EFFECT},
        "precision": values["precision"],
        "prior_sample_timesteps": values["prior"]["sample_timesteps"],
        "decoder_sample_timesteps": model.decoder_steps,
        "prior_checkpoint_step": model.prior_step,
        "checkpoint_step": model.step,
        **({"student_checkpoint_step": model.student_step} if model.student else {}),
        "data_fingerprint": model.dataset.fingerprint,
        "version": VERSION,
    }


def adapter_digests(job: SamplingJob) -> dict[str, str]:
    """Returns, for each enrolled user that a job samples, the digest of that user's adapter."""
    names = {task.about["user"] for task in job.tasks}.union(job.settings.get("interpolate", ()))
    return {name: user_adapters.adapter_digest(user) for name, user in job.model.enrolled.items() if name in names}


def read_provenance(folder: Path, settings: Settings, enrolled: dict[str, str]) -> Record:
    """Returns the record of earlier calls, empty where there is none, with the users of this call in 'enrolled'.

    Raises InputError if the earlier samples have other settings, or a user was enrolled anew since.
    """
    earlier = read_record(folder)
    if earlier is None:
        return {"files": {}, "rejected": [], "enrolled": enrolled}
    for key in dict.fromkeys([*settings, *earlier]):
        if key not in KEYS_BESIDE_SETTINGS and earlier.get(key) != settings.get(key):
            raise InputError(
                f"{folder} holds samples with {key}={earlier.get(key)!r}, now it is {settings.get(key)!r}: "
                "give another --output_dir"
            )
    earlier_users = earlier.get("enrolled", {})
    for name, digest in enrolled.items():
        if earlier_users.get(name, digest) != digest:
            raise InputError(f"{folder} holds samples of '{name}' as enrolled before: give another --output_dir")
    return {"files": earlier["files"], "rejected": earlier["rejected"], "enrolled": earlier_users | enrolled}


def read_record(folder: Path) -> dict[str, Any] | None:
    """Returns the contents of FOLDER/provenance.json, None where there is none; InputError if it is damaged."""
    path = folder / "provenance.json"
    if not path.exists():
        return None
    remedy = "remove the folder and sample again, or give another folder"
    record = read_json(path, remedy)
    with refuse_damage(path, remedy):
        kinds = [type(record[key]) for key in ("complete", "files", "rejected")] + [type(record.get("enrolled", {}))]
        if kinds != [bool, dict, list, dict] or any(type(about) is not dict for about in record["files"].values()):
            raise TypeError("fields have other types")
        return record


def job_kind(record: dict[str, Any]) -> str:
    """Returns the one of JOB_KINDS that samples are of, else 'plain'."""
    return next((kind for kind in JOB_KINDS if kind in record), "plain")


def make_labels(record: Record) -> list[labels.Label]:
    """Returns the labels of all files; one whose task says no more than whose it is belongs to that user alone."""
    return [
        labels.Label(file, about["user"], 1.0, about.get("soft_label", {about["user"]: 1.0}), about.get("source", ()))
        for file, about in record["files"].items()
    ]


def write_labels(folder: Path, record: Record) -> None:
    """Writes metadata.jsonl, and labels.csv where tasks say more of their files than whose they are."""
    lines = make_labels(record)
    labels.write_metadata(folder, lines)
    if any("soft_label" in about for about in record["files"].values()):
        labels.write_labels(folder, lines)


def write_provenance(folder: Path, settings: Settings, record: Record, *, complete: bool) -> None:
    """Writes FOLDER/provenance.json; `complete` says whether all the samples asked for are there."""
    rejected, kept = len(record["rejected"]), len(record["files"])
    share = round(rejected / max(rejected + kept, 1), 4)
    write_json(folder / "provenance.json", settings | {"complete": complete, "share_rejected": share} | record)


def read_share_rejected(folder: Path) -> float:
    """Returns the share, 0 to 1, of all generated windows that a filter rejected."""
    return read_record(folder)["share_rejected"]
