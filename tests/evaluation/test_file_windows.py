"""Windows are measured as files hold them: recordings where they are, prepared windows written again elsewhere."""

import shutil
from pathlib import Path

import numpy as np

from mdiff_jax.data import export
from mdiff_jax.evaluation import file_windows, sample_folders
from mdiff_jax.inference.drawn_windows import COMPARISON_GRID
from mdiff_jax.metrics import reference, spectra, two_sample_test
from mdiff_jax.metrics.reference import MeasuredSet

ZERO_DOPPLER = 0.815


def measured(model, files=None) -> MeasuredSet:
    """The windows of the test split, of which only the files are looked at, by default all."""
    found = sample_folders.real_window_set(model, "test")
    found = found if files is None else found.pick(np.array([found.files.tolist().index(f) for f in files]))
    return MeasuredSet(found, "judge", {}, {}, {}, np.zeros(len(found.users)), found.users, None, None)


def measure(model, folder, test, generated):
    judges = reference.make_reference(sample_folders.real_window_set(model, "train"), ZERO_DOPPLER, convolutional=False)
    return file_windows.measure_files(model, Path(folder), judges, test, generated)


def test_recordings_are_read_as_their_files_are_and_written_again(native):
    test = measured(native)
    found, made, note = measure(native, native.config.data.path, test, test)
    assert native.config.data.path in note
    for name, values in found.files.items():
        assert np.array_equal(values, made.files[name]), "the same files"
        assert values.shape == found.rewritten[name].shape and not np.array_equal(values, found.rewritten[name])
    assert found.files[spectra.OCCUPANCY].shape == (8, 256), "at the rows of a file, not those of the model"
    assert found.rewritten.keys() - found.files.keys() == {two_sample_test.JUDGE_FEATURES}
    assert found.rewritten[two_sample_test.JUDGE_FEATURES].shape[0] == 8
    again = [t["levels"].mean(0) for t in (found.files, found.rewritten)]
    assert abs(again[0] - again[1]).max() < 0.01


def test_measures_follow_the_windows_whatever_their_order(native):
    files = list(native.dataset.files)
    turned = measured(native, files[::-1])
    forward, backward = (measure(native, native.config.data.path, s, s)[0] for s in (measured(native), turned))
    for table, again in ((forward.files, backward.files), (forward.rewritten, backward.rewritten)):
        for name in table:
            assert np.array_equal(table[name], again[name][::-1])


def test_where_recordings_are_gone_prepared_windows_are_written_again(native, tmp_path):
    before = measure(native, native.config.data.path, measured(native), measured(native))[0]
    config = native.config.copy_and_resolve_references()
    shutil.copytree(native.config.data.path, tmp_path / "samples", ignore=shutil.ignore_patterns("*.json"))
    for path in ("", str(tmp_path / "gone"), str(tmp_path / "less")):
        config.data.path = path
        if path.endswith("less"):
            shutil.copytree(native.config.data.path, path, ignore=shutil.ignore_patterns("*0001.jpg"))
        test = measured(native)
        found, made, note = measure(native._replace(config=config), tmp_path / "samples", test, test)
        assert "written again" in note and not found.rewritten
        for name, values in found.files.items():
            assert np.array_equal(values, before.rewritten[name])
            assert np.array_equal(made.files[name], before.files[name])


def test_windows_of_one_size_need_not_be_written_again(trained, native, tmp_path):
    """Simulated ones have no files but these."""
    folder = tmp_path / "samples"
    for i, row in enumerate(trained.dataset.rows(trained.split["test"])):
        path = folder / trained.users[trained.dataset.user_ids[row]] / f"a_{i}.png"
        export.write_window(path, trained.dataset.load(np.array([row]))[0], 16, trained.dataset.metadata)
    samples = sample_folders.read_sample_set(trained, folder)
    made = MeasuredSet(samples, "judge", {}, {}, {}, np.zeros(len(samples.users)), samples.users, None, None)
    found, made, note = measure(trained, folder, measured(trained), made)
    assert "written again" in note and not found.rewritten
    for name, values in found.files.items():
        assert np.array_equal(np.sort(values, axis=0), np.sort(made.files[name], axis=0)), "the same windows"


def test_native_windows_are_judged_at_a_fixed_grid_and_keep_their_frames(native, trained):
    real = sample_folders.real_window_set(native, "test")
    samples = sample_folders.read_sample_set(native, Path(native.config.data.path))
    for windows in (real, samples):
        assert windows.windows.shape == (8, *COMPARISON_GRID) and windows.windows.dtype == np.float32
    assert set(samples.files) == set(real.files) and np.array_equal(np.sort(samples.frames), np.sort(real.frames))
    assert np.array_equal(real.frames, native.dataset.frames) and np.ptp(real.frames) > 0
    judges = reference.make_reference(real, ZERO_DOPPLER, convolutional=False)
    assert np.array_equal(judges.measure(samples, overlaps=False).physics["frames"], samples.frames)
    picked = samples.pick(np.array([3, 1]))
    assert np.array_equal(picked.frames, samples.frames[[3, 1]])
    assert sample_folders.real_window_set(trained, "test").frames is None
