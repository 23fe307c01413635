"""Array files that nobody vouches for: no other file is read, and memory is not taken for what does not fit."""

import io
import os
import resource
import signal
import zipfile

import h5py
import numpy as np
import pytest
import scipy.io
from recordings import DB, save

from mdiff_jax.data import array_files
from mdiff_jax.runtime.errors import InputError

SECRET = bytes(range(32, 96)) * 80  # 5120 bytes, those of an array (5, 16, 16) of float32


@pytest.fixture
def limited(monkeypatch):
    """Files may hold 1 MB, however large they are on disk."""
    monkeypatch.setattr(array_files, "SMALL_BYTES", 2**20)
    monkeypatch.setattr(array_files, "MAX_BYTES", 2**20)


def refused(path, says):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=says) as caught:
        array_files.load_arrays(path)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**14, "kB"


# ----------------------------------------------------------------------------- other files


def external(file, secret):
    file.create_dataset("db", (5, 16, 16), "f4", external=[(str(secret), 0, 5120)])


def link(file, secret):
    with h5py.File(secret.with_name("other.h5"), "w") as other:
        other["db"] = DB
    file["db"] = h5py.ExternalLink(str(secret.with_name("other.h5")), "db")


def soft_link_by_way_of_a_group(file, secret):
    link(file.create_group("inner"), secret)
    file["db"] = h5py.SoftLink("/inner/db")


def virtual(file, secret):
    layout = h5py.VirtualLayout((5, 16, 16), "f4")
    layout[:] = h5py.VirtualSource(str(secret.with_name("other.h5")), "db", (5, 16, 16))
    file.create_virtual_dataset("db", layout)


def cell_of(make):
    """A cell of text, as MATLAB writes it, whose first text is made by `make`."""

    def write(file, secret):
        make(file.create_group("#refs#"), secret)
        file["db"] = DB
        cell = file.create_dataset("user", (1,), h5py.ref_dtype)
        cell.attrs["MATLAB_class"] = np.bytes_("cell")
        cell[0] = file["#refs#"]["db"].ref

    return write


@pytest.mark.parametrize("suffix", [".h5", ".mat"])
@pytest.mark.parametrize(
    "write", [external, link, soft_link_by_way_of_a_group, virtual, cell_of(external), cell_of(virtual)]
)
def test_what_lies_in_other_files_is_refused(tmp_path, write, suffix):
    (tmp_path / "secret").write_bytes(SECRET)
    with h5py.File(tmp_path / f"walk{suffix}", "w") as file:
        write(file, tmp_path / "secret")
    refused(tmp_path / f"walk{suffix}", "is a link|lies in another file")


