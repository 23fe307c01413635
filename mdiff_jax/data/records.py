"""Prepared data on disk: windows in 16-bit numbers as TFDS (array_record, no TensorFlow), all else in dataset.json.

TFDS writes them, so that TFDS can read them. They are read here without its features.json and dataset_info.json:
whatever class these name, it would import.
"""

import contextlib
import hashlib
import io
import itertools
import json
import logging
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grain
import numpy as np
from jaxtyping import Float, Int

from mdiff_jax.data import arrays, colormap
from mdiff_jax.data.files import check_file
from mdiff_jax.data.native_grid import PLAIN, FileFormat
from mdiff_jax.runtime.errors import InputError, one_line
from mdiff_jax.runtime.user_names import check_user_names
from mdiff_jax.runtime.workdir import atomic_write

FILE_VERSION = "1.2.0"  # of the stored form
PART_BYTES = 2**28  # TFDS holds a part in memory while it writes it, and beyond 1 GB would need TensorFlow
MAX_DESCRIPTION_BYTES = 2**28  # of dataset.json: of two million windows
MAX_SIDE = 2**16  # of windows, and of the images they came from
STORED_LEVELS = 65535  # model space [-1, 1] is stored as 0 … 65535
REMEDY = "restore it, or run train.py again where the recordings are"
Shape = tuple[int, int, int]  # (F, T, C)
StoredExample = tuple[int, dict[str, np.ndarray]]  # key, {"window": uint16 (F, T, C)}


class DamagedData(InputError):  # noqa: N818, not an error of ours
    """Prepared data that is not as it was written."""


