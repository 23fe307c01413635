"""Samples as a folder that training can read: an image a sample, a sheet, and where each came from."""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from mdiff_jax import __version__
from mdiff_jax.config import to_plain_dict
from mdiff_jax.data import builders, export, render, sources
from mdiff_jax.inference import rejection, sampling_jobs, user_adapters
from mdiff_jax.inference.model import Model
from mdiff_jax.inference.sampling_jobs import SampleTask, SamplingJob
from mdiff_jax.runtime import parallel
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import atomic_write, write_json

MAX_ATTEMPTS_PER_SAMPLE = 10  # samples drawn for one that is to pass the checks, at most
KEYS_WITHOUT_EFFECT = ("num_samples_per_user", "batch_size")  # of config.sample


class OutputFormats(NamedTuple):
    """What is written beside sheet and provenance."""

    image_format: str = "png"  # or jpg
    npz: bool = False  # samples.npz: scalar windows
    tfds: bool = False  # FOLDER_tfds, and samples.npz


IMAGES_ONLY = OutputFormats()


def write_samples(
    model: Model,
    users: Sequence[str],
    count: int,
    seed: int,
    folder: Path,
    output: OutputFormats = IMAGES_ONLY,
    filters: Sequence[str] = (),
) -> list[Path]:
    """Draws `count` samples of each user into FOLDER/USER/USER_seedS_NNNN.png; returns the files.

    With `filters` those of the first ids that pass the checks of that name.
    """
    if count < 1:
        raise InputError(f"num_samples_per_user is {count}: give at least 1")
    passes = rejection.make_filter(model, filters)
    job = sampling_jobs.plain_samples(model, users, count * MAX_ATTEMPTS_PER_SAMPLE if filters else count, seed)
    if filters:
        job = job._replace(settings=job.settings | {"filter": sorted(filters)})
    return write_job(job, seed, folder, output, passes, count)


def write_job(
    job: SamplingJob,
    seed: int,
    folder: Path,
    output: OutputFormats,
    passes: rejection.WindowFilter = lambda x: np.ones(len(x), bool),
    count: int | None = None,
) -> list[Path]:
    """Draws what is missing of a job into `folder`; returns the files, in the job's order.

    Images that are there already are kept, so an interrupted call goes on where it stopped, and a larger job adds. Each
    file appears whole or not at all. Of each user the first `count` samples that pass are kept, without it all. Several
    processes draw together; the first of them reads and writes. Raises InputError if the folder holds samples drawn
    with other settings, and if too few pass.
    """
    # ------------------------------------------------------------------- what is there
    check_output(job.model, output)
    settings = describe_settings(job.model, seed) | job.settings | {"format": output.image_format}
    place = OutputFolder(folder, output)
    there, record = parallel.broadcast_from_first(lambda: find_existing(job, place, settings))
    there = set(there)

    # ------------------------------------------------------------------- draw
    size = None
    while tasks := select_missing(job.tasks, there, record["rejected"], count):
        size = size or min(job.model.config.sample.batch_size, len(tasks))  # of all rounds: one program
        for chunk, windows, kept in draw_tasks(job, tasks, seed, size, passes):
            good = [(task, window) for task, window, keep in zip(chunk, windows, kept, strict=True) if keep]
            if parallel.is_first():
                write_provenance(
                    folder, settings, record, complete=False
                )  # once drawn: settings that cannot work leave nothing
                write_windows(job.model, place, good)
            there.update(task.name for task, _ in good)
            record["rejected"] += [task.name for task, keep in zip(chunk, kept, strict=True) if not keep]

    # ------------------------------------------------------------------- what there is now
    done = select_finished(job.tasks, there, count)
    short = [user for user, lack in count_missing(job.tasks, done, count).items() if lack]
    if parallel.is_first():
        record["files"] |= {place.image(task).relative_to(folder).as_posix(): task.about for task in done}
        write_provenance(folder, settings, record, complete=not short)
    if short:
        raise InputError(
            f"only {sum(t.about['user'] == short[0] for t in done)} of {count * MAX_ATTEMPTS_PER_SAMPLE} samples of "
            f"'{short[0]}' pass "
            f"--filter={','.join(settings['filter'])}: ask for fewer, or filter by less; the others are in {folder}"
        )
    if parallel.is_first():
        finish_folder(job, place, settings, record, done)
    return [place.image(task) for task in done]


