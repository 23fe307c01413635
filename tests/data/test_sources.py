"""Sources: users, recordings and indices from every layout, and folders that cannot be used refused by name."""

import contextlib
import json
import os
import socket

import numpy as np
import pytest
from recordings import DB, JET, RNG, arrays_of, png, read_all, refused, save, two_users

from mdiff_jax.data import sources


def test_users_and_times_in_natural_order_whatever_they_are_called(tmp_path):
    for user in ("ID_10", "ID_2", "步行者-3", "Zoë"):
        (tmp_path / user).mkdir()
        for k in (10, 9, 1):
            (tmp_path / user / f"w_{k}.png").write_bytes(png(JET))
    items = sources.scan_windows(tmp_path)
    assert list(dict.fromkeys(item.user for item in items)) == ["ID_2", "ID_10", "Zoë", "步行者-3"]
    assert [item.index for item in items[:3]] == [1, 9, 10]
    assert [item.recording for item in items[:3]] == ["w_/1", "w_/2", "w_/2"], "a gap ends a walk"


def test_number_at_the_end_is_the_index():
    assert sources.split_trailing_number("ID3_case1_1_Doppler57") == ("ID3_case1_1_Doppler", 57)
    assert sources.split_trailing_number("walk") == ("walk", -1)
    assert sources.split_trailing_number("x٣") == ("x٣", -1), "digits of other scripts are letters here"


def test_folders_of_a_user_are_recordings(tmp_path):
    two_users(tmp_path)
    for walk in ("monday", "friday"):
        (tmp_path / "b" / walk).mkdir()
        (tmp_path / "b" / walk / "1.png").write_bytes(png(JET))
    recordings = {item.recording for item in sources.scan_windows(tmp_path) if item.user == "b"}
    assert recordings == {"walk/1", "monday//1", "friday//1"}


