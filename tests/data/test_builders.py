"""Prepared data sets: what is stored, when it is prepared again, and what is refused."""

import resource
import shutil

import numpy as np
import pytest
from PIL import Image
from recordings import SIZE, STFT, WALK, prepare

from mdiff_jax.data import builders, colormap, images, records, spectrogram
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.simulator import walkers


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
    monkeypatch.setattr(records, "PART_BYTES", 15 * 2 * 32 * 24)
    parts = prepare(folder, tmp_path / "data")
    assert len({p.name.split(".")[0] for p in tmp_path.rglob("*array_record*")}) == 3
    np.testing.assert_array_equal(parts.load(np.arange(40)), dataset.load(np.arange(40)))


def test_frames_are_not_mixed_on_the_way_in(tmp_path):
    """Drawn 256 columns wide from 40 frames, JPEG and all: the first 40 columns are these frames, the others empty."""
    native = np.random.default_rng(0).uniform(size=(2, 2, 8, 40)).repeat(8, 2)
    for user, k in np.ndindex(2, 2):
        (tmp_path / "in" / f"ID_{user}").mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(colormap.to_rgb(spectrogram.stretch(native[user, k], 256), "jet"))
        image.save(tmp_path / "in" / f"ID_{user}" / f"walk_{k + 1}.jpg", quality=75)
    lines = []
    data = prepare(tmp_path / "in", tmp_path / "own", image_size=(64, 64), native_frames=True, log=lines.append)
    [window] = data.load(np.array([3]))[..., 0]
    assert data.frames.tolist() == [40] * 4 and data.metadata["native"] and not lines
    assert np.abs((window[:, :40] + 1) / 2 - native[1, 1]).mean() < 3 / 255 and (window[:, 40:] == -1).all()
    with pytest.raises(InputError, match="have changed since"):
        prepare(tmp_path / "in", tmp_path / "own", image_size=(64, 64))
    earlier = records.read_description(tmp_path / "own")["options"] | {
        "native_frames": True
    }  # of versions that filled all columns
    assert builders.fingerprint_options(earlier) != data.fingerprint
    mixed = prepare(tmp_path / "in", tmp_path / "mixed", image_size=(64, 64))
    assert mixed.frames.tolist() == [64] * 4 and not mixed.metadata["native"]
    again = spectrogram.stretch(native[1, 1], 64)
    assert np.abs((mixed.load(np.array([3]))[0, ..., 0] + 1) / 2 - again).mean() > 15 / 255


def test_more_frames_than_columns_are_reduced_and_counted(tmp_path):
    lines = []
    data = prepare_walks(tmp_path, frames=(40, 50, 60), image_size=(16, 48), log=lines.append)
    assert data.frames.tolist() == [40, 48, 48] * 2
    assert lines == ["windows of more than 48 frames, reduced to 48 by area mean: 4"]
    again = []
    prepare(tmp_path / "in", tmp_path / "own", image_size=(16, 48), native_frames=True, log=again.append)
    assert again == [], "said once"


def test_a_data_set_without_blocks_is_resized_and_that_is_said(tmp_path):
    for user in ("a", "b"):
        (tmp_path / "in" / user).mkdir(parents=True)
        for k in (1, 2):
            Image.fromarray(np.tile(np.arange(64, dtype=np.uint8), (64, 1))).save(tmp_path / "in" / user / f"{k}.png")
    lines = []
    data = prepare(tmp_path / "in", tmp_path / "out", native_frames=True, log=lines.append)
    resized = prepare(tmp_path / "in", tmp_path / "resized")
    np.testing.assert_array_equal(data.load(np.arange(4)), resized.load(np.arange(4)))
    assert not data.metadata["native"] and data.frames.tolist() == [SIZE[1]] * 4
    assert len(lines) == 1 and lines[0].startswith("0 of 4 files show their frames") and "resized to 32x24" in lines[0]


def test_a_window_without_blocks_among_others_is_given_the_usual_number_of_frames(tmp_path):
    lines = []
    data = prepare_walks(tmp_path, frames=(40,) * 9 + (0,), image_size=(16, 48), log=lines.append)
    assert data.metadata["native"] and data.frames.tolist() == [40] * 20
    assert lines == ["windows that show no frames, resized to 40: 2"]


