"""Samples as a folder that training can read: an image for each sample, a sheet, and a record of what each is."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mdiff_jax.data import export, images, render, sources
from mdiff_jax.inference import rejection, sample_arrays, sampling_jobs
from mdiff_jax.inference.drawn_windows import DrawnWindows, to_image_axes
from mdiff_jax.inference.model import Model
from mdiff_jax.inference.provenance import (
    Record,
    Settings,
    adapter_digests,
    describe_settings,
    read_provenance,
    write_labels,
    write_provenance,
)
from mdiff_jax.inference.sampling_jobs import SampleTask, SamplingJob
from mdiff_jax.runtime import parallel
from mdiff_jax.runtime.errors import InputError, one_line
from mdiff_jax.runtime.progress import Bar, doing

MAX_ATTEMPTS_PER_SAMPLE = 10  # windows generated for one that is to pass the filters, at most


class SaveOptions(NamedTuple):
    """The samples that are kept, and the files beside the sheet and the record."""

    image_format: str | None = None  # 'png' or 'jpg'; None: that of the recordings, png where these are no images
    npz: bool = False  # samples.npz: scalar windows
    tfds: bool = False  # FOLDER_tfds, and samples.npz
    filters: Sequence[str] = ()  # names of `rejection.make_filter`
    mat: bool = False  # samples.mat, and samples.npz

    @property
    def keeps_arrays(self) -> bool:
        """Whether scalar windows are kept, not only images."""
        return self.npz or self.tfds or self.mat


DEFAULT_OPTIONS = SaveOptions()


def write_samples(
    model: Model, users: Sequence[str], count: int, seed: int, folder: Path, options: SaveOptions = DEFAULT_OPTIONS
) -> list[Path]:
    """Writes `count` samples of each user as FOLDER/USER/USER_seedS_NNNN.png; returns the files.

    With filters these are the `count` samples with the lowest numbers that pass.
    """
    if count < 1:
        raise InputError(f"num_samples_per_user is {count}: give at least 1")
    job = sampling_jobs.plain_samples(model, users, count_attempts(count, options), seed)
    return write_job(job, seed, folder, options, count)


def count_attempts(count: int, options: SaveOptions) -> int:
    """Returns how many tasks of each user a job has to have, of which `count` are to pass the filters."""
    group = rejection.HARD_GROUP if "hard" in options.filters else 1
    return count * group * MAX_ATTEMPTS_PER_SAMPLE if options.filters else count


def write_job(
    job: SamplingJob, seed: int, folder: Path, options: SaveOptions = DEFAULT_OPTIONS, count: int | None = None
) -> list[Path]:
    """Generates what `folder` lacks of a job and writes it there; returns the job's files, in its order.

    Images that are there are kept, so an interrupted call is resumed by the same call, and a larger job adds to a
    smaller one. Each file appears whole or not at all. Of each user the first `count` samples that pass the filters are
    kept, all of them where it is None. Several processes generate together; the first of them reads and writes. Raises
    InputError if the folder holds samples with other settings, and if too few pass.
    """
    # ------------------------------------------------------------------- samples of earlier calls
    check_options(job.model, options)
    metadata = job.model.dataset.metadata
    options = options._replace(image_format=export.image_suffix(metadata, options.image_format))
    with doing("preparing the filters"):
        selection = rejection.make_filter(job.model, options.filters)
    filters = {"filter": sorted(options.filters)} if options.filters else {}
    settings = describe_settings(job.model, seed) | job.settings | filters | {"format": options.image_format}
    target = SampleFolder(folder, options)
    names, record = parallel.broadcast_from_first(lambda: find_existing(job, target, settings))
    written = set(names)

    # ------------------------------------------------------------------- missing samples
    batch_size, begun = None, False
    with explain_failed_writes(folder, written):
        while missing := select_missing(job.tasks, written, record["rejected"], count, selection.group):
            batch_size = batch_size or min(job.model.config.sample.batch_size, len(missing))  # of all rounds: a program
            for drawn in sample_tasks(job, missing, seed, batch_size, selection):
                kept = [(task, window) for task, window, keep in drawn if keep]
                rejected = [task.name for task, _, keep in drawn if not keep]
                record["rejected"] = list(dict.fromkeys([*record["rejected"], *rejected]))
                if parallel.is_first():  # nothing is written before: settings that cannot work leave no folder
                    if rejected or not begun:
                        write_provenance(folder, settings, record, complete=False)
                    write_windows(job, target, kept)
                begun = True
                written.update(task.name for task, _ in kept)

        # --------------------------------------------------------------- the whole folder
        finished = select_finished(job.tasks, written, count)
        lacking = [user for user, number in count_missing(job.tasks, finished, count).items() if number]
        if parallel.is_first():
            record["files"] |= {target.image(task).relative_to(folder).as_posix(): task.about for task in finished}
            if not lacking:
                with doing("drawing the sheet"):
                    finish_folder(job, target, settings, record, finished)
            write_provenance(folder, settings, record, complete=not lacking)
    if lacking:
        raise InputError(
            f"only {len(group_by_user(finished).get(lacking[0], ()))} of {count_attempts(count, options)} samples of "
            f"'{lacking[0]}' pass --filter={','.join(settings['filter'])}: ask for fewer or give fewer filters; "
            f"the others are in {folder}"
        )
    return [target.image(task) for task in finished]


@contextlib.contextmanager
def explain_failed_writes(folder: Path, written: set[str]) -> Iterator[None]:
    """Turns a full disk or a folder that cannot be written into an InputError that says what is there."""
    try:
        yield
    except (OSError, InputError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError):
            raise
        raise InputError(
            f"'{folder}' cannot be written ({cause.strerror or one_line(cause)}): {len(written)} samples are "
            "there; free some space or give access, and the same command goes on"
        ) from cause


class SampleFolder(NamedTuple):
    """A folder of samples and the places of its files."""

    path: Path
    options: SaveOptions

    def image(self, task: SampleTask) -> Path:
        return self.path / f"{task.name}.{self.options.image_format}"

    def array(self, task: SampleTask) -> Path:
        """Returns where a scalar window lies until all are there and are packed into samples.npz."""
        return sample_arrays.array_file(self.path, task.name)


def find_existing(job: SamplingJob, target: SampleFolder, settings: Settings) -> tuple[list[str], Record]:
    """Returns the names of the job's tasks whose files are there, and the record of the folder."""
    check_folder(job.model, target)
    record = read_provenance(target.path, settings, adapter_digests(job))
    arrays = target.options.keeps_arrays
    if arrays:
        sample_arrays.unpack_arrays(target.path)
    tasks = [t for t in job.tasks if target.image(t).is_file() and (not arrays or target.array(t).is_file())]
    return [t.name for t in tasks], record


