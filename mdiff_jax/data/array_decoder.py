"""Decodes .mat and .h5 in a process of its own, run as a script by `array_files`: damaged or hostile files crash their
libraries, or make them take memory and time without end. Imports nothing of this project, so that it starts at once.

For each line of JSON on stdin, {"path", "limit", "memory"}, it writes one to stdout: {"refusal"} or {"error"}, or
{"texts", "arrays": [[name, type, shape], …]}, the bytes of the arrays following. `limit` is of the bytes of all arrays
of the file, `memory` of those that the process may take.
"""

import json
import math
import resource
import sys
from collections.abc import Iterable
from typing import Any

import h5py
import numpy as np

TEXT_BYTES, REFERENCE_BYTES = 64, 1024  # of memory or time that a short text or a reference takes, counted as bytes


class Refusal(ValueError):  # noqa: N818, a value
    """What is wrong with a file, and the remedy."""


def decode(path: str, limit: int) -> dict[str, np.ndarray]:
    """Returns the arrays of numbers and of text (of type object) by name."""
    if path.lower().endswith(".mat") and not h5py.is_hdf5(path):
        return decode_matlab(path, limit)
    return decode_hdf5(path, limit)


def check_size(size: int, limit: int) -> None:
    """Refuses more bytes than `limit`."""
    if size > limit:
        claim = f"{min(size / 2**30, 1e9):.4g} GiB of numbers"
        raise Refusal(f"claims {claim}: give at most {limit / 2**30:.3g} GiB in a file of this size")


