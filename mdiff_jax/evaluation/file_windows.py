"""Measures of windows as files hold them: samples, recordings, and recorded windows written again as samples are."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mdiff_jax.data import arrays, export, sources
from mdiff_jax.data.examples import ReadOptions, read_examples
from mdiff_jax.evaluation import sample_folders
from mdiff_jax.inference.model import Model
from mdiff_jax.metrics import spectra, two_sample_test
from mdiff_jax.metrics.reference import MeasuredSet, Reference
from mdiff_jax.runtime.errors import InputError

CHUNK_SIZE = 64  # windows measured at once: 16 MB of 256x256
Tables = dict[str, np.ndarray]
Items = list[sources.WindowSource]


def measure_files(
    model: Model, folder: Path, reference: Reference, test: MeasuredSet, generated: MeasuredSet
) -> tuple[MeasuredSet, MeasuredSet, str]:
    """Returns both sets with the measures of their files, and which files those of the recorded windows are.

    Where the recordings cannot be read any more, the prepared windows are written again in their place.
    """
    zero, native = reference.zero_doppler, model.dataset.metadata["native"]
    items = select_items(folder, sample_folders.scan_samples(model, folder), generated)
    generated = generated._replace(files=measure_items(model, zero, folder, items))
    recorded = measure_recordings(model, zero, test)
    if recorded is not None and not native:
        return test._replace(files=recorded), generated, f"files in {model.config.data.path}"
    with tempfile.TemporaryDirectory() as temporary:
        items = write_again(model, test, Path(temporary))
        again = measure_items(model, zero, Path(temporary), items)
        if recorded is None:
            note = "prepared windows written again, since no recordings can be read"
            return test._replace(files=again), generated, note
        windows, _ = sample_folders.read_grid(model, Path(temporary), items)
    again[two_sample_test.JUDGE_FEATURES] = reference.extractors[reference.verdict_judge](windows)
    return test._replace(files=recorded, rewritten=again), generated, f"files in {model.config.data.path}"


def measure_recordings(model: Model, zero_doppler: float, test: MeasuredSet) -> Tables | None:
    """Returns the measures of the files that these windows were prepared from; None where they cannot be read."""
    root = Path(model.config.data.path)
    try:
        items = scan_recordings(model)
        return None if items is None else measure_items(model, zero_doppler, root, select_items(root, items, test))
    except InputError:
        return None


def scan_recordings(model: Model) -> Items | None:
    """Lists the recordings that windows were prepared from; None where they are no files, InputError where they cannot
    be read any more.
    """
    data = model.config.data
    if data.kind != "folder" or not data.path:
        return None
    return sources.scan_windows(Path(data.path), arrays.make_stft(dict(data.stft)))


def write_again(model: Model, test: MeasuredSet, folder: Path) -> Items:
    """Writes the prepared windows as samples are written; returns the files, in order."""
    dataset, items = model.dataset, []
    suffix = export.image_suffix(dataset.metadata, None)
    for i, row in enumerate(dataset.rows(test.window_set.files.tolist())):
        name = f"{i}.{suffix}"
        export.write_window(folder / name, dataset.load(np.array([row]))[0], int(dataset.frames[row]), dataset.metadata)
        items.append(sources.WindowSource(name, user="", recording="", index=i))
    return items


def select_items(root: Path, items: Items, windows: MeasuredSet) -> Items:
    """Returns the files of these windows, in their order; InputError where one of them is missing."""
    by_name = {item.file: item for item in items}
    names = windows.window_set.files.tolist()
    if missing := [name for name in names if name not in by_name]:
        raise InputError(f"'{root}' does not hold '{missing[0]}': restore it")
    return [by_name[name] for name in names]


def measure_items(model: Model, zero_doppler: float, root: Path, items: Items) -> Tables:
    """Returns the measures of these files."""
    chunks = read_chunks(root, items, file_options(model, root))
    parts = [spectra.measure_files(chunk, zero_doppler) for chunk in chunks]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def read_chunks(root: Path, items: Items, options: ReadOptions) -> Iterator[np.ndarray]:
    """Yields windows (n, F, T), colors averaged."""
    examples = read_examples(root, items, options)
    while chunk := [example.window.mean(-1) for example in itertools.islice(examples, CHUNK_SIZE)]:
        yield np.stack(chunk)


def file_options(model: Model, root: Path) -> ReadOptions:
    """Returns the options to read windows at the rows and columns of files, whatever size the model works at."""
    options = sample_folders.sample_options(model, root)
    return options._replace(image_size=model.image_size(), native_frames=False)