def check_folder(model: Model, target: SampleFolder) -> None:
    """Raises InputError for a folder that is no place for samples: one with other files, or in the recordings."""
    path, data = target.path, model.config.data.path
    if data and path.resolve().is_relative_to(Path(data).resolve()):
        raise InputError(f"'{path}' lies in the folder of the recordings: give another --output_dir")
    if path.exists() and not path.is_dir():
        raise InputError(f"'{path}' is a file: give another --output_dir")
    if not (path / "provenance.json").is_file() and path.is_dir() and sources.list_visible(path):
        raise InputError(f"'{path}' holds other files than samples: give a new --output_dir")
    prepared = sample_arrays.tfds_folder(path)
    if target.options.tfds and prepared.exists() and not (prepared / "dataset.json").is_file():
        raise InputError(f"'{prepared}', where --tfds writes, holds other files: give another --output_dir")


def write_windows(job: SamplingJob, target: SampleFolder, samples: Sequence[tuple[SampleTask, DrawnWindows]]) -> None:
    """Writes the image of each window and, where arrays are kept, first the window itself."""
    metadata = job.model.dataset.metadata
    rows, columns = metadata["original_size"]
    metadata = metadata | {"original_size": (rows, round(columns * job.length))}
    for task, window in samples:
        if target.options.keeps_arrays:
            sample_arrays.write_array(
                target.array(task), to_image_axes(window, job.model.dataset.metadata, job.length)[0]
            )
        x = window.spectrograms[0]
        x = x if x.ndim == 3 else x[..., None]
        export.write_window(target.image(task), x, int(window.frames[0]), metadata)


def finish_folder(
    job: SamplingJob, target: SampleFolder, settings: Settings, record: Record, finished: Sequence[SampleTask]
) -> None:
    """Writes what is made of all samples together: metadata.jsonl, labels, arrays, data set, sheet."""
    write_labels(target.path, record)
    if target.options.keeps_arrays:
        sample_arrays.pack_arrays(target.path, job, record)
    if target.options.mat:
        sample_arrays.write_mat(target.path)
    if target.options.tfds:
        sample_arrays.write_tfds(target.path, job, settings)
    write_sheet(target.path / job.sheet, job, [(task, target.image(task)) for task in finished])


