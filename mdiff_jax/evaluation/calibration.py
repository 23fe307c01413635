"""Calibration at the end of training: windows are drawn, and fitted to training windows in spectrum and levels."""

import numpy as np
from jaxtyping import Float, Int

from mdiff_jax.data import render
from mdiff_jax.inference import sample_calibration
from mdiff_jax.inference.model import Model
from mdiff_jax.runtime import parallel
from mdiff_jax.runtime.progress import Bar
from mdiff_jax.runtime.workdir import Workdir

CALIBRATION_SEED = 2**31 - 1  # of the windows that are drawn for it; no user's samples
RECORDED_WINDOWS = 384  # that it is fitted to, at most


def calibrate(model: Model, shown: Int[np.ndarray, " users"], workdir: Workdir) -> Model:
    """Returns the model with its calibration, which is fitted and written where there is none for its checkpoints, to
    as many drawn windows of each of these users, and to some of their training windows.
    """
    c = model.config.sample
    if model.calibration or not c.calibration_windows or model.config.data.channels == "rgb":
        return model
    users = [model.users[i] for i in shown]
    requests, drawn = model.requests(users, range(-(-c.calibration_windows // len(users)))), []
    with Bar(total=len(requests), desc="calibration", unit="window", disable=not parallel.is_first()) as bar:
        for chunk, windows in model.run(requests, CALIBRATION_SEED):
            drawn += own_frames(*windows)
            bar.update(len(chunk))
    rows = model.dataset.rows(model.split["train"])
    each = max(1, RECORDED_WINDOWS // len(users))
    rows_of = [render.spread_windows(rows[model.dataset.user_ids[rows] == u], each) for u in shown]
    recorded = [x for of in rows_of for x in own_frames(model.dataset.load(of), model.dataset.frames[of])]
    weights = np.concatenate([np.full(len(of), 1 / len(of)) for of in rows_of])
    calibration = sample_calibration.fit_calibration(drawn, recorded, weights)
    if parallel.is_first():
        path = workdir.calibration(bool(model.student))
        sample_calibration.write_calibration(path, calibration, model.drawing_steps)
    return model._replace(calibration=calibration)


def own_frames(windows: np.ndarray, frames: Int[np.ndarray, " n"]) -> list[Float[np.ndarray, "rows frames"]]:
    """Returns each window (F, T), or (F, T, 1), at its own frames."""
    return [x[:, :n].reshape(len(x), n) for x, n in zip(windows, frames, strict=True)]
