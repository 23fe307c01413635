"""Files of arrays: .npy, .npz, .mat and .h5 that lie, lead elsewhere or hold nothing of use."""

import io
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
from harness import Case, parametrize
from make_recordings import INSPECT, array_file, user_arrays, window

WINDOWS = np.stack([window(i) for i in range(6)])
USERS = np.array(["anna"] * 3 + ["bob"] * 3)


def iq(seconds: float = 4.0, prf: float = 1000.0) -> np.ndarray:
    t = np.arange(int(seconds * prf)) / prf
    noise = np.random.default_rng(0).normal(size=(2, len(t)))
    return np.exp(40j * np.sin(2 * np.pi * t)) + 0.01 * (noise[0] + 1j * noise[1])


# ----------------------------------------------------------------------------- values in a file of all users


def with_value(array: np.ndarray, value: float) -> np.ndarray:
    changed = array.copy()
    changed[0, 3, 4] = value
    return changed


VALUES: dict[str, dict[str, Any]] = {
    "NaN": {"spectrogram": with_value(WINDOWS, np.nan)},
    "infinite": {"spectrogram": with_value(WINDOWS, np.inf)},
    "out of range": {"spectrogram": 300 * WINDOWS},
    "text": {"spectrogram": np.array([["a"] * 16] * 16)},
    "booleans": {"spectrogram": WINDOWS > 0},
    "complex": {"spectrogram": WINDOWS.astype(complex)},
    "four axes": {"spectrogram": WINDOWS[..., None, None]},
    "one axis": {"spectrogram": WINDOWS.ravel()},
    "no windows": {"spectrogram": WINDOWS[:0]},
    "no rows": {"spectrogram": WINDOWS[:, :0]},
    "two rows": {"spectrogram": WINDOWS[:, :2]},
    "two arrays": {"db": 10 * WINDOWS},
    "constant dB": {"spectrogram": None, "db": np.full((6, 16, 16), 7.0)},
    "one constant window of dB": {"spectrogram": None, "db": np.concatenate([30 * WINDOWS[:5], np.zeros((1, 16, 16))])},
    "dB without a floor": {"spectrogram": None, "db": np.full((6, 16, 16), -np.inf)},
    "huge dB": {"spectrogram": None, "db": np.full((6, 16, 16), 1e308)},
    "no users": {"user": None},
    "too few users": {"user": USERS[:5]},
    "one user": {"user": np.array(["anna"] * 6)},
    "user numbers": {"user": np.arange(6)},
    "user NaN": {"user": np.full(6, np.nan)},
    "index too short": {"index": np.arange(5)},
    "index 1.9": {"index": np.array([1.9, 2, 3, 1, 2, 3])},
    "index NaN": {"index": np.full(6, np.nan)},
    "index text": {"index": np.array(list("abcdef"))},
    "index huge": {"index": np.full(6, 10**18)},
    "velocity too short": {"velocity": np.arange(3.0)},
    "velocity NaN": {"velocity": np.full(16, np.nan)},
    "velocity constant": {"velocity": np.zeros(16)},
    "velocity jumps": {"velocity": np.array([0.0, 1, 5, 2] * 4)},
}
EITHER = ("out of range", "user numbers", "index huge", "one constant window of dB")
BAD_USERS = ("../x", "/tmp/x", "a/b", "..", ".x", "", "all", "a,b", "a\nb", "x" * 300)


def value_cases() -> Iterator[Case]:
    for label, change in VALUES.items():
        yield Case(
            f"value {label}",
            lambda folder, change=change: [*INSPECT, str(array_file(folder, **change))],
            None if label in EITHER else False,
            names="all.npz" if label not in (*EITHER, "one user") else "",
            short=label in ("NaN", "constant dB"),
        )
    for user in BAD_USERS:
        yield Case(
            f"user {user[:9]!r} in an array",
            lambda folder, user=user: [*INSPECT, str(array_file(folder, user=np.array([user] * 3 + ["bob"] * 3)))],
            names="all.npz",
        )
    yield Case("a good file", lambda folder: [*INSPECT, str(array_file(folder))], works=True)


