"""Decoding of array files, .npy, .npz, .mat and .h5, that nobody vouches for.

Nothing is unpickled, no other file is read, and what the arrays take is known before memory is taken for them.
"""

import contextlib
import functools
import io
import math
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np

from mdiff_jax.runtime.errors import InputError, one_line

SUFFIXES = (".npy", ".npz", ".mat", ".h5", ".hdf5")
MAX_BYTES = 4 * 2**30  # of all arrays of a file, decoded
MAX_COMPRESSION = 100  # times that they may be larger than on disk …
SMALL_BYTES = 2**28  # … where they are larger than this
TEXT_BYTES, REFERENCE_BYTES = 64, 1024  # of memory or time that a short text or a reference takes, counted as bytes
MATLAB_SECONDS = 120  # for reading a file
MATLAB_BASE_BYTES = 2**29  # of the process that reads it, besides twice what the arrays may take
MATLAB_READER = """
import resource, sys
path, limit, base = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_AS, (base + 2 * limit,) * 2)
import numpy as np, scipy.io
size = sum(16 * int(np.prod([float(n) for n in shape])) for _, shape, _ in scipy.io.whosmat(path))
if size > limit:
    sys.exit(f"it claims {size / 2**30:.1f} GiB of numbers")
arrays = {k: v for k, v in scipy.io.loadmat(path).items() if isinstance(v, np.ndarray) and v.dtype.kind in "biufcUSO"}
for k, v in arrays.items():
    if v.dtype == object:  # cells of text
        arrays[k] = np.array([str(np.ravel(x)[0]) if np.size(x) else "" for x in v.ravel()])
np.savez(sys.stdout.buffer, allow_pickle=False, **arrays)
"""


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Loads all arrays of a file by name; the last file is cached. InputError for a file that cannot be read."""
    with refuse_unreadable(path):
        stat = path.stat()
        return _load_cached(path, stat.st_mtime_ns, stat.st_size)


@contextlib.contextmanager
def refuse_unreadable(path: Path) -> Iterator[None]:
    """Turns whatever is raised while an array file is read into one line that names it."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # readers of these formats raise anything on damaged files
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise InputError(f"'{path}' cannot be read ({reason}): restore it or remove it") from None


@functools.lru_cache(maxsize=1)
def _load_cached(path: Path, modified_ns: int, size: int) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise InputError(f"'{path}' is no regular file: give a file of arrays")
    check_size(size, path)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        array = np.lib.format.open_memmap(path, "r")
        return {"array": np.array(array)}
    if suffix == ".npz":
        return load_npz(path)
    if suffix == ".mat" and not h5py.is_hdf5(path):
        return load_matlab(path)
    return load_hdf5(path)


def size_limit(path: Path) -> int:
    """Bytes that the arrays of a file may take, all together. Holes in the file count as compressed."""
    stat = path.stat()
    stored = min(stat.st_size, 512 * stat.st_blocks) if stat.st_blocks else stat.st_size
    return min(MAX_BYTES, max(SMALL_BYTES, MAX_COMPRESSION * stored))