class OutputFolder(NamedTuple):
    """Where samples go."""

    folder: Path
    output: OutputFormats

    @property
    def arrays(self) -> bool:
        """Whether scalar windows are kept too."""
        return self.output.npz or self.output.tfds

    def image(self, task: SampleTask) -> Path:
        return self.folder / f"{task.name}.{self.output.image_format}"

    def array(self, task: SampleTask) -> Path:
        """Where a window lies until all are there; as folders of users are, but hidden."""
        return self.folder / ".windows" / f"{task.name}.npy"


def find_existing(job: SamplingJob, place: OutputFolder, settings: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """The samples that are there already, and what is on record of the folder."""
    record = read_provenance(place.folder, settings, adapter_digests(job))
    if place.arrays:
        unpack_arrays(place.folder)
    tasks = [t for t in job.tasks if place.image(t).is_file() and (not place.arrays or place.array(t).is_file())]
    return [t.name for t in tasks], record


def write_windows(model: Model, place: OutputFolder, drawn: Sequence[tuple[SampleTask, np.ndarray]]) -> None:
    for task, window in drawn:
        if place.arrays:
            write_array(place.array(task), window)
        image = model.to_image(window)
        export.write_image(place.image(task), image, image_file_size(model, image))


def finish_folder(
    job: SamplingJob, place: OutputFolder, settings: dict[str, Any], record: dict[str, Any], done: Sequence[SampleTask]
) -> None:
    """What is made of all samples: arrays, data set, sheet."""
    if place.arrays:
        pack_arrays(place.folder, job, record["files"])
    if place.output.tfds:
        write_tfds(place.folder, job, settings)
    write_sheet(place.folder / job.sheet, job, [(task, place.image(task)) for task in done])


def check_output(model: Model, output: OutputFormats) -> None:
    if output.image_format not in export.FORMATS:
        raise InputError(f"format '{output.image_format}' is not known: give one of {', '.join(export.FORMATS)}")
    if (output.npz or output.tfds) and model.config.data.channels == "rgb":
        raise InputError("this model draws colours, which have no scalar windows: leave --npz and --tfds out")


def draw_tasks(
    job: SamplingJob, tasks: list[SampleTask], seed: int, size: int, passes: rejection.WindowFilter
) -> Iterator[tuple[list[SampleTask], np.ndarray, np.ndarray]]:
    """Chunks of tasks with their windows, and which of these pass."""
    with tqdm(total=len(tasks), desc="samples", unit="image", file=sys.stderr, disable=not parallel.is_first()) as bar:
        at = 0
        for chunk, windows in job.model.draw([t.request for t in tasks], seed, job.function, size):
            yield tasks[at : at + len(chunk)], windows, parallel.broadcast_arrays(passes(windows))
            at += len(chunk)
            bar.update(len(chunk))


# ----------------------------------------------------------------------------- which samples


def group_by_user(tasks: Sequence[SampleTask]) -> dict[str, list[SampleTask]]:
    users: dict[str, list[SampleTask]] = {}
    for task in tasks:
        users.setdefault(task.about["user"], []).append(task)
    return users


def select_finished(tasks: Sequence[SampleTask], there: set[str], count: int | None) -> list[SampleTask]:
    """Of each user the first `count` that are there."""
    return [t for mine in group_by_user(tasks).values() for t in [t for t in mine if t.name in there][:count]]


def select_missing(
    tasks: Sequence[SampleTask], there: set[str], rejected: Sequence[str], count: int | None
) -> list[SampleTask]:
    """What to draw next: of each user as many as are wanted still, in order of their numbers."""
    lack = count_missing(tasks, select_finished(tasks, there, count), count)
    settled = there.union(rejected)
    return [
        t
        for user, mine in group_by_user(tasks).items()
        for t in [t for t in mine if t.name not in settled][: lack[user]]
    ]


def count_missing(tasks: Sequence[SampleTask], done: Sequence[SampleTask], count: int | None) -> dict[str, int]:
    """How many samples of each user are wanted still."""
    there = group_by_user(done)
    return {
        user: (len(mine) if count is None else count) - len(there.get(user, ()))
        for user, mine in group_by_user(tasks).items()
    }


# ----------------------------------------------------------------------------- provenance


def default_folder(model: Model, parent: Path, seed: int, job: str = "") -> Path:
    """A folder named by the settings that most often change; `job` says what is unlike plain samples."""
    s, steps = model.config.sample, model.config.decoder.sample_timesteps
    return parent / f"seed{seed}_{s.sampler}{steps}_cond{s.cond_scale}_prior{s.prior_cond_scale}{job}"


def describe_settings(model: Model, seed: int) -> dict[str, Any]:
    """What decides the pixels of a sample."""
    values = to_plain_dict(model.config)
    return {
        "seed": seed,
        **{name: value for name, value in values["sample"].items() if name not in KEYS_WITHOUT_EFFECT},
        "precision": values["precision"],
        "prior_sample_timesteps": values["prior"]["sample_timesteps"],
        "decoder_sample_timesteps": values["decoder"]["sample_timesteps"],
        "prior_checkpoint_step": model.prior_step,
        "checkpoint_step": model.step,
        "data_fingerprint": model.dataset.fingerprint,
        "version": __version__,
    }


def adapter_digests(job: SamplingJob) -> dict[str, str]:
    """The enrolled people that a job draws, with a digest of what is known of each."""
    names = {task.about["user"] for task in job.tasks}.union(job.settings.get("interpolate", ()))
    return {name: user_adapters.adapter_digest(person) for name, person in job.model.enrolled.items() if name in names}


def read_provenance(folder: Path, settings: dict[str, Any], enrolled: dict[str, str]) -> dict[str, Any]:
    """'files', 'rejected' and 'enrolled' of an earlier call; InputError if the settings were others, or a person was
    enrolled anew.
    """
    path = folder / "provenance.json"
    if not path.is_file():
        return {"files": {}, "rejected": [], "enrolled": enrolled}
    before = json.loads(path.read_text())
    ours = {"complete", "files", "rejected", "share_rejected", "enrolled"}
    for key in dict.fromkeys([*settings, *before]):
        if key not in ours and before.get(key) != settings.get(key):
            raise InputError(
                f"{folder} holds samples with {key}={before.get(key)!r}, now it is {settings.get(key)!r}: "
                "give another --output_dir"
            )
    earlier_people = before.get("enrolled", {})
    for name, now in enrolled.items():
        if earlier_people.get(name, now) != now:
            raise InputError(f"{folder} holds samples of '{name}' as enrolled before: give another --output_dir")
    return {"files": before["files"], "rejected": before["rejected"], "enrolled": earlier_people | enrolled}


def write_provenance(folder: Path, settings: dict[str, Any], record: dict[str, Any], *, complete: bool) -> None:
    refused, kept = len(record["rejected"]), len(record["files"])
    share = refused / max(refused + kept, 1)
    write_json(
        folder / "provenance.json", settings | {"complete": complete, "share_rejected": round(share, 4)} | record
    )


def read_share_rejected(folder: Path) -> float:
    """Share of the samples drawn that did not pass the checks."""
    return json.loads((folder / "provenance.json").read_text())["share_rejected"]


# ----------------------------------------------------------------------------- scalar windows


def write_array(path: Path, window: np.ndarray) -> None:
    with atomic_write(path) as temporary:
        np.save(temporary, window.astype(np.float32), allow_pickle=False)


def unpack_arrays(folder: Path) -> None:
    """The windows of an earlier call."""
    packed = folder / "samples.npz"
    if not packed.is_file() or (folder / ".windows").is_dir():
        return
    with np.load(packed, allow_pickle=False) as file:
        for name, window in zip(file["name"], file["spectrogram"], strict=True):
            write_array(folder / ".windows" / f"{name}.npy", window)


def pack_arrays(folder: Path, job: SamplingJob, files: dict[str, dict[str, Any]]) -> None:
    """samples.npz: spectrogram (n, F, T) in [-1, 1], user, sample_id, name, and the axes where known: velocity of each
    row in m/s, time of each column in s.
    """
    parts = {name: folder / ".windows" / f"{Path(name).with_suffix('')}.npy" for name in sorted(files)}
    parts = {name: path for name, path in parts.items() if path.is_file()}
    windows = np.stack([np.load(path, allow_pickle=False) for path in parts.values()])
    columns = {"spectrogram": windows, "name": np.array([str(Path(name).with_suffix("")) for name in parts])}
    columns |= {key: np.array([files[name][key] for name in parts]) for key in ("user", "sample_id")}
    if (velocity := job.model.dataset.metadata["velocity"]) is not None:
        columns["velocity"] = np.array(velocity)
    if job.seconds is not None:
        columns["time"] = (np.arange(windows.shape[2]) + 0.5) * (job.seconds / windows.shape[2])
    with atomic_write(folder / "samples.npz") as temporary:
        np.savez_compressed(temporary, **columns)
    shutil.rmtree(folder / ".windows")


def write_tfds(folder: Path, job: SamplingJob, settings: dict[str, Any]) -> None:
    """FOLDER_tfds: what is in samples.npz as a prepared data set, for `builders.open_prepared`."""
    with np.load(folder / "samples.npz", allow_pickle=False) as file:
        values = {name: file[name] for name in ("spectrogram", "user", "name")}
    size = values["spectrogram"].shape[1:]
    fingerprint = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]

    def examples() -> Iterator[tuple[sources.WindowSource, np.ndarray, dict]]:
        for user, name, window in zip(values["user"], values["name"], values["spectrogram"], strict=True):
            item = sources.WindowSource(str(name), str(user), f"{Path(str(name)).name}/1", -1)
            yield item, window[..., None], job.model.dataset.metadata | {"window_seconds": job.seconds}

    target = folder.with_name(f"{folder.name}_tfds")
    builders.write_prepared(target, size, "scalar", fingerprint, len(values["name"]), examples)


# ----------------------------------------------------------------------------- pictures


def image_file_size(model: Model, image: np.ndarray) -> tuple[int, int]:
    """(rows, columns) of a file: the data set's own, wider for longer walks."""
    rows, columns = model.image_size()
    return rows, round(columns * image.shape[1] / model.config.data.image_size[1])


def write_sheet(path: Path, job: SamplingJob, files: list[tuple[SampleTask, Path]]) -> None:
    """A row a user (or what the job shows): real windows beside generated ones."""
    model, rows = job.model, {}
    most = model.config.summary.grid_columns if job.real else None
    for row in dict.fromkeys(task.row for task, _ in files):
        paths = [path for task, path in files if task.row == row][:most]
        generated = np.stack([np.asarray(Image.open(p).convert("RGB")) for p in paths])
        real = model.to_image(job.real[row]) if row in job.real else generated[:0]
        rows[row] = (real, generated)
    metadata = model.dataset.metadata
    render.plot_grid(path, rows, metadata["zero_doppler"], velocity=metadata["velocity"], seconds=job.seconds)
