"""Data sets prepared once: folders of recordings, and synthetic walkers.

Colormaps are inverted and sizes changed here, once, not in every epoch. `records` stores the windows, dataset.json
holds all else, with its own checksum.
"""

import contextlib
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mdiff_jax.data import arrays, files, native_grid, records, simulated, sources
from mdiff_jax.data.examples import Example, ReadOptions, read_examples
from mdiff_jax.data.records import DamagedData, NoRecords, Records
from mdiff_jax.runtime.errors import InputError, one_line
from mdiff_jax.runtime.progress import doing
from mdiff_jax.runtime.workdir import atomic_folder

VALUE_VERSIONS = {"folder": "1.2.0", "walkers": "1.2.0"}  # raised whenever the same source gives other numbers
NATIVE_VERSIONS = {"folder": "2.2.0", "walkers": "2.3.0"}  # likewise, of windows at their own frames
CHANNELS = {"scalar": 1, "rgb": 3}


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Windows with their users and times. Positions ('rows') are stable: the order of the files."""

    users: tuple[str, ...]
    files: tuple[str, ...]
    user_ids: Int[np.ndarray, " windows"]
    recordings: tuple[str, ...]
    indices: Int[np.ndarray, " windows"]
    frames: Int[np.ndarray, " windows"]  # columns that each window fills, from the first on; the others are -1
    image_size: tuple[int, int]
    metadata: dict[str, Any]
    fingerprint: str
    source: Records | NoRecords

    def __len__(self) -> int:
        return len(self.files)

    @property
    def grid(self) -> native_grid.Survey:
        """What `examples` needs to read other files as those of this data set were read."""
        frames = tuple(self.frames.tolist()) if self.metadata["native"] else ()
        file_format = native_grid.FileFormat.from_json(self.metadata["file_format"])
        return native_grid.Survey(len(self), frames, file_format)

    def rows(self, files: Sequence[str]) -> Int[np.ndarray, " n"]:
        """Positions of files; KeyError for one it does not hold."""
        position = {file: i for i, file in enumerate(self.files)}
        return np.array([position[file] for file in files], int)

    def load(self, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n freq time channels"]:
        """Windows at these positions, float32 in [-1, 1]."""
        return self.source.load(rows)


class Source(NamedTuple):
    """What a data set is prepared from."""

    options: dict[str, Any]  # all that the windows depend on, JSON; the recordings by their contents
    count: int  # type: ignore[assignment]  # not the method of tuples
    examples: Callable[[], Iterator[Example]]
    ignored: str | None  # what was left out, in one line


def prepare_dataset(
    *,
    kind: str,
    path: str,
    image_size: tuple[int, int],
    cache_dir: Path,
    channels: str,
    colormap_name: str,
    native_frames: bool,
    stft: dict[str, Any],
    walkers: dict[str, Any],
    log: Callable[[str], None] = lambda line: None,
) -> Dataset:
    """Opens the data set in `cache_dir`, prepared there before from the same source, else prepares it now.

    Where the recordings are gone or empty, those in `cache_dir` stand for them. Damaged ones are prepared anew. `log`
    takes lines about that, and about files that are left out. InputError for a source that cannot be read, or that is
    not the one `cache_dir` was prepared from.
    """
    native = native_frames and channels == "scalar"
    options = {"kind": kind, "image_size": list(image_size), "channels": channels, "version": VALUE_VERSIONS[kind]}
    options |= {"native_frames": NATIVE_VERSIONS[kind]} if native else {}
    known, damage, source = None, None, None
    try:
        known = records.read_description(cache_dir)
    except DamagedData as error:
        damage = error

    # ------------------------------------------------------------------- source
    if kind == "walkers":
        source = walkers_source(options, walkers, image_size, native)
    else:
        options |= {"colormap": colormap_name}
        reading = ReadOptions(image_size, channels, colormap_name, arrays.make_stft(stft), native)
        if files.has_entries(path):
            source = folder_source(options, Path(path), reading, stft)
        elif not known:
            raise damage or files.missing_source(path)

    # ------------------------------------------------------------------- open, or prepare
    fingerprint = fingerprint_options(source.options) if source else fingerprint_without_source(options, known, stft)
    if known and known["fingerprint"] != fingerprint:
        raise InputError(
            f"the recordings in '{path}' or how they are read have changed since {cache_dir} was prepared: "
            "give another --workdir, or restore the old recordings"
        )
    if known:
        try:
            return open_prepared(cache_dir)
        except DamagedData as error:
            damage = error
            if not source:
                raise
    write_prepared(cache_dir, image_size, channels, fingerprint, source.count, source.examples, source.options)
    dataset = open_prepared(cache_dir)
    again = damage and f"{damage.args[0].rpartition(': ')[0]}: it was prepared anew"
    for line in filter(None, (again, source.ignored, *dataset.metadata["notes"])):
        log(line)
    return dataset


def walkers_source(
    options: dict[str, Any], walkers: dict[str, Any], image_size: tuple[int, int], native: bool
) -> Source:
    """Synthetic walkers."""
    if options["channels"] != "scalar":
        raise InputError("data.channels='rgb' is for folders of images, walkers are scalar: give 'scalar'")
    count = walkers["num_users"] * walkers["recordings_per_user"] * walkers["windows_per_recording"]
    examples = functools.partial(simulated.read_examples, image_size, walkers, native)
    known = {key: value for key, value in walkers.items() if value or key != "nuisances"}  # a key that came later
    return Source(options | {"walkers": known}, count, examples, None)


def folder_source(options: dict[str, Any], root: Path, reading: ReadOptions, stft: dict[str, Any]) -> Source:
    """The recordings in a folder or file."""
    items = sources.scan_windows(root, reading.stft)
    with doing("reading the recordings"):
        options = options | {"content": hash_contents(root, items)}
    options |= {"stft": known_stft(stft)} if any(item.row >= 0 for item in items) else {}
    examples = functools.partial(read_examples, root, items, reading)
    return Source(options, len(items), examples, sources.ignored_files(root, items))


def known_stft(stft: dict[str, Any]) -> dict[str, Any]:
    """What arrays are known to be read by, without a key that came later while it changes nothing."""
    return {key: value for key, value in stft.items() if (key, value) != ("array_axes", "auto")}


def fingerprint_options(options: dict[str, Any]) -> str:
    """What a data set is known by."""
    return records.digest_json(options)[:16]


def fingerprint_without_source(options: dict[str, Any], known: dict[str, Any], stft: dict[str, Any]) -> str:
    """What a data set is known by whose recordings are the prepared ones."""
    recorded = known.get("options")
    if recorded is None:  # of an earlier version
        return known["fingerprint"]
    options = options | {"content": recorded["content"]} | ({"stft": known_stft(stft)} if "stft" in recorded else {})
    return fingerprint_options(options)


def hash_contents(root: Path, items: list[sources.WindowSource]) -> str:
    """Digest of names and bytes of all files."""
    digest = hashlib.sha256()
    for item in items:
        fields = ", ".join(f"{name}={value!r}" for name, value in item._asdict().items())
        digest.update(f"Item({fields})".encode())  # the text that data sets prepared before are known by
    for path in dict.fromkeys(path for item in items for path in sources.files_of(root, item)):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


# ----------------------------------------------------------------------------- reading


def open_prepared(cache_dir: Path) -> Dataset:
    """Opens the data set prepared in `cache_dir`; the recordings themselves are not needed.

    InputError where there is none, DamagedData where it is not as it was written.
    """
    d = records.read_description(cache_dir)
    if d is None:
        raise InputError(f"{cache_dir} holds no prepared data set: run train.py")
    with records.refuse_damage(cache_dir):
        channels = "rgb" if d["metadata"]["colormap"] is None else "scalar"
        source = records.open_records(cache_dir, d["parts"], (*d["image_size"], CHANNELS[channels]))
        if len(source) != len(d["files"]):
            raise ValueError(f"it holds {len(source)} windows, not {len(d['files'])}")
    return Dataset(
        users=tuple(d["users"]),
        files=tuple(d["files"]),
        user_ids=np.array(d["user_ids"], np.int32),
        recordings=tuple(d["recordings"]),
        indices=np.array(d["indices"], np.int32),
        frames=np.array(d["frames"], np.int32),
        image_size=tuple(d["image_size"]),
        metadata=d["metadata"],
        fingerprint=d["fingerprint"],
        source=source,
    )


def empty_dataset(users: tuple[str, ...], shape: records.Shape, metadata: dict[str, Any], fingerprint: str) -> Dataset:
    """A data set that says what its windows (F, T, C) were like and holds none of them."""
    none = np.zeros(0, np.int32)
    return Dataset(users, (), none, (), none, none, shape[:2], metadata, fingerprint, NoRecords(shape))


# ----------------------------------------------------------------------------- writing


def write_prepared(
    cache_dir: Path,
    image_size: tuple[int, int],
    channels: str,
    fingerprint: str,
    count: int,
    examples: Callable[[], Iterator[Example]],
    options: dict[str, Any] | None = None,
) -> None:
    """Prepares `count` examples into `cache_dir`, in place of what is there: whole, or not at all."""
    lines: list[sources.WindowSource] = []
    frames: list[int] = []
    common: dict[str, Any] = {}

    def windows() -> Iterator[np.ndarray]:
        for example in examples():
            lines.append(example.source)
            frames.append(int(example.frames))
            common.update(example.metadata)
            yield example.window

    with refuse_unwritten(cache_dir), atomic_folder(cache_dir) as folder:
        parts = records.write_records(folder, (*image_size, CHANNELS[channels]), count, windows())
        users = tuple(dict.fromkeys(item.user for item in lines))
        number = {user: i for i, user in enumerate(users)}
        description = {
            "fingerprint": fingerprint,
            "options": options,
            "parts": parts,
            "image_size": list(image_size),
            "metadata": common,
            "users": users,
            "files": [item.file for item in lines],
            "user_ids": [number[item.user] for item in lines],
            "recordings": [item.recording for item in lines],
            "indices": [item.index for item in lines],
            "frames": frames,
        }
        records.write_description(folder, description)


@contextlib.contextmanager
def refuse_unwritten(folder: Path) -> Iterator[None]:
    """Turns what is raised when a folder cannot be written, or the disk is full, into one line."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # RuntimeError: array_record
        reason = one_line(error).partition("; ")[0]
        raise InputError(
            f"{folder} could not be written ({reason}): free some space, then repeat the command"
        ) from None
