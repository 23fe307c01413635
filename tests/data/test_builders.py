"""Prepared data sets, batches from them, and writing them back out."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mdiff_jax.data import arrays, builders, colormap, export, images, inspect, loader, spectrogram, splits
from mdiff_jax.runtime.errors import InputError

SIZE = (32, 24)
STFT = arrays.DEFAULT_STFT._asdict()
WALK = np.random.default_rng(0).uniform(size=(2, 16, 16 * 6)).repeat(4, 1).repeat(4, 2)  # (user, 64, 384)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two users of 20 windows of 64 frames, each a quarter of a window after the one before."""
    root = tmp_path_factory.mktemp("recordings")
    for user in (0, 1):
        (root / f"ID_{user}").mkdir()
        for k in range(20):
            window = WALK[user][:, 16 * k : 16 * k + 64]
            Image.fromarray(colormap.to_rgb(window, "jet")).save(root / f"ID_{user}" / f"case1_{k + 1}.png")
    return root


def prepare(folder: Path, cache: Path, **changes) -> builders.Dataset:
    common = dict(kind="folder", path=str(folder), image_size=SIZE, cache_dir=cache, channels="scalar")
    return builders.prepare_dataset(
        **common | dict(colormap_name="auto", native_frames=False, stft=STFT, walkers={}) | changes
    )


@pytest.fixture(scope="module")
def dataset(folder, tmp_path_factory) -> builders.Dataset:
    return prepare(folder, tmp_path_factory.mktemp("cache") / "data")


def test_what_is_stored_is_the_area_mean_of_what_was_drawn(dataset):
    assert dataset.users == ("ID_0", "ID_1") and len(dataset) == 40
    assert dataset.files[21] == "ID_1/case1_2.png" and dataset.indices[21] == 2
    here = dataset.load(np.array([21]))[0, :, :, 0]
    drawn = WALK[1][:, 16:80].reshape(32, 2, 64).mean(1).repeat(3, 1).reshape(32, 24, 8).mean(2)
    assert np.abs((here + 1) / 2 - drawn).max() < 1.5 / 255


def test_prepared_once_and_a_changed_source_is_noticed(folder, tmp_path):
    cache = tmp_path / "data"
    first = prepare(folder, cache)
    written = {p: p.stat().st_mtime_ns for p in cache.rglob("*") if p.is_file()}
    assert prepare(folder, cache).fingerprint == first.fingerprint
    assert {p: p.stat().st_mtime_ns for p in cache.rglob("*") if p.is_file()} == written
    with pytest.raises(InputError, match="have changed since"):
        prepare(folder, cache, image_size=(16, 16))
    extra = folder / "ID_0" / "case1_99.png"
    extra.write_bytes((folder / "ID_0" / "case1_1.png").read_bytes())
    try:
        with pytest.raises(InputError, match="have changed since"):
            prepare(folder, cache)
    finally:
        extra.unlink()