class Records:
    """Random access to the windows stored in files, which are opened as they are needed."""

    def __init__(self, files: list[Path], shape: Shape):
        self.files, self.shape = files, shape
        with refuse_damage(files[0].parent):
            self._features = make_features(shape)
            self._records = grain.sources.ArrayRecordDataSource([str(path) for path in files])

    def __len__(self) -> int:
        return len(self._records)

    def load(self, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n freq time channels"]:
        """Windows at these positions, float32 in [-1, 1]; DamagedData for one that cannot be decoded."""
        with refuse_damage(self.files[0].parent):
            windows = [self._features.deserialize_example_np(self._records[int(row)])["window"] for row in rows]
            stored = np.stack(windows) if windows else np.zeros((0, *self.shape), np.uint16)
        return stored.astype(np.float32) * np.float32(2 / STORED_LEVELS) - 1


class NoRecords:
    """The windows of a data set that was left behind: none."""

    def __init__(self, shape: Shape):
        self.shape = shape

    def __len__(self) -> int:
        return 0

    def load(self, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n freq time channels"]:
        """Returns no windows; IndexError for a position."""
        return np.zeros((0, *self.shape), np.float32)[rows]


def open_records(folder: Path, checksums: dict[str, int | None], shape: Shape) -> Records:
    """Opens files, named relative to `folder`; DamagedData for one that is missing or has another checksum."""
    files = [folder / name for name in checksums]
    for path, expected in zip(files, checksums.values(), strict=True):
        with refuse_damage(path):
            check_file(folder, path)
            if expected is not None and file_checksum(path) != expected:
                raise ValueError("it has changed since it was written")
    return Records(files, shape)


def write_records(
    folder: Path, shape: Shape, count: int, windows: Iterable[Float[np.ndarray, "freq time channels"]]
) -> dict[str, int]:
    """Writes `count` windows in [-1, 1] below `folder`; returns the names of the files and their checksums."""

    def stored() -> Iterator[StoredExample]:
        for i, window in enumerate(windows):
            yield i, {"window": np.round((window + 1) * (STORED_LEVELS / 2)).clip(0, STORED_LEVELS).astype(np.uint16)}

    with silence_tfds():
        builder = make_tfds_builder(folder, shape, count, stored)
        builder.download_and_prepare()
    names = sorted(path.relative_to(folder).as_posix() for path in Path(builder.data_path).glob("*.array_record*"))
    return {name: file_checksum(folder / name) for name in names}


def file_checksum(path: Path) -> int:
    """CRC-32 of a file."""
    value = 0
    with path.open("rb") as file:
        while block := file.read(2**20):
            value = zlib.crc32(block, value)
    return value


# ----------------------------------------------------------------------------- dataset.json


def read_description(cache_dir: Path) -> dict[str, Any] | None:
    """Reads and checks dataset.json; None where there is none, DamagedData where it is not as it was written."""
    path = cache_dir / "dataset.json"
    if not (path.exists() or path.is_symlink()):
        return None
    with refuse_damage(path):
        if not path.is_file():
            raise ValueError("it is no file")
        if path.stat().st_size > MAX_DESCRIPTION_BYTES:
            raise ValueError("it is too large")
        d = json.loads(path.read_bytes())
        if "checksum" in d and d.pop("checksum") != digest_json(d):
            raise ValueError("it has changed since it was written")
        if "parts" not in d:  # prepared by an earlier version, which stored no checksums
            found = sorted((cache_dir / d["directory"]).glob("*.array_record*"))
            d["parts"] = {part.relative_to(cache_dir).as_posix(): None for part in found}
        if "frames" not in d:  # prepared by a version that knew no windows at their own frames
            d["frames"] = [d["image_size"][1]] * len(d["files"])
            d["metadata"] |= {"native": False, "file_format": PLAIN.to_json(), "notes": []}
        check_description(d, path)
    return d


def check_description(d: dict[str, Any], path: Path) -> None:
    """ValueError (or another) for values that no data set has."""
    check_user_names(d["users"], path)
    count, users, metadata = len(d["files"]), len(d["users"]), d["metadata"]
    size = check_metadata(metadata, d["image_size"])
    texts = (*d["files"], *d["recordings"], *d["parts"], *metadata["notes"], d["fingerprint"])
    sound = (
        all(len(d[name]) == count > 0 for name in ("user_ids", "recordings", "indices", "frames"))
        and all(type(i) is int and 0 <= i < users for i in d["user_ids"])
        and all(type(i) is int and -1 <= i < arrays.MAX_INDEX for i in d["indices"])
        and all(type(n) is int and 0 < n <= size[1] for n in d["frames"])
        and all(isinstance(text, str) for text in texts)
        and len(set(d["files"])) == count
        and d["parts"]
    )
    if not sound:
        raise ValueError("its values do not fit each other")


def check_metadata(metadata: dict[str, Any], size: Sequence[int]) -> Sequence[int]:
    """ValueError (or another) for what no data set of windows of this size (rows, columns) says; returns the size."""
    velocity = metadata["velocity"]
    FileFormat.from_json(metadata["file_format"])
    sound = (
        type(metadata["native"]) is bool
        and all(type(n) is int and 0 < n < MAX_SIDE for n in (*size, *metadata["original_size"]))
        and len(size) == len(metadata["original_size"]) == 2
        and (metadata["colormap"] is None or metadata["colormap"] in colormap.NAMES)
        and (velocity is None or (np.shape(velocity) == (size[0],) and bool(np.isfinite(velocity).all())))
    )
    if not sound:
        raise ValueError("its values do not fit each other")
    return size


def write_description(cache_dir: Path, description: dict[str, Any]) -> None:
    """Writes dataset.json with a checksum of its values."""
    description = json.loads(json.dumps(description))  # as it will be read
    with atomic_write(cache_dir / "dataset.json") as temporary:
        temporary.write_text(json.dumps(description | {"checksum": digest_json(description)}, ensure_ascii=False))


def digest_json(value: dict[str, Any]) -> str:
    """SHA-256 of JSON values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def refuse_damage(path: Path) -> Iterator[None]:
    """Turns whatever is raised while prepared data is read into DamagedData that names it."""
    try:
        yield
    except (DamagedData, MemoryError):
        raise
    except Exception as error:  # decoders raise anything on damaged bytes
        reason = one_line(error)[:100] or type(error).__name__
        raise DamagedData(f"'{path}' is damaged ({reason}): {REMEDY}") from None


def make_features(shape: Shape) -> Any:
    """The TFDS features of an example."""
    import tensorflow_datasets as tfds

    return tfds.features.FeaturesDict({"window": tfds.features.Tensor(shape=shape, dtype=np.uint16)})


def make_tfds_builder(cache_dir: Path, shape: Shape, count: int, examples: Callable) -> Any:
    """Makes a TFDS builder of `count` examples in the order given, in parts (splits) windows_000, windows_001 …"""
    import tensorflow_datasets as tfds

    size = max(1, PART_BYTES // (2 * math.prod(shape)))

    class Spectrograms(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
        """Micro-Doppler windows; users, recordings and times are in dataset.json."""

        VERSION = tfds.core.Version(FILE_VERSION)

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(builder=self, features=make_features(shape), disable_shuffling=True)

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
