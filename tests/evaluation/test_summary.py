"""Laws of the summary that training ends with."""

import json

import numpy as np
import pytest

from mdiff_jax.evaluation import sample_folders, summary
from mdiff_jax.inference import loading
from mdiff_jax.runtime.workdir import Workdir


def test_the_summary_measures_and_says_where_everything_is(writable_root):
    out = summary.summarize_run(writable_root)
    figures = json.loads((writable_root / "summary.json").read_text())
    assert f"{figures['identity_real_test']:.1%}" in out and "sample.py" in out
    assert (writable_root / "grid.png").is_file()


def test_some_users_stand_for_many(workdirs, tmp_path, monkeypatch):
    workdirs.make_workdir(tmp_path, users=4)
    given = loading.load(tmp_path, {"summary.max_users": 2})
    monkeypatch.setattr(summary, "load", lambda root: given)
    summary.summarize_run(tmp_path)
    figures = json.loads((tmp_path / "summary.json").read_text())
    assert figures["chance"] == 0.5 and figures["windows_generated"] == 4
    assert figures["windows_test"] == len(given.split["test"]) / 2
    drawn = {path.parent.name for path in (tmp_path / "samples").rglob("walker_*/*.png")}
    assert drawn == {"walker_01", "walker_04"}


def test_a_leaking_split_is_marked(root, trained):
    """Windows of the training part put into the test part are found, and the summary says so."""
    assert sample_folders.leaking_share(trained) == 0
    leaking = trained._replace(split=trained.split | {"test": trained.split["train"][:3] + trained.split["test"]})
    assert sample_folders.leaking_share(leaking) == pytest.approx(3 / len(leaking.split["test"]))
    names = ("identity_real_test", "identity_generated", "chance", "windows_train", "windows_test", "windows_generated")
    figures = dict.fromkeys((*names, "seconds_per_image", "decoder_sample_timesteps"), 0.5)
    for share, said in ((0.0, False), (0.25, True)):
        marked = figures | {"leaking_test_windows": share}
        text = summary.format_summary(marked, trained.users, root, Workdir(root), root / "samples")
        assert ("THE SPLIT LEAKS: 25%" in text) == said


def test_levels_are_calibrated_once_on_windows_of_all_users(workdirs, tmp_path, monkeypatch):
    """Levels of windows drawn afterwards are distributed as those of training windows; a second call draws nothing."""
    workdirs.make_workdir(tmp_path)
    model = loading.load(tmp_path, {"sample.calibration_windows": 60, "sample.batch_size": 8})
    workdir, shown = Workdir(tmp_path), np.arange(len(model.users))
    calibrated = summary.calibrate_levels(model, shown, workdir)
    recorded, _ = model.windows("train")
    shares = np.linspace(0.1, 0.9, 9)
    drawn = [m.sample(model.users, 20, seed=5) for m in (model, calibrated)]
    before, after, target = (np.quantile(x[x > -1], shares) for x in (*drawn, recorded))
    assert np.abs(after - target).mean() < 0.2 * np.abs(before - target).mean()
    monkeypatch.setattr(loading.Model, "run", None)
    again = summary.calibrate_levels(loading.load(tmp_path, {"sample.calibration_windows": 60}), shown, workdir)
    assert again.levels.to_json() == calibrated.levels.to_json()
