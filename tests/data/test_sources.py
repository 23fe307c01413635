"""Sources: users, recordings and indices from every layout, and folders that cannot be used refused by name."""

import json

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
    ],
)
def test_bad_listings(tmp_path, listing, name):
    (tmp_path / "images").mkdir()
    for file in ("1.png", "2.png", "../1.png"):
        (tmp_path / "images" / file).write_bytes(png(JET))
    (tmp_path / "metadata.json").write_text(listing)
    refused(tmp_path, name)