@parametrize(value_cases())
def test_values(case, judge):
    judge(case)


# ----------------------------------------------------------------------------- slow-time samples and axes of users

NO_SPECTROGRAM = {"spectrogram": None}
RECORDING = {"iq": iq(), "prf": 1000.0, "carrier": 77e9}
SAMPLES: dict[str, dict[str, Any]] = {
    "all zero": {"iq": np.zeros(4000, complex)},
    "constant": {"iq": np.ones(4000, complex)},
    "NaN": {"iq": np.full(4000, np.nan, complex)},
    "short": {"iq": iq(0.1)},
    "one sample": {"iq": iq()[:1]},
    "none": {"iq": iq()[:0]},
    "two axes": {"iq": np.stack([iq(), iq()])},
    "no prf": {"prf": None},
    "prf 0": {"prf": 0.0},
    "prf negative": {"prf": -1000.0},
    "prf NaN": {"prf": np.nan},
    "prf huge": {"prf": 1e300},
    "prf tiny": {"prf": 1e-300},
    "prf list": {"prf": np.array([1000.0, 1000.0])},
    "prf text": {"prf": np.array("fast")},
    "no carrier": {"carrier": None},
    "carrier 0": {"carrier": 0.0},
    "carrier NaN": {"carrier": np.nan},
    "carrier huge": {"carrier": 1e300},
}
AXES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "velocity": ({"velocity": np.linspace(5, -5, 16)}, {"velocity": np.linspace(9, -9, 16)}),
    "carrier": ({**NO_SPECTROGRAM, **RECORDING}, {**NO_SPECTROGRAM, **RECORDING, "carrier": 24e9}),
}


def sample_cases() -> Iterator[Case]:
    for label, change in SAMPLES.items():
        yield Case(
            f"samples {label}",
            lambda folder, change=change: [
                *INSPECT,
                str(user_arrays(folder, **NO_SPECTROGRAM, **(RECORDING | change))),
            ],
            names="walk_1.npz",
            short=label == "all zero",
        )
    for label, (first, second) in AXES.items():

        def prepare(folder: Path, first: dict[str, Any] = first, second: dict[str, Any] = second) -> list[str]:
            root = user_arrays(folder, **first)
            arrays = {"spectrogram": WINDOWS} | second
            np.savez(root / "bob" / "walk_1.npz", **{k: v for k, v in arrays.items() if v is not None})
            return [*INSPECT, str(root)]

        yield Case(f"two axes of {label}", prepare, works=None)


@parametrize(sample_cases())
def test_samples(case, judge):
    judge(case)


# ----------------------------------------------------------------------------- .npy and .npz


def npy_claiming(shape: str, kind: str = "<f4") -> bytes:
    """The header of a .npy file with a shape, and 64 numbers."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(10 + len(text) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(256)


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_DOT_", "."), content)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


class Touch:
    """What a pickle can do."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch ESCAPED",)


