"""Data sets prepared once as TFDS (array_record, no TensorFlow): folders of recordings, and synthetic walkers.

Colormaps are inverted and sizes changed here, once, not in every epoch. Windows are stored as 16-bit numbers.
"""

import contextlib
import dataclasses
import functools
import hashlib
import io
import itertools
import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mdiff_jax.data import arrays, simulated, sources
from mdiff_jax.data.examples import ReadOptions, read_examples
from mdiff_jax.runtime.errors import InputError

FILE_VERSION = "1.2.0"  # of the stored form
VALUE_VERSIONS = {"folder": "1.2.0", "walkers": "1.2.0"}  # raised whenever the same source gives other numbers
PART_BYTES = 2**28  # TFDS holds a part in memory while it writes it, and beyond 1 GB would need TensorFlow
STORED_LEVELS = 65535  # model space [-1, 1] is stored as 0 … 65535
StoredExample = tuple[int, dict[str, np.ndarray]]  # key, {"window": uint16 (F, T, C)}


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Windows with their users and times. Positions ('rows') are stable: the order of the files."""

    users: tuple[str, ...]
    files: tuple[str, ...]
    user_ids: Int[np.ndarray, " windows"]
    recordings: tuple[str, ...]
    indices: Int[np.ndarray, " windows"]
    image_size: tuple[int, int]
    metadata: dict[str, Any]
    fingerprint: str
    source: Any  # random access to stored examples

    def __len__(self) -> int:
        return len(self.files)

    def rows(self, files: Sequence[str]) -> Int[np.ndarray, " n"]:
        """Positions of files; KeyError for one it does not hold."""
        position = {file: i for i, file in enumerate(self.files)}
        return np.array([position[file] for file in files], int)

    def load(self, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n freq time channels"]:
        """Windows at these positions, float32 in [-1, 1]."""
        stored = np.stack([self.source[int(row)]["window"] for row in rows])
        return stored.astype(np.float32) * np.float32(2 / STORED_LEVELS) - 1


def prepare_dataset(
    *,
    kind: str,
    path: str,
    image_size: tuple[int, int],
    cache_dir: Path,
    channels: str,
    colormap_name: str,
    native_frames: bool,
    stft: dict[str, float],
    walkers: dict[str, Any],
) -> Dataset:
    """Opens the data set in `cache_dir`, prepared there before from the same source, else prepares it now.

    InputError for a source that cannot be read, or that is not the one `cache_dir` was prepared from.
    """
    options = {"kind": kind, "image_size": list(image_size), "channels": channels, "version": VALUE_VERSIONS[kind]}
    if native_frames and (kind, channels) != ("folder", "scalar"):
        raise InputError("data.native_frames=True is for folders of images with data.channels='scalar': give False")
    if kind == "walkers":
        if channels != "scalar":
            raise InputError("data.channels='rgb' is for folders of images, walkers are scalar: give 'scalar'")
        options |= {"walkers": walkers}
        examples = functools.partial(simulated.read_examples, image_size, walkers)
        count = walkers["num_users"] * walkers["recordings_per_user"] * walkers["windows_per_recording"]
    else:
        if not path:
            raise InputError("data.path is empty: give the folder of recordings, --config.data.path=FOLDER")
        root, cut = Path(path), arrays.make_stft(stft)
        items = sources.scan_windows(root, cut)
        options |= {"colormap": colormap_name, "content": hash_contents(root, items)}
        options |= {"native_frames": True} if native_frames else {}
        options |= {"stft": stft} if any(item.row >= 0 for item in items) else {}
        reading = ReadOptions(image_size, channels, colormap_name, cut, native_frames)
        examples = functools.partial(read_examples, root, items, reading)
        count = len(items)
    fingerprint = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:16]
    if not (cache_dir / "dataset.json").is_file():
        write_prepared(cache_dir, image_size, channels, fingerprint, count, examples)
    dataset = open_prepared(cache_dir)
    if dataset.fingerprint != fingerprint:
        raise InputError(
            f"the recordings in '{path}' or how they are read have changed since {cache_dir} was prepared: "
            "give another --workdir, or restore the old recordings"
        )
    return dataset


def open_prepared(cache_dir: Path) -> Dataset:
    """Opens the data set prepared in `cache_dir`; the recordings themselves are not needed."""
    description = cache_dir / "dataset.json"
    if not description.is_file():
        raise InputError(f"{cache_dir} holds no prepared data set: run train.py")
    d = json.loads(description.read_text())
    with silence_tfds():
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(cache_dir / d["directory"])
        source = builder.as_data_source(split="+".join(sorted(builder.info.splits)))
    return Dataset(
        users=tuple(d["users"]),
        files=tuple(d["files"]),
        user_ids=np.array(d["user_ids"], np.int32),
        recordings=tuple(d["recordings"]),
        indices=np.array(d["indices"], np.int32),
        image_size=tuple(d["image_size"]),
        metadata=d["metadata"],
        fingerprint=d["fingerprint"],
        source=source,
    )


def hash_contents(root: Path, items: list[sources.WindowSource]) -> str:
    """Digest of names and bytes of all files."""
    digest = hashlib.sha256()
    for item in items:
        fields = ", ".join(f"{name}={value!r}" for name, value in item._asdict().items())
        digest.update(f"Item({fields})".encode())  # the text that data sets prepared before are known by
    for path in dict.fromkeys(sources.file_path(root, item) for item in items):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


# ----------------------------------------------------------------------------- writing


def write_prepared(
    cache_dir: Path, image_size: tuple[int, int], channels: str, fingerprint: str, count: int, examples: Callable
) -> None:
    """Prepares `count` examples into `cache_dir`; dataset.json comes last: if interrupted, it starts again."""
    shape = (*image_size, {"scalar": 1, "rgb": 3}[channels])
    lines: list[sources.WindowSource] = []
    common: dict[str, Any] = {}

    def stored() -> Iterator[StoredExample]:
        for i, (item, window, metadata) in enumerate(examples()):
            lines.append(item)
            common.update(metadata)
            yield i, {"window": np.round((window + 1) * (STORED_LEVELS / 2)).clip(0, STORED_LEVELS).astype(np.uint16)}

    with atomic_folder(cache_dir), silence_tfds():
        builder = make_tfds_builder(cache_dir, shape, count, stored)
        builder.download_and_prepare()
    users = tuple(dict.fromkeys(item.user for item in lines))
    description = {
        "fingerprint": fingerprint,
        "directory": str(Path(builder.data_path).relative_to(cache_dir)),
        "image_size": list(image_size),
        "metadata": common,
        "users": users,
        "files": [item.file for item in lines],
        "user_ids": [users.index(item.user) for item in lines],
        "recordings": [item.recording for item in lines],
        "indices": [item.index for item in lines],
    }
    temporary = cache_dir / ".dataset.json"
    temporary.write_text(json.dumps(description, ensure_ascii=False))
    os.replace(temporary, cache_dir / "dataset.json")


@contextlib.contextmanager
def atomic_folder(folder: Path) -> Iterator[None]:
    """Makes an empty `folder`; if the body fails, removes it again, with parents that were made for it."""
    made = [p for p in (folder, *folder.parents) if not p.exists()]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder)
        with contextlib.suppress(OSError):
            for parent in made[1:]:
                parent.rmdir()
        raise


def make_tfds_builder(cache_dir: Path, shape: tuple[int, int, int], count: int, examples: Callable) -> Any:
    """Makes a TFDS builder of `count` examples in the order given, in parts (splits) windows_000, windows_001 …"""
    import tensorflow_datasets as tfds

    size = max(1, PART_BYTES // (2 * math.prod(shape)))

    class Spectrograms(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """Micro-Doppler windows; users, recordings and times are in dataset.json."""

        VERSION = tfds.core.Version(FILE_VERSION)

        def _info(self) -> tfds.core.DatasetInfo:
            features = tfds.features.FeaturesDict({"window": tfds.features.Tensor(shape=shape, dtype=np.uint16)})
            return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

        def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
            stream = examples()
            return {f"windows_{k:03d}": self._generate_examples(stream) for k in range(math.ceil(count / size))}

        def _generate_examples(self, stream: Iterator[StoredExample]) -> Iterator[StoredExample]:
            yield from itertools.islice(stream, size)

    return Spectrograms(data_dir=cache_dir, file_format="array_record")


@contextlib.contextmanager
def silence_tfds() -> Iterator[None]:
    """Suppresses the progress bars and messages of TFDS."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
