"""Scalar windows beside the images of a folder of samples: single files until all are there, then samples.npz, and
from that samples.mat and a prepared data set.
"""

import hashlib
import json
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from mdiff_jax.data import builders, sources, spectrogram
from mdiff_jax.data.examples import Example
from mdiff_jax.inference.provenance import Record, Settings
from mdiff_jax.inference.sampling_jobs import SamplingJob
from mdiff_jax.runtime.errors import InputError, one_line
from mdiff_jax.runtime.workdir import atomic_write

MAT_BYTES = 2**31  # that one array takes in a MATLAB v5 file, below


def tfds_folder(folder: Path) -> Path:
    """Returns where the data set lies: beside the folder of samples."""
    return folder.with_name(f"{folder.name}_tfds")


def array_file(folder: Path, name: str) -> Path:
    """Returns the file of one scalar window: in folders as those of the images, but hidden."""
    return folder / ".windows" / f"{name}.npy"


def write_array(path: Path, window: np.ndarray) -> None:
    """Writes one window, whole or not at all."""
    with atomic_write(path) as temporary:
        np.save(temporary, window.astype(np.float32), allow_pickle=False)


def read_array(path: Path) -> np.ndarray:
    """Reads one window of `write_array`; InputError for a damaged one."""
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"'{path}' is damaged ({one_line(error)}): remove it and repeat the command") from None


def unpack_arrays(folder: Path) -> None:
    """Writes the windows of samples.npz as single files again, unless an interrupted call has left these."""
    packed = folder / "samples.npz"
    if not packed.is_file() or (folder / ".windows").is_dir():
        return
    try:
        with packed.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            names, windows = [str(name) for name in file["name"]], file["spectrogram"]
        inside = [not Path(name).is_absolute() and ".." not in Path(name).parts for name in names]
        if not all(inside) or len(names) != len(windows):
            raise ValueError("names of other files")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"'{packed}' is damaged ({one_line(error)}): remove it, and the same command makes it anew"
        ) from None
    for name, window in zip(names, windows, strict=True):
        write_array(array_file(folder, name), window)


def pack_arrays(folder: Path, job: SamplingJob, record: Record) -> None:
    """Moves the single windows into samples.npz.

    It holds spectrogram (n, F, T) in [-1, 1], name, user, sample_id, and the axes where known: velocity of each row in
    m/s, time of each column in s.
    """
    about = {str(Path(file).with_suffix("")): record["files"][file] for file in sorted(record["files"])}
    names = [name for name in about if array_file(folder, name).is_file()]
    rows, frames = read_array(array_file(folder, names[0])).shape
    columns: dict[str, Any] = {"name": np.array(names)}
    columns |= {key: np.array([about[name][key] for name in names]) for key in ("user", "sample_id")}
    if (velocity := job.model.dataset.metadata["velocity"]) is not None:
        columns["velocity"] = spectrogram.resize_velocity_axis(np.array(velocity), rows)
    if job.seconds is not None:
        columns["time"] = (np.arange(frames) + 0.5) * (job.seconds / frames)
    with atomic_write(folder / "samples.npz") as temporary:
        np.savez_compressed(temporary, **columns)
        append_windows(temporary, [array_file(folder, name) for name in names], (rows, frames))
    shutil.rmtree(folder / ".windows")


def append_windows(archive: Path, paths: Sequence[Path], size: tuple[int, int]) -> None:
    """Adds the windows in files to a .npz as 'spectrogram' (n, F, T); one at a time is in memory."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (len(paths), *size)}
    with (
        zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as opened,
        opened.open("spectrogram.npy", "w", force_zip64=True) as file,
    ):
        np.lib.format.write_array_header_1_0(file, header)
        for path in paths:
            if (window := read_array(path)).shape != size:
                raise InputError(f"'{path}' has another size than {paths[0].name}: remove it and repeat the command")
            file.write(window.astype("<f4").tobytes())


def write_mat(folder: Path) -> None:
    """Writes samples.npz as samples.mat (MATLAB v5, which data.path takes too): spectrogram (n, Doppler, time), text as
    cells, and what the axes are. InputError for more than such a file holds.
    """
    with np.load(folder / "samples.npz", allow_pickle=False) as file:
        values = {name: file[name] for name in file.files}
    if (size := values["spectrogram"].nbytes) >= MAT_BYTES:
        raise InputError(f"--mat: {size / 2**30:.3g} GiB of windows, and MATLAB v5 holds below 2: use samples.npz")
    values |= {name: x.astype(object) for name, x in values.items() if x.dtype.kind == "U"}
    values |= {"axes": "window, Doppler (highest velocity first), time", "spectrogram_unit": "-1 floor to 1 top, in dB"}
    values |= {f"{name}_unit": unit for name, unit in (("velocity", "m/s"), ("time", "s")) if name in values}
    with atomic_write(folder / "samples.mat") as temporary:
        scipy.io.savemat(temporary, values, appendmat=False, do_compression=True, oned_as="column")


def write_tfds(folder: Path, job: SamplingJob, settings: Settings) -> None:
    """Writes samples.npz as the prepared data set `tfds_folder`, for `builders.open_prepared`."""
    with np.load(folder / "samples.npz", allow_pickle=False) as file:
        values = {name: file[name] for name in ("spectrogram", "user", "name")}
    size, known = values["spectrogram"].shape[1:], job.model.dataset.metadata
    metadata = known | {"window_seconds": job.seconds, "native": False}  # the arrays are on the axes of images
    if known["velocity"] is not None:
        metadata |= spectrogram.describe_velocity_axis(np.array(known["velocity"]), size[0])
    fingerprint = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]

    def examples() -> Iterator[Example]:
        for user, name, window in zip(values["user"], values["name"], values["spectrogram"], strict=True):
            item = sources.WindowSource(str(name), str(user), f"{Path(str(name)).name}/1", -1)
            yield Example(item, window[..., None], window.shape[1], metadata)

    builders.write_prepared(tfds_folder(folder), size, "scalar", fingerprint, len(values["name"]), examples)