PICKLE = np.empty(1, object)
PICKLE[0] = Touch()
ZERO_BOMB = npy(np.zeros((9, 4096, 4096), np.float32))  # 600 MB in 600 KB
GOOD_COLUMNS = {"user_DOT_npy": npy(USERS)}
BYTES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "pickle npy": ("all.npy", lambda: npy(PICKLE)),
    "pickle npz": ("all.npz", lambda: zipped(spectrogram_DOT_npy=npy(PICKLE), **GOOD_COLUMNS)),
    "pickle user": ("all.npz", lambda: zipped(spectrogram_DOT_npy=npy(WINDOWS), user_DOT_npy=npy(PICKLE))),
    "claims npy": ("all.npy", lambda: npy_claiming("(1099511627776, 16, 16)")),
    "claims npz": ("all.npz", lambda: zipped(spectrogram_DOT_npy=npy_claiming("(1099511627776, 16, 16)"))),
    "negative shape": ("all.npy", lambda: npy_claiming("(-6, 16, 16)")),
    "shape overflow": ("all.npy", lambda: npy_claiming("(4294967296, 4294967296, 16)")),
    "shape text": ("all.npy", lambda: npy_claiming("('a',)")),
    "shape code": ("all.npy", lambda: npy_claiming("__import__('os').system('touch ESCAPED')")),
    "kind void": ("all.npy", lambda: npy_claiming("(4, 4, 4)", "|V4")),
    "short npy": ("all.npy", lambda: npy(WINDOWS)[:500]),
    "magic alone": ("all.npy", lambda: b"\x93NUMPY"),
    "no npy": ("all.npy", lambda: b"hello"),
    "empty npy": ("all.npy", lambda: b""),
    "empty npz": ("all.npz", lambda: b""),
    "no zip": ("all.npz", lambda: b"PK\x03\x04" + bytes(50)),
    "half npz": ("all.npz", lambda: zipped(spectrogram_DOT_npy=npy(WINDOWS), **GOOD_COLUMNS)[:3000]),
    "zip without arrays": ("all.npz", lambda: zipped(readme=b"hello")),
    "empty zip": ("all.npz", lambda: zipped()),
    "zip of a path": ("all.npz", lambda: zipped(_DOT__DOT___x_DOT_npy=npy(WINDOWS), **GOOD_COLUMNS)),
    "many members": ("all.npz", lambda: zipped(**{f"a{i}_DOT_npy": npy(np.zeros(1)) for i in range(20_000)})),
    "bombs together": ("all.npz", lambda: zipped(**{f"a{i}_DOT_npy": ZERO_BOMB for i in range(8)})),
    "MATLAB nonsense": ("all.mat", lambda: b"MATLAB 5.0 MAT-file" + bytes(200)),
    "MATLAB empty": ("all.mat", lambda: b""),
    "MATLAB text": ("all.mat", lambda: b"hello world, this is no MATLAB file" * 10),
    "HDF5 nonsense": ("all.h5", lambda: b"\x89HDF\r\n\x1a\n" + bytes(500)),
    "HDF5 empty": ("all.h5", lambda: b""),
    "HDF5 text": ("all.h5", lambda: b"hello"),
}


def byte_cases() -> Iterator[Case]:
    for label, (name, content) in BYTES.items():

        def prepare(folder: Path, name: str = name, content: Callable[[], bytes] = content) -> list[str]:
            (folder / name).write_bytes(content())
            return [*INSPECT, str(folder / name)]

        yield Case(f"bytes {label}", prepare, names="all.", short=label in ("pickle npz", "claims npy"))


@parametrize(byte_cases())
def test_bytes(case, judge):
    judge(case)


# ----------------------------------------------------------------------------- .h5 and .mat


def good_columns(file: h5py.File) -> None:
    file["user"] = [user.encode() for user in USERS]


def outside(folder: Path) -> Path:
    """A file that a hostile one may want to read."""
    path = folder.parent / "secret.h5"
    with h5py.File(path, "w") as file:
        file["spectrogram"] = WINDOWS
    return path


def external_storage(file: h5py.File, folder: Path) -> None:
    file.create_dataset("spectrogram", (6, 16, 16), "u1", external=[("/etc/passwd", 0, 6 * 16 * 16)])


