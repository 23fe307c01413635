"""Windows written to files and read back; walkers written as images like real ones."""

import json

import numpy as np
import pytest
from PIL import Image
from recordings import prepare

from mdiff_jax.data import builders, export, inspect
from mdiff_jax.runtime.errors import InputError


@pytest.mark.parametrize("layout", export.LAYOUTS)
def test_written_out_and_read_back(dataset, tmp_path, layout):
    rows, target = np.arange(10, 30), tmp_path / ("out.npz" if layout == "npz" else "out")
    export.export_windows(dataset, rows, target, layout)
    back = builders.open_prepared(target) if layout == "tfds" else prepare(target, tmp_path / "again")
    assert back.users == dataset.users
    np.testing.assert_array_equal(back.indices, dataset.indices[rows])
    np.testing.assert_array_equal(back.user_ids, dataset.user_ids[rows])
    assert np.abs(back.load(np.arange(20)) - dataset.load(rows)).max() <= 2.1 / 255
    with pytest.raises(InputError, match="exists already"):
        export.export_windows(dataset, rows, target, layout)


def test_walkers_as_jpeg_are_a_data_set_like_real_ones(tmp_path, capsys):
    """Written, scanned, inspected: overlap, colormap, frames and truth are those simulated."""
    few = ["--walkers=2", "--recordings=6", "--windows=6", f"--output={tmp_path / 'walkers'}"]
    export.main(few)
    assert "72 windows of 2 walkers" in capsys.readouterr().out
    path = tmp_path / "walkers" / "walker_01" / "walk_01_0000.jpg"
    with Image.open(path) as image:
        assert image.format == "JPEG" and image.size == (256, 256)
        assert image.layer[0][1:3] == (2, 2), "4:2:0"
    report, data = inspect.inspect(tmp_path / "walkers")
    assert report["colormap"] == "jet" and report["residual"]["mean"] > 5
    written = report["file_format"]
    assert (written["suffix"], written["subsampling"]) == ("jpg", "4:2:0")
    assert written["row_blocks"] and not written["soft_edges"]
    assert report["image_size"][0] == 128 and report["native_frames"][2] <= report["image_size"][1] <= 80
    assert report["overlap"]["hop"] == pytest.approx(0.25, abs=0.02) and report["overlap"]["disjoint_at"] == 4
    assert report["users"]["walker_02"] == {"windows": 36, "walks": 6, "longest_walk": 6}
    assert report["split"]["leaking"] == 0 and not report["near_duplicates"]
    truth = json.loads((tmp_path / "walkers" / "truth.json").read_text())
    assert set(truth) == set(data.files) and truth["walker_01/walk_01_0000.jpg"]["steps_per_minute"] > 80
    with pytest.raises(InputError, match="exists already"):
        export.main(few)


def test_written_out_as_jpeg(tmp_path):
    few = dict(num_users=2, recordings_per_user=1, windows_per_recording=2, difficulty=1.0, seed=0)
    data = prepare(tmp_path, tmp_path / "data", kind="walkers", walkers=few)
    export.export_windows(data, np.arange(4), tmp_path / "out", "images", "jpg")
    assert len(list((tmp_path / "out").glob("*/*.jpg"))) == 4
    back = prepare(tmp_path / "out", tmp_path / "again")
    assert np.abs(back.load(np.arange(4)) - data.load(np.arange(4))).mean() < 8 / 255
    with pytest.raises(InputError, match="image format 'gif'"):
        export.export_windows(data, np.arange(4), tmp_path / "other", "images", "gif")


def test_walkers_at_their_own_frames_are_written_out_as_images_and_as_arrays(tmp_path):
    few = dict(num_users=2, recordings_per_user=1, windows_per_recording=2, difficulty=1.0, seed=0)
    native = dict(image_size=(64, 80), native_frames=True)
    data = prepare(tmp_path, tmp_path / "data", kind="walkers", walkers=few, **native)
    export.export_windows(data, np.arange(4), tmp_path / "images", "images")
    assert len(list((tmp_path / "images").glob("*/*.png"))) == 4
    back = prepare(tmp_path / "images", tmp_path / "again", **native)
    np.testing.assert_array_equal(back.frames, data.frames)
    assert np.abs(back.load(np.arange(4)) - data.load(np.arange(4))).max() <= 1.2 / 255
    export.export_windows(data, np.arange(4), tmp_path / "out.npz", "npz")
    arrays = prepare(tmp_path / "out.npz", tmp_path / "arrays", **native)
    assert not arrays.metadata["native"] and arrays.metadata["original_size"] == [256, 256]
    assert arrays.metadata["velocity"] == pytest.approx(data.metadata["velocity"], abs=0.05)


def test_an_interrupted_export_leaves_nothing_behind(dataset, tmp_path, monkeypatch):
    """After Ctrl-C the same call starts anew, as if there had been none before."""
    write_image, calls = export.write_image, []

    def stop(*args) -> None:
        calls.append(args)
        if len(calls) % 3 == 0:
            raise KeyboardInterrupt
        write_image(*args)

    monkeypatch.setattr(export, "write_image", stop)
    few = dict(num_users=1, recordings_per_user=1, windows_per_recording=3, difficulty=1.0, seed=0)
    for write in (
        lambda: export.export_windows(dataset, np.arange(3), tmp_path / "new" / "out", "images"),
        lambda: export.write_walkers(tmp_path / "new" / "out", "jpg", **few),
    ):
        with pytest.raises(KeyboardInterrupt):
            write()
        assert not list(tmp_path.iterdir())