def check_options(model: Model, options: SaveOptions) -> None:
    """Raises InputError for an unknown image format, and for arrays of a model that has none."""
    if options.image_format not in (None, *export.FORMATS):
        raise InputError(f"format '{options.image_format}' is not known: give one of {', '.join(export.FORMATS)}")
    if options.keeps_arrays and model.config.data.channels == "rgb":
        raise InputError("this model samples RGB windows, which are not scalar: remove --npz, --tfds and --mat")


def sample_tasks(
    job: SamplingJob, tasks: list[SampleTask], seed: int, batch_size: int, selection: rejection.WindowFilter
) -> Iterator[list[tuple[SampleTask, DrawnWindows, bool]]]:
    """Yields chunks of the tasks with their windows, and which to keep, in whole groups of the filter."""
    waiting: list[tuple[SampleTask, DrawnWindows]] = []  # windows of a group that the batch has cut
    with Bar(total=len(tasks), desc="samples", unit="image", disable=not parallel.is_first()) as bar:
        rest = iter(tasks)
        for chunk, windows in job.model.run([t.request for t in tasks], seed, job.function, batch_size):
            waiting += zip(itertools.islice(rest, len(chunk)), windows.split(), strict=True)
            whole = len(waiting) // selection.group * selection.group
            drawn, waiting = waiting[:whole], waiting[whole:]
            if drawn:
                together = DrawnWindows(*map(np.concatenate, zip(*(window for _, window in drawn), strict=True)))
                keep = selection.keep(together, [task.about["user"] for task, _ in drawn])
                each = zip(drawn, parallel.broadcast_arrays(keep).tolist(), strict=True)
                yield [(task, window, kept) for (task, window), kept in each]
            bar.update(len(chunk))


# ----------------------------------------------------------------------------- which samples


def group_by_user(tasks: Sequence[SampleTask]) -> dict[str, list[SampleTask]]:
    """Returns the tasks of each user, in their order."""
    users: dict[str, list[SampleTask]] = {}
    for task in tasks:
        users.setdefault(task.about["user"], []).append(task)
    return users


def select_finished(tasks: Sequence[SampleTask], written: set[str], count: int | None) -> list[SampleTask]:
    """Returns the first `count` tasks of each user among those `written` (by name)."""
    groups = group_by_user(tasks).values()
    return [task for group in groups for task in [t for t in group if t.name in written][:count]]


def select_missing(
    tasks: Sequence[SampleTask], written: set[str], rejected: Sequence[str], count: int | None, group: int = 1
) -> list[SampleTask]:
    """Returns the tasks to sample next: of each user as many groups of `group` tasks as samples are still missing, the
    first that are undecided. One of which a file is written is decided, and so is one that was rejected as a whole.
    """
    missing, out = count_missing(tasks, select_finished(tasks, written, count), count), set(rejected)
    selected: list[SampleTask] = []
    for user, own in group_by_user(tasks).items():
        groups = [own[i : i + group] for i in range(0, len(own), group)]
        left = [g for g in groups if not (any(t.name in written for t in g) or all(t.name in out for t in g))]
        selected += itertools.chain(*left[: missing[user]])
    return selected


def count_missing(tasks: Sequence[SampleTask], finished: Sequence[SampleTask], count: int | None) -> dict[str, int]:
    """Returns how many samples of each user are still missing from the `finished` ones."""
    number = {user: len(group) for user, group in group_by_user(finished).items()}
    groups = group_by_user(tasks).items()
    return {user: (len(group) if count is None else count) - number.get(user, 0) for user, group in groups}


# ----------------------------------------------------------------------------- pictures


def write_sheet(path: Path, job: SamplingJob, files: list[tuple[SampleTask, Path]]) -> None:
    """Writes the sheet: for each user (or what else the job shows) a row of real windows beside generated ones."""
    model, rows = job.model, {}
    columns = model.config.summary.grid_columns if job.real else None
    every = list(dict.fromkeys(task.row for task, _ in files))
    for row in render.spread_rows(every):
        paths = [path for task, path in files if task.row == row][:columns]
        generated = read_samples(paths)
        real = model.to_image(job.real[row]) if row in job.real else generated[:0]
        rows[row] = (real, generated)
    metadata = model.dataset.metadata
    render.plot_grid(
        path, rows, metadata["zero_doppler"], velocity=metadata["velocity"], seconds=job.seconds, every=len(every)
    )


def read_samples(paths: list[Path]) -> np.ndarray:
    """Reads images of one size, (n, rows, columns, 3) uint8; InputError for a damaged one."""
    read = [images.to_rgb(images.read_image(path)) for path in paths]
    for path, image in zip(paths, read, strict=True):
        if image.shape != read[0].shape:
            raise InputError(f"'{path}' has another size than {paths[0].name}: remove it and repeat the command")
    return np.stack(read)