def test_an_interrupted_preparation_is_begun_again(folder, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(images, "to_scalar", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(folder, tmp_path / "data")
    with pytest.raises(InputError, match="holds no prepared data set"):
        builders.open_prepared(tmp_path / "data")
    assert len(prepare(folder, tmp_path / "data")) == 40


def test_what_is_too_large_for_one_part_is_stored_in_several(folder, tmp_path, dataset, monkeypatch):
    monkeypatch.setattr(builders, "PART_BYTES", 15 * 2 * 32 * 24)
    parts = prepare(folder, tmp_path / "data")
    assert len({p.name.split(".")[0] for p in tmp_path.rglob("*array_record*")}) == 3
    np.testing.assert_array_equal(parts.load(np.arange(40)), dataset.load(np.arange(40)))


def batches(dataset, **changes):
    common = dict(batch_size=8, seed=3, start_step=0, balanced=False, fields=("spectrogram",), tables={})
    return loader.train_batches(dataset, np.arange(40), **common | changes)


def test_batches_depend_on_seed_and_step_alone(dataset):
    stream = batches(dataset)
    run = [next(stream) for _ in range(8)]
    later = next(batches(dataset, start_step=7))
    for key, value in run[7].items():
        np.testing.assert_array_equal(value, later[key])
    np.testing.assert_array_equal(later["example"], np.arange(56, 64))
    assert not np.array_equal(run[0]["spectrogram"], next(batches(dataset, seed=4))["spectrogram"])
    # 5 batches of 8 are one pass over the 40 windows
    seen = np.concatenate([batch["spectrogram"] for batch in run[:5]]).reshape(40, -1)
    assert len(np.unique(seen.round(4), axis=0)) == 40


def test_processes_share_the_batch_of_one(dataset):
    whole = next(batches(dataset))
    parts = [next(batches(dataset, process_index=p, process_count=2)) for p in (0, 1)]
    for key, value in whole.items():
        np.testing.assert_array_equal(np.stack([part[key] for part in parts], 1).reshape(value.shape), value)


def test_large_data_sets_are_not_kept_in_memory_and_give_the_same(dataset, monkeypatch):
    kept = next(batches(dataset))
    monkeypatch.setattr(loader, "CACHE_BYTES", 0)
    np.testing.assert_array_equal(next(batches(dataset))["spectrogram"], kept["spectrogram"])


def test_balanced_draws_users_equally(dataset):
    rows = np.arange(25)  # 20 of one user, 5 of the other
    stream = loader.train_batches(
        dataset, rows, batch_size=8, seed=0, start_step=0, balanced=True, fields=(), tables={}
    )
    users = np.concatenate([next(stream)["user"] for _ in range(5)])
    np.testing.assert_array_equal(np.bincount(users), [20, 20])


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


def test_frames_are_not_mixed_on_the_way_in(tmp_path):
    """Drawn 256 columns wide from 40 frames, JPEG and all: each of 64 columns is one of the frames."""
    native = np.random.default_rng(0).uniform(size=(2, 2, 8, 40)).repeat(8, 2)
    for user, k in np.ndindex(2, 2):
        (tmp_path / "in" / f"ID_{user}").mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(colormap.to_rgb(spectrogram.stretch(native[user, k], 256), "jet"))
        image.save(tmp_path / "in" / f"ID_{user}" / f"walk_{k + 1}.jpg", quality=75)
    true = spectrogram.stretch(native[1, 1], 64)

    def error(native_frames):
        data = prepare(tmp_path / "in", tmp_path / str(native_frames), image_size=(64, 64), native_frames=native_frames)
        return np.abs((data.load(np.array([3]))[0, ..., 0] + 1) / 2 - true).mean()

    mixed, kept = error(False), error(True)
    assert kept < 3 / 255 < 15 / 255 < mixed, (kept * 255, mixed * 255)
    with pytest.raises(InputError, match="have changed since"):
        prepare(tmp_path / "in", tmp_path / "True", image_size=(64, 64))


def test_native_frames_that_are_not_there_are_refused(tmp_path):
    for user in ("a", "b"):
        (tmp_path / user).mkdir()
        for k in (1, 2):
            Image.fromarray(np.tile(np.arange(64, dtype=np.uint8), (64, 1))).save(tmp_path / user / f"{k}.png")
    with pytest.raises(InputError, match=r"a/1\.png' has no blocks of equal columns"):
        prepare(tmp_path, tmp_path / "out", native_frames=True)
    with pytest.raises(InputError, match="is for folders of images"):
        prepare(tmp_path, tmp_path / "out", native_frames=True, kind="walkers")


def test_samples_are_cut_by_the_stft_that_is_given(tmp_path):
    rng = np.random.default_rng(0)
    for user in ("a", "b"):
        (tmp_path / "in" / user).mkdir(parents=True)
        iq = rng.normal(size=(8000, 2)) @ np.array([1, 1j])
        np.savez(tmp_path / "in" / user / "walk.npz", iq=iq, prf=2000.0, carrier=77e9)
    data = prepare(tmp_path / "in", tmp_path / "data", stft=STFT | {"frames": 40, "hop_frames": 10})
    assert len(data) == 14 and data.metadata["original_size"] == [100, 40]
    with pytest.raises(InputError, match="have changed since"):
        prepare(tmp_path / "in", tmp_path / "data")
    for key, value in (("hop_frames", 0), ("zero_row", 1.0), ("hop_seconds", 0.0), ("window_seconds", np.nan)):
        with pytest.raises(InputError, match=rf"data\.stft\.{key} is"):
            prepare(tmp_path / "in", tmp_path / "other", stft=STFT | {key: value})


def test_walkers_as_jpeg_are_a_data_set_like_real_ones(tmp_path, capsys):
    """Written, scanned, inspected: overlap, colormap, frames and truth are those simulated."""
    few = ["--walkers=2", "--recordings=6", "--windows=6", f"--output={tmp_path / 'walkers'}"]
    assert export.main(few) == 0 and "72 windows of 2 walkers" in capsys.readouterr().out
    path = tmp_path / "walkers" / "walker_01" / "walk_01_0000.jpg"
    with Image.open(path) as image:
        assert image.format == "JPEG" and image.size == (256, 256)
        assert image.layer[0][1:3] == (2, 2), "4:2:0"
    report, data = inspect.inspect(tmp_path / "walkers")
    assert report["colormap"] == "jet" and report["residual"]["mean"] > 5
    assert report["overlap"]["hop"] == pytest.approx(0.25, abs=0.02) and report["overlap"]["disjoint_at"] == 4
    assert report["users"]["walker_02"] == {"windows": 36, "walks": 6, "longest_walk": 6}
    assert report["split"]["leaking"] == 0 and not report["near_duplicates"]
    truth = json.loads((tmp_path / "walkers" / "truth.json").read_text())
    assert set(truth) == set(data.files) and truth["walker_01/walk_01_0000.jpg"]["steps_per_minute"] > 80
    assert export.main(few) == 2 and "exists already" in capsys.readouterr().err


def test_written_out_as_jpeg(tmp_path):
    few = dict(num_users=2, recordings_per_user=1, windows_per_recording=2, difficulty=1.0, seed=0)
    data = prepare(tmp_path, tmp_path / "data", kind="walkers", walkers=few)
    export.export_windows(data, np.arange(4), tmp_path / "out", "images", "jpg")
    assert len(list((tmp_path / "out").glob("*/*.jpg"))) == 4
    back = prepare(tmp_path / "out", tmp_path / "again")
    assert np.abs(back.load(np.arange(4)) - data.load(np.arange(4))).mean() < 8 / 255
    with pytest.raises(InputError, match="image format 'gif'"):
        export.export_windows(data, np.arange(4), tmp_path / "other", "images", "gif")


def test_colors_can_be_kept(folder, tmp_path):
    data = prepare(folder, tmp_path / "data", channels="rgb", image_size=(64, 64))
    drawn = np.asarray(Image.open(folder / "ID_1" / "case1_1.png"))
    assert np.abs((data.load(np.array([20]))[0] + 1) / 2 * 255 - drawn).max() < 0.01


def test_walkers_are_prepared_with_their_velocity_axis(tmp_path):
    few = dict(num_users=2, recordings_per_user=1, windows_per_recording=2, difficulty=1.0, seed=0)
    data = prepare(tmp_path, tmp_path / "data", kind="walkers", walkers=few)
    assert data.files[0].startswith("walker_01/walk_01_") and len(data) == 4
    zero = data.metadata["zero_doppler"] * SIZE[0]
    assert abs(data.metadata["velocity"][int(zero)]) < data.metadata["velocity"][0] / 10


def test_inspect_finds_the_overlap_and_a_safe_split(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(inspect, "FRACTIONS", (0.5, 0.25, 0.25))  # 20 windows a user are few
    found = tmp_path / "r.json"
    assert inspect.main([f"--path={folder}", f"--json={found}", f"--figures={tmp_path / 'r.png'}"]) == 0
    report = json.loads(found.read_text())
    assert report["overlap"]["hop"] == 0.25 and report["overlap"]["disjoint_at"] == 4
    assert report["native_frames"] == [16, 16, 16] and report["colormap"] == "jet"
    assert report["split"]["leaking"] == 0 and report["split"]["leaking_if_random"] > 0.8
    assert report["users"]["ID_1"] == {"windows": 20, "walks": 1, "longest_walk": 20}
    assert report["near_duplicates"] == []
    assert (tmp_path / "r.png").stat().st_size > 10_000
    assert "4 or more indices apart are disjoint" in capsys.readouterr().out


def test_inspect_finds_a_window_that_two_users_share(dataset, folder):
    data = inspect.describe_windows(
        inspect.sources.scan_windows(folder), dataset.load(np.arange(40))[..., 0].repeat(11, 2)[:, :, :256]
    )
    data.windows[25] = data.windows[3]
    assert inspect.find_near_duplicates(data)[0]["files"] == [data.files[3], data.files[25]]


def test_inspect_refuses_in_one_line(tmp_path, capsys):
    assert inspect.main([f"--path={tmp_path / 'none'}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_split_of_prepared_windows(dataset):
    split = splits.make_split(dataset, fractions=(0.6, 0.2, 0.2), by="auto", gap=3, seed=0)
    assert splits.leaking_share(dataset, split, 3) == 0
