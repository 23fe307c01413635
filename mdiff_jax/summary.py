"""What training ends with: samples of each user, a sheet beside real windows, and a first honest figure of identity."""

import shutil
import time
from pathlib import Path

import numpy as np
from PIL import Image

from mdiff_jax.data import colormap
from mdiff_jax.metrics import identity
from mdiff_jax.model import Model, load
from mdiff_jax.sampling import folder_of, write_samples
from mdiff_jax.types import Windows
from mdiff_jax.workdir import Workdir, write_json


def report(root: str | Path) -> None:
    """Draws samples of each user into the working directory, writes grid.png and summary.json, prints the summary."""
    # ------------------------------------------------------------------- draw
    workdir, model = Workdir(root), load(root)
    count, seed = model.config.sample.num_samples_per_user, model.config.seed
    folder = folder_of(model, workdir.samples, seed)
    began = time.perf_counter()
    files = write_samples(model, model.users, count, seed, folder)
    seconds = (time.perf_counter() - began) / len(files)
    picture = workdir.root / "grid.png"
    shutil.copyfile(folder / "grid.png", picture)

    # ------------------------------------------------------------------- who is it?
    generated = read_images(model, files)
    users = np.array([model.users.index(file.parent.name) for file in files])
    train, train_users = model.windows("train")
    test, test_users = model.windows("test")
    judge = identity.fit_linear(scalar(train), train_users, seed=0)
    figures = {
        "identity_real_test": identity.score(judge, scalar(test), test_users)["accuracy"],
        "identity_generated": identity.score(judge, generated, users)["accuracy"],
        "chance": 1.0 / len(model.users),
        "windows_train": len(train),
        "windows_test": len(test),
        "windows_generated": len(generated),
        "seconds_per_image": seconds,
        "decoder_sample_timesteps": model.config.decoder.sample_timesteps,
    }
    write_json(workdir.root / "summary.json", figures)
    print(text(figures, model.users, root, workdir, folder), flush=True)


def text(figures: dict[str, float], users: tuple[str, ...], root: str | Path, workdir: Workdir, folder: Path) -> str:
    """The closing lines."""
    f = figures
    return f"""
Is it that person? A linear classifier that shares nothing with the model, trained on {f["windows_train"]} real windows,
names the right one of {len(users)} users (chance {f["chance"]:.1%}) for
    {f["identity_real_test"]:6.1%} of {f["windows_test"]} real windows of walks it has not seen
    {f["identity_generated"]:6.1%} of {f["windows_generated"]} generated windows
{f["seconds_per_image"]:.2f} s an image ({f["decoder_sample_timesteps"]} steps, compilation included)

picture      {workdir.root / "grid.png"}
samples      {folder}
figures      {workdir.root / "summary.json"}
checkpoints  {workdir.root}/{{encoder,prior,decoder}}/checkpoints

More windows of a user:
    python sample.py --workdir={root} --user_ids={users[0]} --num_samples_per_user=64"""


def read_images(model: Model, files: list[Path]) -> Windows:
    """Generated images as somebody would read them who has only the files: (N, F, T) in [-1, 1]."""
    rows, frames = model.dataset.image_size
    images = [Image.open(f).convert("RGB").resize((frames, rows), Image.Resampling.NEAREST) for f in files]
    rgb = np.stack([np.asarray(image) for image in images])
    if model.config.data.channels == "rgb":
        return scalar(rgb / np.float32(127.5) - 1)
    return 2 * np.stack([colormap.to_scalar(image, model.dataset.metadata["colormap"]) for image in rgb]) - 1


def scalar(windows: np.ndarray) -> Windows:
    """(N, F, T); RGB windows by their mean."""
    return windows.mean(-1) if windows.ndim == 4 else windows