def may_hold_windows(shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Whether an array is of numbers along two axes at least, or of complex ones."""
    return is_numeric(dtype) and (dtype.kind == "c" or bool(dtype.names) or sum(n > 1 for n in shape) > 1)


def decode_matlab(path: str, limit: int) -> dict[str, np.ndarray]:
    """Reads .mat up to v7, structures where no windows are beside them; sparse arrays and cells are left out."""
    import scipy.io

    check_size(sum(16 * math.prod(map(int, shape)) for _, shape, _ in scipy.io.whosmat(path)), limit)
    found = {k: v for k, v in scipy.io.loadmat(path).items() if isinstance(v, np.ndarray)}
    arrays = {k: v for k, v in found.items() if not v.dtype.names}
    beside = any(may_hold_windows(v.shape, v.dtype) for v in arrays.values())
    for k, structure in ((k, v) for k, v in found.items() if v.dtype.names and not beside):
        for i, element in enumerate(structure.ravel(), 1):
            fields = {field: element[field] for field in structure.dtype.names}
            name = f"{k}({i})" if structure.size > 1 else k
            arrays |= {f"{name}/{field}": v for field, v in fields.items() if isinstance(v, np.ndarray)}
    for k, v in arrays.items():
        if v.dtype.kind in "OU":  # cells of text, and text
            texts = [str(np.ravel(x)[0]) if np.size(x) else "" for x in v.ravel()]
            arrays[k] = np.array(texts, object)
    arrays = {k: v for k, v in arrays.items() if v.dtype.kind in "biufcO"}
    check_size(sum(v.nbytes for v in arrays.values()), limit)  # of structures that is known only now
    return arrays


# ----------------------------------------------------------------------------- HDF5


def decode_hdf5(path: str, limit: int) -> dict[str, np.ndarray]:
    """Reads .h5 and .mat v7.3: numbers and text at the root, or where no windows are there, in groups of it, which
    structures are too; other types are left out.

    Refuses links, and arrays whose numbers lie in other files.
    """
    with h5py.File(path, "r") as file:
        arrays = list_arrays(file)
        if not any(may_hold_windows(d.shape, d.dtype) for d in arrays.values()):
            groups = {k: g for k, g in file.items() if isinstance(g, h5py.Group) and k[0] != "#"}
            arrays |= {f"{name}/{k}": d for name, group in groups.items() for k, d in list_arrays(group).items()}
        check_stored_here(arrays.values())
        cells = {k: d for k, d in arrays.items() if h5py.check_ref_dtype(d.dtype) is h5py.Reference}
        texts = {k: d for k, d in arrays.items() if h5py.check_string_dtype(d.dtype) and d.ndim <= 1}
        numbers = {k: d for k, d in arrays.items() if is_numeric(d.dtype)}
        counted = [*map(decoded_size, arrays.values())]
        counted += [math.prod(d.shape) * REFERENCE_BYTES for d in cells.values()]
        counted += [math.prod(d.shape) * TEXT_BYTES for d in texts.values()]
        check_size(sum(counted), limit)
        targets = {k: [file[reference] for reference in d[()].ravel()] for k, d in cells.items()}
        for found in targets.values():
            check_stored_here(found)
            counted += map(decoded_size, found)
        check_size(sum(counted), limit)
        loaded = {k: decode_numbers(d) for k, d in numbers.items()}
        for k, found in targets.items():
            if is_structure_field(k, cells[k]):
                group, _, field = k.rpartition("/")
                numeric = {i: d for i, d in enumerate(found, 1) if is_numeric(d.dtype)}
                loaded |= {f"{group}({i})/{field}": decode_numbers(d) for i, d in numeric.items()}
            else:
                loaded[k] = np.array([decode_text(d) for d in found], object)
        return loaded | {k: read_texts(d, limit) for k, d in texts.items()}


def list_arrays(group: h5py.Group) -> dict[str, h5py.Dataset]:
    """Returns the arrays of a group by name; refuses links."""
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise Refusal(f"'{name}' is a link: save the array itself in the file")
    return {k: d for k, d in group.items() if isinstance(d, h5py.Dataset) and d.shape is not None}


def is_structure_field(name: str, dataset: h5py.Dataset) -> bool:
    """Whether references are to a field of each element of a structure, as MATLAB writes it, and not to cells."""
    return "/" in name and "MATLAB_class" not in dataset.attrs


def check_stored_here(datasets: Iterable[h5py.Dataset]) -> None:
    """Refuses what is no array whose numbers lie in this file."""
    for dataset in datasets:
        if not isinstance(dataset, h5py.Dataset):
            raise Refusal(f"'{dataset.name}' is referred to and no array: save text or numbers")
        if dataset.is_virtual or dataset.external:
            raise Refusal(f"'{dataset.name}' lies in another file: save the array itself in this one")


def is_numeric(dtype: np.dtype) -> bool:
    """Whether an array holds numbers, complex ones as two fields included."""
    fields = [dtype[name] for name in dtype.names or ()]
    pair = sorted(dtype.names or ()) == ["imag", "real"] and all(f.kind in "iuf" for f in fields)
    return pair or dtype.kind in "biufc"


def decoded_size(dataset: h5py.Dataset) -> int:
    """Bytes that reading an array takes: a chunk is decoded whole, however little of it belongs to the array."""
    return max(math.prod(dataset.shape), math.prod(dataset.chunks or ())) * dataset.dtype.itemsize


def read_texts(dataset: h5py.Dataset, limit: int) -> np.ndarray:
    """Reads text (n,), counted while it is read: entries of the file may share their bytes."""
    if not dataset.ndim:
        return np.array([to_text(dataset[()])], object)
    texts: list[str] = []
    size, step = 0, 64
    for start in range(0, len(dataset), step):
        texts += map(to_text, dataset[start : start + step].tolist())
        size += sum(map(len, texts[start:]))
        check_size(size, limit)
    return np.array(texts, object)


def to_text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


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


# ----------------------------------------------------------------------------- the process


def main() -> None:
    out = sys.stdout.buffer
    for line in sys.stdin:
        request = json.loads(line)
        arrays: dict[str, np.ndarray] = {}
        try:
            most = request["memory"], resource.getrlimit(resource.RLIMIT_AS)[1]
            resource.setrlimit(resource.RLIMIT_AS, most)
            found = decode(request["path"], request["limit"])
            arrays = {k: np.ascontiguousarray(v) for k, v in found.items() if v.dtype != object}
            reply: dict[str, Any] = {"arrays": [[k, v.dtype.str, v.shape] for k, v in arrays.items()]}
            reply |= {"texts": {k: v.tolist() for k, v in found.items() if v.dtype == object}}
        except Refusal as error:
            reply, arrays = {"refusal": str(error)}, {}
        except Exception as error:  # these libraries raise anything on damaged files
            reply, arrays = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}, {}
        out.write(json.dumps(reply).encode() + b"\n")
        for array in arrays.values():
            out.write(array.reshape(-1).view(np.uint8).data)
        out.flush()
        del arrays


if __name__ == "__main__":
    main()