def prepare_walks(folder, frames, **options):
    """Two users' windows of these numbers of frames, 0 for a smooth picture, prepared at their own frames."""
    rng = np.random.default_rng(0)
    for user in ("a", "b"):
        (folder / "in" / user).mkdir(parents=True)
        for k, n in enumerate(frames):
            levels = spectrogram.stretch(rng.uniform(size=(16, n or 256)), 256)
            levels = levels if n else np.tile(np.linspace(0, 1, 256), (16, 1))
            Image.fromarray(colormap.to_rgb(levels, "jet")).save(folder / "in" / user / f"walk_{k}.png")
    return prepare(folder / "in", folder / "own", native_frames=True, **options)


def test_walkers_keep_the_frames_that_were_simulated(tmp_path):
    few = dict(num_users=2, recordings_per_user=1, windows_per_recording=2, difficulty=1.0, seed=0)
    options = dict(kind="walkers", walkers=few, image_size=(128, 80), native_frames=True)
    data = prepare(tmp_path, tmp_path / "data", **options)
    simulated = list(walkers.make_windows(**few))
    assert data.metadata["native"] and data.frames.tolist() == [w.spectrogram.shape[1] for w in simulated]
    for window, n, true in zip(data.load(np.arange(4))[..., 0], data.frames, simulated, strict=True):
        np.testing.assert_allclose(window[:, :n], true.spectrogram, atol=1e-4)
        assert (window[:, n:] == -1).all()


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


def test_walkers_without_nuisances_are_known_by_what_they_were_known_by(tmp_path):
    few = dict(num_users=1, recordings_per_user=1, windows_per_recording=2, difficulty=1.0, seed=0)
    first = prepare(tmp_path, tmp_path / "data", kind="walkers", walkers=few)
    again = prepare(tmp_path, tmp_path / "data", kind="walkers", walkers=few | {"nuisances": 0.0})
    assert again.fingerprint == first.fingerprint
    with pytest.raises(InputError, match="have changed since"):
        prepare(tmp_path, tmp_path / "data", kind="walkers", walkers=few | {"nuisances": 1.0})


@pytest.mark.parametrize("place", ["moved", "gone", "empty", ""])
def test_recordings_that_were_moved_or_are_gone_are_known_by_their_contents(folder, tmp_path, place):
    shutil.copytree(folder, tmp_path / "moved")
    (tmp_path / "empty").mkdir()
    cache = tmp_path / "data"
    first = prepare(folder, cache)
    path = str(tmp_path / place) if place else ""
    again = prepare(folder, cache, path=path)
    assert again.fingerprint == first.fingerprint and again.files == first.files
    with pytest.raises(InputError, match="have changed since"):
        prepare(folder, cache, path=path, image_size=(16, 16))
    with pytest.raises(InputError, match="have changed since"):
        prepare(folder, cache, path=path, colormap_name="jet")
    (tmp_path / "moved" / "ID_0" / "case1_1.png").write_bytes((folder / "ID_1" / "case1_1.png").read_bytes())
    with pytest.raises(InputError, match="have changed since"):
        prepare(folder, cache, path=str(tmp_path / "moved"))


@pytest.mark.parametrize(("place", "says"), [("gone", "does not exist"), ("empty", "is empty"), ("", "is empty")])
def test_recordings_that_are_not_there_cannot_be_prepared(folder, tmp_path, place, says):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=says):
        prepare(folder, tmp_path / "data", path=str(tmp_path / place) if place else "")
    assert not (tmp_path / "data").exists()
    prepare(folder, tmp_path / "data")
    for part in (tmp_path / "data").rglob("*array_record*"):
        part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(InputError, match="is damaged"):
        prepare(folder, tmp_path / "data", path=str(tmp_path / "gone"))


def test_what_is_left_out_is_said_once(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "in")
    (tmp_path / "in" / "stray.png").write_text("")
    (tmp_path / "in" / "ID_0" / ".hidden.png").write_text("")
    lines = []
    for _ in range(2):
        prepare(tmp_path / "in", tmp_path / "data", log=lines.append)
    [line] = lines
    assert "1 hidden, 1 beside the windows, such as 'stray.png'" in line


@pytest.mark.parametrize("trouble", ["full", "a file"])
def test_a_disk_that_does_not_take_it_is_named_and_nothing_is_left(folder, tmp_path, trouble):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    (tmp_path / "in the way").write_text("")
    target = tmp_path / "new" / "data" if trouble == "full" else tmp_path / "in the way" / "data"
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000 if trouble == "full" else limits[0], limits[1]))
    try:
        with pytest.raises(InputError, match="could not be written") as caught:
            prepare(folder, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(target) in str(caught.value) and "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in the way"]