def virtual(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout((6, 16, 16), "f4")
    layout[:] = h5py.VirtualSource(outside(folder), "spectrogram", (6, 16, 16))
    file.create_virtual_dataset("spectrogram", layout)


def external_link(file: h5py.File, folder: Path) -> None:
    file["spectrogram"] = h5py.ExternalLink(str(outside(folder)), "spectrogram")


def link_above_a_link(file: h5py.File, folder: Path) -> None:
    file["group"] = h5py.ExternalLink(str(outside(folder)), "/")
    file["spectrogram"] = h5py.SoftLink("/group/spectrogram")


def by_reference(file: h5py.File, folder: Path) -> None:
    external_storage(file, folder)
    file.move("spectrogram", "hidden")
    file.create_dataset("spectrogram", data=np.array([file["hidden"].ref] * 6, h5py.ref_dtype))


def referenced_often(file: h5py.File, folder: Path) -> None:
    big = file.create_dataset("#refs#/a", (4096, 4096), "f4", chunks=(64, 64), fillvalue=0)
    file.create_dataset("spectrogram", data=np.array([big.ref] * 10_000, h5py.ref_dtype))


def unwritten(file: h5py.File, folder: Path) -> None:
    file.create_dataset("spectrogram", (1_000_000, 1024, 1024), "f4", chunks=(1, 64, 64))


def many_halves(file: h5py.File, folder: Path) -> None:
    for i in range(6):
        file.create_dataset(f"a{i}", (4, 16_000, 16_000), "f4", chunks=(1, 64, 64))


def compressed(file: h5py.File, folder: Path) -> None:
    data = file.create_dataset("spectrogram", (20, 16_384, 16_384), "f4", chunks=(1, 1024, 1024), compression="gzip")
    data[0, :1024, :1024] = 0


HDF5: dict[str, Callable[[h5py.File, Path], Any]] = {
    "external storage": external_storage,
    "virtual": virtual,
    "external link": external_link,
    "link through a link": link_above_a_link,
    "reference": by_reference,
    "a thousand references": referenced_often,
    "unwritten": unwritten,
    "many arrays": many_halves,
    "compressed": compressed,
    "broken link": lambda file, folder: file.__setitem__("spectrogram", h5py.SoftLink("/nothing")),
    "circle of links": lambda file, folder: file.__setitem__("spectrogram", h5py.SoftLink("/spectrogram")),
    "group": lambda file, folder: file.create_group("spectrogram"),
    "text": lambda file, folder: file.__setitem__("spectrogram", "hello"),
    "compound": lambda file, folder: file.__setitem__("spectrogram", np.zeros((6, 16), [("a", "f4"), ("b", "i4")])),
    "nothing": lambda file, folder: None,
    "no space": lambda file, folder: file.create_dataset("spectrogram", dtype="f4", shape=None),
    "NaN": lambda file, folder: file.__setitem__("spectrogram", np.full((6, 16, 16), np.nan)),
}


def hdf5_cases() -> Iterator[Case]:
    for label, fill in HDF5.items():
        for suffix in (".h5", ".mat"):

            def prepare(folder: Path, fill: Callable = fill, suffix: str = suffix) -> list[str]:
                path = folder / f"all{suffix}"
                with h5py.File(path, "w", userblock_size=512 if suffix == ".mat" else 0) as file:
                    good_columns(file)
                    fill(file, folder)
                if suffix == ".mat":
                    with path.open("r+b") as file:
                        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
                return [*INSPECT, str(path)]

            yield Case(f"{label} in {suffix}", prepare, names="all.", short=label == "external storage")


@parametrize(hdf5_cases())
def test_hdf5(case, judge):
    judge(case)


MATLAB: dict[str, dict[str, Any]] = {
    "cells": {"spectrogram": np.array([WINDOWS[0], "x"], object)},
    "struct": {"spectrogram": {"a": 1}},
    "text": {"spectrogram": "hello"},
    "empty": {"spectrogram": np.zeros((0, 0))},
    "sparse": {"spectrogram": scipy.sparse.csc_matrix((200_000, 200_000))},
    "NaN": {"spectrogram": np.full((6, 16, 16), np.nan)},
    "complex": {"spectrogram": WINDOWS * 1j},
}


def matlab_cases() -> Iterator[Case]:
    for label, arrays in MATLAB.items():

        def prepare(folder: Path, arrays: dict[str, Any] = arrays) -> list[str]:
            columns = {"user": np.array([*USERS], object)}
            scipy.io.savemat(folder / "all.mat", arrays | columns, do_compression=True)
            return [*INSPECT, str(folder / "all.mat")]

        yield Case(f"MATLAB {label}", prepare, names="all.mat")


@parametrize(matlab_cases())
def test_matlab(case, judge):
    judge(case)


def test_no_pickle_has_run(runner, tmp_path):
    (tmp_path / "all.npy").write_bytes(npy(PICKLE))
    assert runner.run([*INSPECT, str(tmp_path / "all.npy")], tmp_path).status == 2
    assert not list(tmp_path.rglob("ESCAPED"))