def check_size(size: int, path: Path) -> None:
    """InputError for more bytes than `size_limit`."""
    if size > (limit := size_limit(path)):
        claim = f"{min(size / 2**30, 1e9):.4g} GiB of numbers from {path.stat().st_size} bytes"
        raise InputError(f"'{path}' claims {claim}: give at most {limit / 2**30:.3g} GiB in a file")


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """Loads .npz; the sizes that its directory and headers claim are checked before anything is allocated."""
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    with zipfile.ZipFile(path) as archive:
        check_size(sum(info.file_size for info in archive.infolist()), path)
        claimed = 0
        for name in archive.namelist():
            with archive.open(name) as member:
                shape, _, dtype = headers[np.lib.format.read_magic(member)](member)
                claimed += math.prod(map(int, shape)) * dtype.itemsize
        check_size(claimed, path)
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def load_matlab(path: Path) -> dict[str, np.ndarray]:
    """Loads .mat up to v7 in a child process, since scipy's reader can crash on a damaged file, and knows the size of
    compressed structures and cells only when it has read them. `-P`: modules in the current folder are not imported.
    """
    command = [sys.executable, "-P", "-c", MATLAB_READER, path, str(size_limit(path)), str(MATLAB_BASE_BYTES)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # each thread would claim memory
    try:
        done = subprocess.run(command, capture_output=True, check=False, env=environment, timeout=MATLAB_SECONDS)
    except subprocess.TimeoutExpired:
        raise InputError(f"'{path}' is not read within {MATLAB_SECONDS} s: save it anew or remove it") from None
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["the reader crashed"]
        raise InputError(f"'{path}' cannot be read ({last[0][:200]}): restore it or remove it")
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


# ----------------------------------------------------------------------------- HDF5


def load_hdf5(path: Path) -> dict[str, np.ndarray]:
    """Loads .h5 and .mat v7.3: numbers and text at the root; groups and other types are left out.

    InputError for links, and for arrays whose numbers lie in other files.
    """
    with h5py.File(path, "r") as file:
        for name in file:
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                raise InputError(f"'{path}': '{name}' is a link: save the array itself in the file")
        arrays = {k: d for k, d in file.items() if isinstance(d, h5py.Dataset) and d.shape is not None}
        check_stored_here(arrays.values(), path)
        cells = {k: d for k, d in arrays.items() if h5py.check_ref_dtype(d.dtype) is h5py.Reference}
        texts = {k: d for k, d in arrays.items() if h5py.check_string_dtype(d.dtype) and d.ndim <= 1}
        numbers = {k: d for k, d in arrays.items() if is_numeric(d.dtype)}
        counted = [*map(decoded_size, arrays.values())]
        counted += [math.prod(d.shape) * REFERENCE_BYTES for d in cells.values()]
        counted += [math.prod(d.shape) * TEXT_BYTES for d in texts.values()]
        check_size(sum(counted), path)
        targets = {k: [file[reference] for reference in d[()].ravel()] for k, d in cells.items()}
        for found in targets.values():
            check_stored_here(found, path)
            counted += map(decoded_size, found)
        check_size(sum(counted), path)
        loaded = {k: decode_numbers(d) for k, d in numbers.items()}
        loaded |= {k: np.array([decode_text(d) for d in found], object) for k, found in targets.items()}
        return loaded | {k: read_texts(d, path) for k, d in texts.items()}


def check_stored_here(datasets: Iterable[h5py.Dataset], path: Path) -> None:
    """InputError unless each is an array whose numbers lie in this file."""
    for dataset in datasets:
        if not isinstance(dataset, h5py.Dataset):
            raise InputError(f"'{path}': '{dataset.name}' is referred to and no array: save text or numbers")
        if dataset.is_virtual or dataset.external:
            raise InputError(f"'{path}': '{dataset.name}' lies in another file: save the array itself in this one")


def is_numeric(dtype: np.dtype) -> bool:
    """Whether an array holds numbers, complex ones as two fields included."""
    fields = [dtype[name] for name in dtype.names or ()]
    return dtype.kind in "biufc" or (
        sorted(dtype.names or ()) == ["imag", "real"] and all(f.kind in "iuf" for f in fields)
    )


def decoded_size(dataset: h5py.Dataset) -> int:
    """Bytes that reading an array takes: a chunk is decoded whole, however little of it belongs to the array."""
    return max(math.prod(dataset.shape), math.prod(dataset.chunks or ())) * dataset.dtype.itemsize


def read_texts(dataset: h5py.Dataset, path: Path) -> np.ndarray:
    """Reads text (n,), counted while it is read: entries of the file may share their bytes."""
    if not dataset.ndim:
        return np.array([dataset[()]], object)
    texts: list[bytes] = []
    size, step = 0, max(1, SMALL_BYTES // path.stat().st_size)  # none is longer than the file
    for start in range(0, len(dataset), step):
        texts += dataset[start : start + step].tolist()
        size += sum(map(len, texts[start:]))
        check_size(size, path)
    return np.array(texts, object)


def decode_numbers(dataset: h5py.Dataset) -> np.ndarray:
    """Converts numbers as MATLAB writes them: columns first, complex ones as pairs, text as numbers."""
    array, kind = np.asarray(dataset[()]), dataset.attrs.get("MATLAB_class")
    if kind == b"char":
        return np.array([decode_text(dataset)], object)
    if array.dtype.names:
        array = array["real"] + 1j * array["imag"]
    return array.T if kind else array


def decode_text(dataset: h5py.Dataset) -> str:
    """Converts the numbers that MATLAB stores for text."""
    empty = "MATLAB_empty" in dataset.attrs
    return "" if empty else np.ravel(dataset[()]).astype("<u2").tobytes().decode("utf-16-le")
