"""Several recordings in one file: elements of a MATLAB structure, or groups of HDF5."""

import h5py
import numpy as np
import pytest
import scipy.io
from recordings import DB, save

from mdiff_jax.data import arrays, sources
from mdiff_jax.runtime.errors import InputError

USERS = ("anna", "bob", "anna", "bob")
WALKS = [{"db": DB + k, "user": user, "velocity": np.arange(16.0)} for k, user in enumerate(USERS)]
STFT = arrays.DEFAULT_STFT


def save_structure(path, walks=WALKS, **beside):
    """As MATLAB saves walks(1).db … up to v7."""
    fields = [(name, object) for name in walks[0]]
    structure = np.array([tuple(walk.values()) for walk in walks], fields)
    scipy.io.savemat(path, {"walks": structure} | beside)


def save_structure_73(path, walks=WALKS):
    """As MATLAB saves it in v7.3: of each field a list of references, columns first."""
    with h5py.File(path, "w") as file:
        stored, structure = file.create_group("#refs#"), file.create_group("walks")
        structure.attrs["MATLAB_class"] = np.bytes_("struct")
        for name in walks[0]:
            field = structure.create_dataset(name, (len(walks), 1), h5py.ref_dtype)
            for k, walk in enumerate(walks):
                text = isinstance(walk[name], str)
                value = np.frombuffer(walk[name].encode("utf-16-le"), "u2") if text else walk[name].T
                stored[f"{name}{k}"] = value
                stored[f"{name}{k}"].attrs["MATLAB_class"] = np.bytes_("char" if text else "double")
                field[k, 0] = stored[f"{name}{k}"].ref


def save_groups(path, walks=WALKS):
    with h5py.File(path, "w") as file:
        for k, walk in enumerate(walks, 1):
            for name, value in walk.items():
                file[f"walks({k})/{name}"] = value


@pytest.mark.parametrize("write", [save_structure, save_structure_73, save_groups])
def test_each_element_is_a_recording(tmp_path, write):
    """Each is read as a file of its own would be, its user named once for all its windows."""
    path = tmp_path / "all.mat"
    write(path)
    items = sources.scan_windows(path)
    assert [(i.user, i.recording, i.index) for i in items[:6]] == [
        *(("anna", "all/walks(1)/1", k) for k in range(5)),
        ("anna", "all/walks(3)/1", 0),
    ]
    assert len(items) == 20 and {i.recording for i in items if i.user == "bob"} == {"all/walks(2)/1", "all/walks(4)/1"}
    windows, velocities, *_ = arrays.read_windows(path)
    save(tmp_path / "third.npz", **{name: value for name, value in WALKS[2].items() if name != "user"})
    alone = arrays.read_windows(tmp_path / "third.npz")
    np.testing.assert_array_equal(np.stack(windows[10:15]), alone.spectrograms)
    np.testing.assert_array_equal(velocities, alone.velocities)


def test_recordings_of_two_files_are_told_apart(tmp_path):
    for user in ("a", "b"):
        (tmp_path / user).mkdir()
        for day in ("day1", "day2"):
            save_structure(tmp_path / user / f"{day}.mat", [{"db": walk["db"]} for walk in WALKS[:2]])
    items = [item for item in sources.scan_windows(tmp_path) if item.user == "a"]
    assert len({item.recording for item in items}) == 4 and len(items) == 20


def test_one_structure_is_the_file(tmp_path):
    save_structure(tmp_path / "walk.mat", [{"db": DB, "index": np.arange(3, 8)}])
    assert arrays.describe_file(tmp_path / "walk.mat", STFT) == (5, None, None, [3, 4, 5, 6, 7])


@pytest.mark.parametrize("write", [save_structure, save_structure_73, save_groups])
def test_what_all_recordings_share_lies_beside_them(tmp_path, write):
    rng, path = np.random.default_rng(0), tmp_path / "walk.mat"
    walks = [{"iq": rng.standard_normal(3000) + 1j * rng.standard_normal(3000)} for _ in range(2)]
    rates = {"prf": np.array(1000.0), "carrier": np.array(77e9)}
    if write is save_structure:
        save_structure(path, walks, **rates)
    else:
        write(path, walks)
        with h5py.File(path, "a") as file:
            file.update(rates)
    assert arrays.describe_file(path, STFT).recording == [f"walk/walks({k})" for k in (1, 2) for _ in range(2)]


def test_a_structure_beside_windows_is_left_out(tmp_path):
    save_structure(tmp_path / "walk.mat", db=DB[:2])
    assert len(arrays.read_windows(tmp_path / "walk.mat").spectrograms) == 2


def change(k, **values):
    return [{**walk, **values} if i == k else walk for i, walk in enumerate(WALKS)]


BAD = {
    "another velocity": change(1, velocity=np.arange(1.0, 17.0)),
    "another size of axes": change(1, velocity=np.arange(15.0)),
    "not finite": change(1, db=np.full_like(DB, np.nan)),
    "two users": change(1, user=np.array([1, 2])),
    "empty": change(1, db=np.zeros((0, 0))),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_recording_is_named(tmp_path, kind):
    save_structure(tmp_path / "all.mat", BAD[kind])
    with pytest.raises(InputError, match=r"all\.mat.*walks\(2\)") as caught:
        sources.scan_windows(tmp_path / "all.mat")
        arrays.read_windows(tmp_path / "all.mat")
    assert "\n" not in str(caught.value)


def test_a_link_in_a_group_is_refused(tmp_path):
    save_groups(tmp_path / "all.h5")
    with h5py.File(tmp_path / "all.h5", "a") as file:
        del file["walks(2)/db"]
        file["walks(2)/db"] = h5py.ExternalLink("other.h5", "db")
    with pytest.raises(InputError, match="'db' is a link"):
        sources.scan_windows(tmp_path / "all.h5")
