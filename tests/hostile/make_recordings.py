"""Small recordings as images and arrays, for others to damage."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mdiff_jax.data import colormap

INSPECT = ["inspect_data.py", "--nocurve", "--path"]


def window(number: int, size: int = 16) -> np.ndarray:
    """(size, size) in [-1, 1]: a line and noise, another for each number."""
    rng = np.random.default_rng(number)
    x = rng.uniform(-1, -0.6, (size, size))
    x[(size // 2 + (np.arange(size) * (1 + number % 3)) % 5) % size, np.arange(size)] = 0.8
    return x.astype(np.float32)


def write_image(path: Path, number: int = 0, size: int = 16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rgb = colormap.to_rgb((window(number, size) + 1) / 2, "jet")
    Image.fromarray(rgb).save(path)
    return path


def image_folders(folder: Path, users: Iterable[str] = ("anna", "bob"), count: int = 4) -> Path:
    """FOLDER/data/USER/walk_K.png; returns FOLDER/data."""
    for i, user in enumerate(users):
        for k in range(count):
            write_image(folder / "data" / user / f"walk_{k + 1}.png", 10 * i + k)
    return folder / "data"


def listed(folder: Path, entries: Any = None, **changes: Any) -> Path:
    """FOLDER/data/images and metadata.json with `entries`, or two users' windows with `changes` to the first entry."""
    good = []
    for i, user in enumerate(("anna", "bob")):
        for k in range(3):
            name = f"{user}_{k + 1}.png"
            write_image(folder / "data" / "images" / name, 10 * i + k)
            good.append({"filename": name, "user_id": user})
    good[0] |= changes
    text = json.dumps(good if entries is None else entries)
    (folder / "data" / "metadata.json").write_text(text)
    return folder / "data"


def array_file(folder: Path, name: str = "all.npz", **changes: Any) -> Path:
    """FOLDER/NAME with six spectrograms of two users; `changes` replace or add arrays, None leaves one out."""
    arrays = {
        "spectrogram": np.stack([window(i) for i in range(6)]),
        "user": np.array(["anna"] * 3 + ["bob"] * 3),
        "index": np.array([1, 2, 3] * 2),
    }
    arrays = {key: value for key, value in (arrays | changes).items() if value is not None}
    np.savez(folder / name, **arrays)
    return folder / name


def user_arrays(folder: Path, **changes: Any) -> Path:
    """FOLDER/data/{anna,bob}/walk_1.npz with six spectrograms each; `changes` are of anna's."""
    for i, user in enumerate(("anna", "bob")):
        (folder / "data" / user).mkdir(parents=True)
        arrays = {"spectrogram": np.stack([window(10 * i + k) for k in range(6)])} | (changes if user == "anna" else {})
        np.savez(
            folder / "data" / user / "walk_1.npz", **{key: value for key, value in arrays.items() if value is not None}
        )
    return folder / "data"