def test_a_listing(tmp_path):
    (tmp_path / "images").mkdir()
    entries = [{"filename": f"f{k}.png", "user_id": k % 2, "recording": "r", "index": k // 2} for k in range(8)]
    for entry in entries:
        (tmp_path / "images" / entry["filename"]).write_bytes(png(JET))
    (tmp_path / "metadata.json").write_text(json.dumps(entries))
    items = sources.scan_windows(tmp_path)
    assert [(i.user, i.index, i.recording) for i in items] == [(u, k, "r/1") for u in "01" for k in range(4)]
    assert len(read_all(tmp_path)) == 8


def test_one_file_with_a_line_a_window(tmp_path):
    user, index = np.array(["u2", "u10"] * 4), np.arange(8) // 2
    x = RNG.uniform(-1, 1, (8, 16, 12)).astype(np.float32)
    save(tmp_path / "all.npz", spectrogram=x, user=user, index=index)
    items = sources.scan_windows(tmp_path / "all.npz")
    assert [(i.user, i.index) for i in items] == [(u, k) for u in ("u2", "u10") for k in range(4)]
    for file, window in read_all(tmp_path / "all.npz").items():
        np.testing.assert_allclose(window[..., 0], x[int(file.rpartition("#")[2])], atol=1e-5)


def test_folders_that_cannot_be_used(tmp_path):
    refused(tmp_path / "none", "none")
    refused(tmp_path, "holds no folders")
    two_users(tmp_path)
    (tmp_path / "c").mkdir()
    refused(tmp_path, "user 'c' has too few windows (0)")
    (tmp_path / "c" / "1.png").write_bytes(png(JET))
    refused(tmp_path, "user 'c' has too few windows (1)")
    (tmp_path / "c" / "notes.txt").write_text("x")
    refused(tmp_path, "notes.txt")
    (tmp_path / "c" / "notes.txt").unlink()
    (tmp_path / "c" / "2.npz").write_bytes(arrays_of(db=DB))
    refused(tmp_path, "2.npz")


def test_one_user_is_too_few(tmp_path):
    two_users(tmp_path)
    for path in (tmp_path / "b").iterdir():
        path.unlink()
    (tmp_path / "b").rmdir()
    refused(tmp_path, "too few users (1)")


def test_names_that_differ_in_case_alone(tmp_path):
    two_users(tmp_path)
    (tmp_path / "b").rename(tmp_path / "A")
    assert "differ in case" in refused(tmp_path, "'A'")


def test_links_out_of_the_folder(tmp_path):
    inside = two_users(tmp_path / "data")
    (tmp_path / "secret.png").write_bytes(png(JET))
    (inside / "a" / "walk4.png").symlink_to(tmp_path / "secret.png")
    refused(inside, "walk4.png")
    (inside / "a" / "walk4.png").unlink()
    (inside / "a" / "walk5.png").symlink_to("walk5.png")
    refused(inside, "walk5.png")


def listing(user: str = "a", **both) -> str:
    """Two windows of one user."""
    return json.dumps([{"filename": f"{k}.png", "user_id": user} | both for k in (1, 2)])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_listing_in_any_encoding_of_json(tmp_path, encoding):
    (tmp_path / "images").mkdir()
    entries = [{"filename": f"{k}.png", "user_id": "步行者" if k < 2 else "Zoë"} for k in range(4)]
    for entry in entries:
        (tmp_path / "images" / entry["filename"]).write_bytes(png(JET))
    (tmp_path / "metadata.json").write_bytes(json.dumps(entries, ensure_ascii=False).encode(encoding))
    assert {item.user for item in sources.scan_windows(tmp_path)} == {"步行者", "Zoë"}


@pytest.mark.parametrize(
    ("listing", "name"),
    [
        ("{", "metadata.json"),
        ("{}", "metadata.json"),
        ('[{"filename": "1.png"}]', "metadata.json"),
        ("[" * 5000, "metadata.json"),
        ('[{"filename": "../1.png", "user_id": "a"}]', "../1.png"),
        ('[{"filename": "/etc/passwd", "user_id": "a"}]', "/etc/passwd"),
        ('[{"filename": "none.png", "user_id": "a"}]', "none.png"),
        ('[{"filename": "1.png", "user_id": "a"}]', "2.png"),
        ('[{"filename": "1.png", "user_id": "a"}, {"filename": "1.png", "user_id": "b"}]', "1.png"),
        ('[{"filename": "1.png", "user_id": "a", "index": "x"}]', "1.png"),
        ('[{"filename": "1.png", "user_id": "a", "index": 1.9}]', "index 1.9"),
        ('[{"filename": "1.png", "user_id": "a", "index": true}]', "index True"),
        ('[{"filename": "1.png", "user_id": "a", "index": -1}]', "index -1"),
        ('[{"filename": "1.png", "user_id": "a", "index": 2147483648}]', "index 2147483648"),
        ('[{"filename": "1.png", "user_id": null}]', "user_id None"),
        ('[{"filename": "1.png", "user_id": true}]', "user_id True"),
        ('[{"filename": "1.png", "user_id": 1.5}]', "user_id 1.5"),
        ('[{"filename": "1.png", "user_id": "a", "recording": {}}]', "recording {}"),
        ('[{"filename": 1, "user_id": "a"}]', "names 1"),
        ('[{"filename": "a\\u0000", "user_id": "a"}]', r"'a\x00'"),
        ('[{"filename": "", "user_id": "a"}]', "a folder"),
        (listing(user="../x"), "'../x'"),
        (listing(user="/tmp/x"), "'/tmp/x'"),
        (listing(user="all"), "'all'"),
        (listing(index=3), "window 3 of one recording"),
        (listing(recording="9" * 5000), "recording"),
        (listing(recording="a\nb"), r"'a\nb'"),
        ("[" * 100_000, "metadata.json"),
        ('["\xff"]'.encode("latin-1"), "metadata.json"),
    ],
)
def test_bad_listings(tmp_path, listing, name):
    (tmp_path / "images").mkdir()
    for file in ("1.png", "2.png", "../1.png"):
        (tmp_path / "images" / file).write_bytes(png(JET))
    (tmp_path / "metadata.json").write_bytes(listing if isinstance(listing, bytes) else listing.encode())
    refused(tmp_path, name)


# ----------------------------------------------------------------------------- what is no plain file


def pipe(path):
    os.mkfifo(path)


def pipe_by_a_link(path):
    os.mkfifo(path.with_name(".pipe"))
    path.symlink_to(".pipe")


def bound_socket(path):
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as s:  # the address has to be short
        s.bind(path.name)


def device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [pipe, pipe_by_a_link, bound_socket, device])
@pytest.mark.parametrize(
    "place", ["a/walk9.png", "a/walk9.npz", "a/monday/1.png", "images/9.png", "metadata.json", "x"]
)
def test_pipes_sockets_and_devices_are_refused_by_name(tmp_path, make, place):
    two_users(tmp_path)
    (tmp_path / "a" / "monday").mkdir()
    if place.startswith("images"):
        (tmp_path / "images").mkdir()
        (tmp_path / "metadata.json").write_text("[]")
    make(tmp_path / place)
    refused(tmp_path, place.rpartition("/")[2])


def test_a_file_that_is_too_large_for_an_image_is_not_read(tmp_path):
    with (two_users(tmp_path) / "a" / "walk9.png").open("ab") as file:
        file.truncate(2**40)
    refused(tmp_path, "walk9.png")


def test_a_pipe_in_place_of_the_data_is_refused(tmp_path):
    os.mkfifo(tmp_path / "data.npz")
    refused(tmp_path / "data.npz", "data.npz")


def test_a_file_or_folder_by_two_names_is_refused(tmp_path):
    """Its windows would be in two parts of the split."""
    two_users(tmp_path)
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a")
    refused(tmp_path, "again")
    (tmp_path / "a" / "again").unlink()
    (tmp_path / "a" / "again").symlink_to(tmp_path / "b")
    refused(tmp_path, "are one file")
    (tmp_path / "a" / "again").unlink()
    (tmp_path / "c").symlink_to(tmp_path / "b")
    refused(tmp_path, "are one file")
    (tmp_path / "c").unlink()
    (tmp_path / "a" / "walk03.png").write_bytes(png(JET))
    refused(tmp_path, "are window 3 of one recording")


@pytest.mark.parametrize("name", ["walk\n4.png", os.fsdecode(b"walk\xff4.png"), "walk\x1b[2J4.png"])
def test_names_of_files_that_would_garble_a_message_are_refused(tmp_path, name):
    (two_users(tmp_path) / "a" / name).write_bytes(png(JET))
    refused(tmp_path, "control characters")


@pytest.mark.parametrize("user", ["a,b", "ALL", " a"])
def test_folders_that_cannot_be_the_name_of_a_user_are_refused(tmp_path, user):
    (two_users(tmp_path) / "a").rename(tmp_path / user)
    assert "cannot be the name" in refused(tmp_path, repr(user))


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("user", np.array(["../x"] * 4 + ["b"] * 4)),
        ("user", np.array([np.nan] * 8)),
        ("user", np.array([b"\xff"] * 8)),
        ("index", np.arange(8) + 0.9),
        ("index", np.arange(8) - 1),
        ("index", np.arange(8) + 2**31),
        ("index", np.zeros(8, int)),
        ("index", np.ones(8, bool)),
        ("recording", np.array(["9" * 5000] * 8)),
    ],
)
def test_bad_columns_of_one_file_are_refused(tmp_path, column, values):
    x = RNG.uniform(-1, 1, (8, 16, 12)).astype(np.float32)
    columns = {"user": np.array(list("aaaabbbb")), "index": np.arange(8)} | {column: values}
    save(tmp_path / "all.npz", spectrogram=x, **columns)
    refused(tmp_path / "all.npz", "all.npz")


def test_what_is_left_out_is_counted(tmp_path):
    two_users(tmp_path)
    assert sources.ignored_files(tmp_path, sources.scan_windows(tmp_path)) is None
    for name in (".DS_Store", ".git", "a/.hidden.png", "b/.cache"):
        (tmp_path / name).mkdir() if name in (".git", "b/.cache") else (tmp_path / name).write_text("")
    (tmp_path / ".git" / "config").write_text("")
    for name in ("stray.png", "truth.json"):
        (tmp_path / name).write_bytes(png(JET))
    line = sources.ignored_files(tmp_path, sources.scan_windows(tmp_path))
    assert line == f"ignored files in '{tmp_path}': 4 hidden, 2 beside the windows, such as 'stray.png'"