def test_modules_in_the_current_folder_are_not_imported(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("open('imported', 'w')")
    save(tmp_path / "walk.mat", db=DB)
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(array_files.load_arrays(tmp_path / "walk.mat")["db"], DB)
    assert not (tmp_path / "imported").exists()


# ----------------------------------------------------------------------------- sizes


def never_written(file):
    file.create_dataset("db", (2**10, 2**8, 2**8), "f8", chunks=(1, 256, 256))


def compressed(file):
    file.create_dataset("db", data=np.zeros((300, 32, 32), "f4"), compression="gzip")


def large_chunk(file):
    file.create_dataset("db", (5, 16, 16), "f4", maxshape=(None, None, None), chunks=(500, 40, 40))


def many_small(file):
    for k in range(20):
        file[f"x{k}"] = np.zeros(2**14, "f4")


def overflowing(file):
    file.create_dataset("db", (2**32 + 1, 2**32 + 1), "f4", chunks=(8, 8))


def repeated_cell(file):
    text = file.create_group("#refs#").create_dataset("a", data=np.full(1000, 65, "u2"))
    cell = file.create_dataset("user", data=np.array([text.ref] * 400, h5py.ref_dtype))
    cell.attrs["MATLAB_class"] = np.bytes_("cell")


def many_texts(file):
    file.create_dataset("user", (30_000,), h5py.string_dtype())


@pytest.mark.parametrize(
    "write", [never_written, compressed, large_chunk, many_small, overflowing, repeated_cell, many_texts]
)
def test_all_arrays_of_a_file_count_before_they_are_read(tmp_path, limited, write):
    with h5py.File(tmp_path / "walk.h5", "w") as file:
        write(file)
    refused(tmp_path / "walk.h5", "GiB of numbers")


def test_text_counts_while_it_is_read(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "walk.h5", "w") as file:
        file.create_dataset("user", data=["x" * 10_000] * 100, dtype=h5py.string_dtype())
    monkeypatch.setattr(array_files, "size_limit", lambda path: 100_000)
    refused(tmp_path / "walk.h5", "GiB of numbers")


def npz(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_all_members_of_an_archive_count(tmp_path, limited):
    one = npy(np.zeros(2**16, "f8"))
    (tmp_path / "walk.npz").write_bytes(npz(db=one, x=one, y=one))
    refused(tmp_path / "walk.npz", "GiB of numbers")


def test_a_long_header_is_not_read(tmp_path, limited):
    header = b"\x93NUMPY\x02\x00" + (2**25).to_bytes(4, "little") + b" " * 2**25
    (tmp_path / "walk.npz").write_bytes(npz(db=header))
    refused(tmp_path / "walk.npz", "GiB of numbers")


def test_holes_are_not_stored(tmp_path, monkeypatch):
    monkeypatch.setattr(array_files, "SMALL_BYTES", 2**20)
    with (tmp_path / "walk.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (2**20, 64)})
        file.truncate(file.tell() + 2**29)
    refused(tmp_path / "walk.npy", "GiB of numbers")


def test_a_bomb_in_a_structure_of_matlab_ends_the_reader_alone(tmp_path, limited, monkeypatch):
    """Its size is known only when it has been read."""
    monkeypatch.setattr(array_files, "DECODER_BYTES", 2**28)
    scipy.io.savemat(tmp_path / "walk.mat", {"s": {"a": np.zeros(2**25, "f8")}}, do_compression=True)
    refused(tmp_path / "walk.mat", "cannot be read .*Memory")


def test_a_file_at_which_the_reader_ends_is_refused_and_the_next_one_read(tmp_path, monkeypatch):
    save(tmp_path / "walk.h5", db=DB)
    save(tmp_path / "walk.mat", db=DB)
    monkeypatch.setattr(array_files, "DECODER_SECONDS", 0.2)
    os.kill(array_files.DECODER.process().pid, signal.SIGSTOP)
    refused(tmp_path / "walk.h5", "crashes its reader")
    monkeypatch.undo()
    process = array_files.DECODER.process()
    process.kill()
    process.wait()
    for name in ("walk.h5", "walk.mat"):
        np.testing.assert_array_equal(array_files.load_arrays(tmp_path / name)["db"], DB)


@pytest.mark.parametrize("suffix", [".h5", ".mat"])
def test_text_is_read_from_every_form(tmp_path, suffix):
    names = ["ID_1", "步行者", "🚶"]
    with h5py.File(tmp_path / f"walk{suffix}", "w") as file:
        refs = file.create_group("#refs#")
        for k, name in enumerate(names):
            refs[str(k)] = np.frombuffer(name.encode("utf-16-le"), "u2")
            refs[str(k)].attrs["MATLAB_class"] = np.bytes_("char")
        file["cell"] = np.array([refs[str(k)].ref for k in range(3)], h5py.ref_dtype)
        file["text"] = names
        file["fixed"] = np.array([b"a", b"b", b"c"])
    loaded = array_files.load_arrays(tmp_path / f"walk{suffix}")
    assert loaded["cell"].tolist() == names
    assert loaded["text"].tolist() == names and loaded["fixed"].tolist() == ["a", "b", "c"]
