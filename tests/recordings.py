"""Recordings on disk that several test files make: small images and arrays, and data sets prepared from them."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from mdiff_jax.data import arrays, builders, colormap, examples, sources
from mdiff_jax.runtime.errors import InputError

RNG = np.random.default_rng(0)
GRAY = np.tile(np.linspace(0, 1, 32)[:, None], (1, 24)).astype(np.float32)
JET = Image.fromarray(colormap.to_rgb(GRAY, "jet"))
DB = (60 * RNG.uniform(size=(5, 16, 20)) - 80).astype(np.float32)
SIZE = (32, 24)
STFT = arrays.DEFAULT_STFT._asdict()
WALK = np.random.default_rng(0).uniform(size=(2, 16, 16 * 6)).repeat(4, 1).repeat(4, 2)  # (user, 64, 384)


def png(image: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def two_users(root: Path) -> Path:
    """Two users of three windows."""
    for user in ("a", "b"):
        (root / user).mkdir(parents=True)
        for k in (1, 2, 3):
            (root / user / f"walk{k}.png").write_bytes(png(JET))
    return root


def read_all(root: Path) -> dict[str, np.ndarray]:
    """Every window, as preparation does it."""
    found = examples.read_examples(root, sources.scan_windows(root), examples.ReadOptions((16, 12)))
    return {example.source.file: example.window for example in found}


def refused(root: Path, name: str) -> str:
    """The one line with which a data set is refused; it names the culprit."""
    with pytest.raises(InputError) as caught:
        read_all(root)
    message = str(caught.value)
    assert name in message and "\n" not in message and ": " in message, message
    return message


def save(path: Path, **arrays: np.ndarray) -> None:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".mat":
        scipy.io.savemat(path, arrays)
    elif path.suffix == ".npy":
        np.save(path, arrays["db"])
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array


def arrays_of(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def prepare(folder: Path, cache: Path, **changes) -> builders.Dataset:
    common = dict(kind="folder", path=str(folder), image_size=SIZE, cache_dir=cache, channels="scalar")
    return builders.prepare_dataset(
        **common | dict(colormap_name="auto", native_frames=False, stft=STFT, walkers={}) | changes
    )


def check_damaged(good: Path, read: Callable[[Path], np.ndarray], trials: int) -> None:
    """Random bytes overwritten and ends cut off: refused by name or read; no crash, no warning, nothing skipped."""
    data, rng = good.read_bytes(), np.random.default_rng(1)
    for trial in range(trials):
        damaged = bytearray(data[: rng.integers(1, len(data))] if trial % 2 else data)
        for _ in range(rng.integers(1, 12)):
            damaged[rng.integers(min(len(damaged), 400))] = rng.integers(256)
        bad = good.with_name(f"bad{trial}{good.suffix}")
        bad.write_bytes(bytes(damaged))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                assert np.isfinite(read(bad)).all()
            except InputError as error:
                assert bad.name in str(error) and "\n" not in str(error)
