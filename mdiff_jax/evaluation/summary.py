"""End of training: levels are calibrated, and a summary made: samples of each user, a sheet beside real windows, and a
first figure of identity.
"""

import shutil
import time
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from tqdm import tqdm

from mdiff_jax.data import render
from mdiff_jax.evaluation import sample_folders
from mdiff_jax.inference import level_map
from mdiff_jax.inference.loading import load
from mdiff_jax.inference.model import Model
from mdiff_jax.inference.provenance import default_folder
from mdiff_jax.inference.sample_writer import write_samples
from mdiff_jax.metrics import identity
from mdiff_jax.runtime import parallel
from mdiff_jax.runtime.workdir import Workdir, write_json

CALIBRATION_SEED = 2**31 - 1  # of the windows that levels are calibrated on; no user's samples
RECORDED_WINDOWS, WINDOW_PIXELS = 384, 2**14  # that levels are calibrated to, and levels of each, at most


def summarize_run(root: str | Path) -> str:
    """Samples each user into the working directory, writes grid.png and summary.json, returns the summary.

    Of more than `summary.max_users` users so many, from first to last, stand for all. Several processes sample
    together; the first does the rest, the others return ''.
    """
    # ------------------------------------------------------------------- sample
    parallel.wait_for_all("the last stage is saved")
    workdir, model = Workdir(root), load(root)
    model.require_recordings()
    count, seed = model.config.sample.num_samples_per_user, model.config.seed
    folder = default_folder(model, workdir.samples, seed)
    shown = render.spread_windows(np.arange(len(model.users)), model.config.summary.max_users)
    model = calibrate_levels(model, shown, workdir)
    names = tuple(model.users[i] for i in shown)
    began = time.perf_counter()
    files = write_samples(model, names, count, seed, folder)
    seconds = (time.perf_counter() - began) / len(files)
    if not parallel.is_first():
        return ""
    shutil.copyfile(folder / "grid.png", workdir.root / "grid.png")

    # ------------------------------------------------------------------- identity
    generated, users = sample_folders.read_windows(model, folder)
    train, train_users = sample_folders.real_windows(model, "train", shown)
    test, test_users = sample_folders.real_windows(model, "test", shown)
    users, train_users, test_users = (np.searchsorted(shown, x) for x in (users, train_users, test_users))
    judge = identity.fit_linear(train, train_users, seed=0)
    figures = {
        "identity_real_test": identity.score_identity(judge, test, test_users)["accuracy"],
        "identity_generated": identity.score_identity(judge, generated, users)["accuracy"],
        "chance": 1.0 / len(names),
        "leaking_test_windows": sample_folders.leaking_share(model),
        "windows_train": len(train),
        "windows_test": len(test),
        "windows_generated": len(generated),
        "seconds_per_image": seconds,
        "decoder_sample_timesteps": model.config.decoder.sample_timesteps,
    }
    write_json(workdir.root / "summary.json", figures)
    return format_summary(figures, names, root, workdir, folder)


def calibrate_levels(model: Model, shown: Int[np.ndarray, " users"], workdir: Workdir) -> Model:
    """Returns the model with its level map, which is fitted and written where there is none for its checkpoints: to as
    many drawn windows of each of these users, and to some of their training windows.
    """
    c, steps = model.config.sample, (model.prior_step, model.step)
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
        level_map.write_level_map(workdir.levels, levels, steps)
    return model._replace(levels=levels)


def own_pixels(windows: np.ndarray, frames: Int[np.ndarray, " n"]) -> list[Float[np.ndarray, " pixels"]]:
    """Returns levels of each window's own frames, so many that all windows together stay small."""
    every = 1 + windows[0].size // WINDOW_PIXELS
    return [x[:, :n].ravel()[::every] for x, n in zip(windows, frames, strict=True)]


def format_summary(
    figures: dict[str, float], users: tuple[str, ...], root: str | Path, workdir: Workdir, folder: Path
) -> str:
    """Returns the lines that training ends with."""
    f, leak = figures, ""
    if f["leaking_test_windows"]:
        share = f"{f['leaking_test_windows']:.0%}"
        leak = (
            f"\nTHE SPLIT LEAKS: {share} of the test windows share pixels with a training window: figures are too high"
        )
    return f"""
Is it that person? A linear classifier that shares nothing with the model, trained on {f["windows_train"]} real windows,
identifies the right one of {len(users)} users (chance {f["chance"]:.1%}) for
    {f["identity_real_test"]:6.1%} of {f["windows_test"]} real windows of walks it has not seen
    {f["identity_generated"]:6.1%} of {f["windows_generated"]} generated windows{leak}
{f["seconds_per_image"]:.2f} s an image ({f["decoder_sample_timesteps"]} steps, compilation included)

picture      {workdir.root / "grid.png"}
samples      {folder}
figures      {workdir.root / "summary.json"}
checkpoints  {workdir.root}/{{encoder,prior,decoder}}/checkpoints

Is it possible, is it new?
    python evaluate.py --workdir={root}
More windows of a user:
    python sample.py --workdir={root} --user_ids={users[0]} --num_samples_per_user=64"""
