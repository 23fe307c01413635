"""Calibration of levels at the end of training: drawn windows beside training windows, and the map between the two."""

import numpy as np
from jaxtyping import Float, Int
from tqdm import tqdm

from mdiff_jax.data import render
from mdiff_jax.inference import level_map
from mdiff_jax.inference.model import Model
from mdiff_jax.runtime import parallel
from mdiff_jax.runtime.workdir import Workdir

CALIBRATION_SEED = 2**31 - 1  # of the windows that are drawn for it; no user's samples
RECORDED_WINDOWS, WINDOW_PIXELS = 384, 2**14  # that levels are calibrated to, and levels of each, at most


def calibrate_levels(model: Model, shown: Int[np.ndarray, " users"], workdir: Workdir) -> Model:
    """Returns the model with its level map, which is fitted and written where there is none for its checkpoints: to as
    many drawn windows of each of these users, and to some of their training windows.
    """
    c = model.config.sample
    if model.levels or not c.calibration_windows or model.config.data.channels == "rgb":
        return model
    users = [model.users[i] for i in shown]
    requests, drawn = model.requests(users, range(-(-c.calibration_windows // len(users)))), []
    with tqdm(total=len(requests), desc="level calibration", unit="window", disable=not parallel.is_first()) as bar:
        for chunk, windows in model.run(requests, CALIBRATION_SEED):
            drawn += own_pixels(*windows)
            bar.update(len(chunk))
    rows = model.dataset.rows(model.split["train"])
    each = max(1, RECORDED_WINDOWS // len(users))
    rows = [render.spread_windows(rows[model.dataset.user_ids[rows] == u], each) for u in shown]
    recorded = [x for of in rows for x in own_pixels(model.dataset.load(of), model.dataset.frames[of])]
    weights = np.concatenate([np.full(len(of), 1 / len(of)) for of in rows])
    levels = level_map.fit_level_map(
        np.concatenate(drawn), np.concatenate(recorded), np.repeat(weights, [len(x) for x in recorded])
    )
    if parallel.is_first():
        level_map.write_level_map(workdir.levels(bool(model.student)), levels, model.drawing_steps)
    return model._replace(levels=levels)


def own_pixels(windows: np.ndarray, frames: Int[np.ndarray, " n"]) -> list[Float[np.ndarray, " pixels"]]:
    """Returns levels of each window's own frames, so many that all windows together stay small."""
    every = 1 + windows[0].size // WINDOW_PIXELS
    return [x[:, :n].ravel()[::every] for x, n in zip(windows, frames, strict=True)]
