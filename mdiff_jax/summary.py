"""What training ends with: samples of each user, a sheet beside real windows, and a first honest figure of identity."""

import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mdiff_jax import pictures
from mdiff_jax.metrics import identity
from mdiff_jax.model import Model, load
from mdiff_jax.workdir import Workdir, write_json


def report(root: str | Path) -> None:
    """Draws `summary.samples_per_user` windows of each user, writes grid.png and summary.json, prints the summary."""
    workdir = Workdir(root)
    model = load(root)
    # ------------------------------------------------------------------- draw
    count = model.config.summary.samples_per_user
    requests = model.requests(model.users, range(count))
    began, chunks = time.perf_counter(), []
    with tqdm(total=len(requests), desc="samples", unit="image", file=sys.stderr) as bar:
        for chunk, x in model.draw(requests, seed=model.config.seed):
            chunks.append(x)
            bar.update(len(chunk))
    seconds = (time.perf_counter() - began) / len(requests)
    generated = np.concatenate(chunks)
    users = np.array([r.index for r in requests])

    # ------------------------------------------------------------------- look
    real_test, test_users = model.windows("test")
    picture = workdir.root / "grid.png"
    write_grid(picture, model, {user: generated[users == i] for i, user in enumerate(model.users)})

    # ------------------------------------------------------------------- who is it?
    train, train_users = model.windows("train")
    judge = identity.fit_linear(_scalar(train), train_users, seed=0)
    figures = {
        "identity_real_test": identity.score(judge, _scalar(real_test), test_users)["accuracy"],
        "identity_generated": identity.score(judge, _scalar(generated), users)["accuracy"],
        "chance": 1.0 / len(model.users),
        "windows_train": len(train),
        "windows_test": len(real_test),
        "windows_generated": len(generated),
        "seconds_per_image": seconds,
    }
    write_json(workdir.root / "summary.json", figures)
    print(
        f"""
Is it that person? A classifier that shares nothing with the model, trained on {len(train)} real windows,
names the right one of {len(model.users)} users
    {figures["identity_real_test"]:6.1%} of {len(real_test)} real windows of walks it has not seen
    {figures["identity_generated"]:6.1%} of {len(generated)} generated windows        (chance {figures["chance"]:.1%})
{seconds:.2f} s an image (decoder {model.config.decoder.sample_timesteps} steps, compilation included)

picture      {picture}
figures      {workdir.root / "summary.json"}
checkpoints  {workdir.root}/{{encoder,prior,decoder}}/checkpoints

More windows of a user:
    python sample.py --workdir={root} --user_ids={model.users[0]} --num_samples_per_user=16""",
        flush=True,
    )


def write_grid(path: Path, model: Model, generated: dict[str, np.ndarray]) -> None:
    """A row a user: real test windows beside generated ones, as many as `summary.grid_columns` of each."""
    columns = model.config.summary.grid_columns
    real, real_users = model.windows("test")
    rows = {}
    for user, windows in generated.items():
        mine = real[real_users == model.users.index(user)]
        spread = np.linspace(0, len(mine) - 1, min(columns, len(mine))).astype(int)
        rows[user] = (model.to_image(mine[spread]), model.to_image(windows[:columns]))
    pictures.grid(path, rows, model.dataset.metadata.get("zero_doppler"))


def _scalar(windows: np.ndarray) -> np.ndarray:
    """(N, F, T); RGB windows by their mean."""
    return windows.mean(-1) if windows.ndim == 4 else windows
