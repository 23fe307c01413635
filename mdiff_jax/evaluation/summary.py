"""Summary at the end of training: samples of each user, a sheet beside real windows, and a first figure of identity."""

import shutil
import time
from pathlib import Path

import numpy as np

from mdiff_jax.data import render
from mdiff_jax.evaluation import sample_folders
from mdiff_jax.inference.loading import load
from mdiff_jax.inference.provenance import default_folder
from mdiff_jax.inference.sample_writer import write_samples
from mdiff_jax.metrics import identity
from mdiff_jax.runtime import parallel
from mdiff_jax.runtime.workdir import Workdir, write_json


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
    began = time.perf_counter()
    shown = render.spread_windows(np.arange(len(model.users)), model.config.summary.max_users)
    names = tuple(model.users[i] for i in shown)
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
