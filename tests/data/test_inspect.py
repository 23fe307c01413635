"""Inspection: overlap, frames, colormap and a safe split are found, and bad input is refused in one line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from recordings import DB, save

from mdiff_jax.data import inspect, sources
from mdiff_jax.runtime.config_files import load_config
from mdiff_jax.runtime.errors import InputError


def test_inspect_finds_the_overlap_and_a_safe_split(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(inspect, "FRACTIONS", (0.5, 0.25, 0.25))  # 20 windows a user are few
    report, data = inspect.inspect(folder)
    inspect.plot_report(tmp_path / "r.png", report, data)
    report = json.loads(json.dumps(report))
    assert report["overlap"]["hop"] == 0.25 and report["overlap"]["disjoint_at"] == 4
    assert report["native_frames"] == [16, 16, 16] and report["colormap"] == "jet"
    assert report["image_size"] == [32, 16] and report["file_format"]["suffix"] == "png"
    assert report["split"]["leaking"] == 0 and report["split"]["leaking_if_random"] > 0.8
    assert report["users"]["ID_1"] == {"windows": 20, "walks": 1, "longest_walk": 20}
    assert report["near_duplicates"] == []
    assert (tmp_path / "r.png").stat().st_size > 10_000
    said = inspect.format_report(report)
    assert "4 or more indices apart are disjoint" in said
    assert "files: not as JPEG; rows are repeated, frames are blocks of columns with sharp edges" in said
    assert "--config.data.image_size='(32, 16)' --config.init_from=none" in said


@pytest.mark.parametrize(
    ("rows", "frames", "says"),
    [
        (256, 72, "can stay (256, 80): it holds these frames"),
        (128, 80, "can stay (256, 80): it holds these frames, its 256 rows resized from 128"),
        (200, 120, "keeps the frames with --config.data.image_size='(256, 120)', its 256 rows resized from 200"),
        (512, 80, "--config.data.image_size='(512, 80)' --config.init_from=none"),
    ],
)
def test_the_size_of_the_base_model_is_kept_where_it_holds_the_frames(rows, frames, says):
    assert inspect.advise_size(rows, frames).endswith(says)
    assert load_config("gait_cpu").data.image_size == inspect.USUAL_SIZE


def test_inspect_finds_a_window_that_two_users_share(dataset, folder):
    data = inspect.describe_windows(
        sources.scan_windows(folder), dataset.load(np.arange(40))[..., 0].repeat(11, 2)[:, :, :256]
    )
    data.windows[25] = data.windows[3]
    assert inspect.find_near_duplicates(data)[0]["files"] == [data.files[3], data.files[25]]


def test_inspect_refuses_what_is_not_there(tmp_path):
    with pytest.raises(InputError, match="none"):
        inspect.inspect(tmp_path / "none")


def test_inspect_counts_what_it_leaves_out(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "in")
    (tmp_path / "in" / "stray.png").write_text("")
    report, _ = inspect.inspect(tmp_path / "in")
    assert "1 beside the windows, such as 'stray.png'" in inspect.format_report(report)


def test_inspect_looks_at_a_folder_of_one_person(folder, tmp_path, monkeypatch):
    """Of images and of arrays, by a relative path too; what lies beside it is not counted."""
    monkeypatch.setattr(inspect, "FRACTIONS", (0.5, 0.25, 0.25))
    both, _ = inspect.inspect(folder)
    report, data = inspect.inspect(folder / "ID_0")
    said = inspect.format_report(report)
    assert said.startswith(f"{folder / 'ID_0'}: 20 windows of one user\n") and report["ignored"] is None
    assert report["users"] == {"ID_0": both["users"]["ID_0"]} and data.users == ("ID_0",)
    assert report["overlap"]["hop"] == 0.25 and report["split"]["leaking"] == 0
    monkeypatch.chdir(folder / "ID_0")
    assert inspect.inspect(Path("."))[0]["users"] == report["users"]
    (tmp_path / "one").mkdir()
    save(tmp_path / "one" / "walk.npz", db=DB)
    report, _ = inspect.inspect(tmp_path / "one")
    assert report["windows"] == 5 and "image" not in inspect.format_report(report)


def test_inspect_refuses_one_image(folder):
    image = next(folder.glob("*/*.png"))
    with pytest.raises(InputError, match="is one image: give the folder that holds a folder per user"):
        inspect.inspect(image)


def test_inspect_refuses_a_person_without_windows(tmp_path):
    with pytest.raises(InputError, match="holds no folders: give one per user, with the windows of that user"):
        inspect.inspect(tmp_path)
    save(tmp_path / "walk.npz", db=DB[0])
    with pytest.raises(InputError, match=r"too few windows \(1\)"):
        inspect.inspect(tmp_path)
