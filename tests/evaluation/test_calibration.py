"""Laws of calibration at the end of training."""

import numpy as np

from mdiff_jax.evaluation.calibration import calibrate
from mdiff_jax.inference import loading
from mdiff_jax.runtime.workdir import Workdir


def test_windows_are_calibrated_once_on_those_of_all_users(workdirs, tmp_path, monkeypatch):
    """Levels of windows drawn afterwards are distributed as those of training windows; a second call draws nothing."""
    workdirs.make_workdir(tmp_path)
    model = loading.load(tmp_path, {"sample.calibration_windows": 60, "sample.batch_size": 8})
    workdir, shown = Workdir(tmp_path), np.arange(len(model.users))
    calibrated = calibrate(model, shown, workdir)
    recorded, _ = model.windows("train")
    shares = np.linspace(0.1, 0.9, 9)
    drawn = [m.sample(model.users, 20, seed=5) for m in (model, calibrated)]
    before, after, target = (np.quantile(x[x > -1], shares) for x in (*drawn, recorded))
    assert np.abs(after - target).mean() < 0.2 * np.abs(before - target).mean()
    monkeypatch.setattr(loading.Model, "run", None)
    again = calibrate(loading.load(tmp_path, {"sample.calibration_windows": 60}), shown, workdir)
    assert again.calibration.to_json() == calibrated.calibration.to_json()
