"""What lies in a folder or file of recordings, and reading one window of it.

Three layouts: a folder per user, with files or a folder per recording in it; `images/` with `metadata.json`; one array
file with a line a window. Files are images, or arrays.

A window's place in time is the last number in its file's name; a user's windows whose names are alike but for it were
taken in one go, and a gap in the numbering ends a walk. Where no name ends in a number, order is unknown.

What an array file (.npy, .npz, .mat, .h5; nothing is ever unpickled) holds is told by the name of its array:

- `spectrogram`: model space, [-1, 1]; (F, T), or (N, F, T) with a line a window
- `db`: power in dB, same shapes; the top is the file's 99.7th percentile, `Stft.span_db` below it the floor
- `iq`: complex slow-time samples (S,) of one recording, with `prf` [Hz] and `carrier` [Hz]; `Stft` cuts it in windows

beside which may stand `velocity` (F,) in m/s (where it ascends, rows are turned), `user`, `recording`, `index` (N,). An
array by another name, alone in its file, is `iq` if complex and `db` if its values span more than 3.
"""

import functools
import io
import json
import re
import subprocess
import sys
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from mdiff_jax.data import spectrogram
from mdiff_jax.errors import InputError

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
MAX_PIXELS = 4096 * 4096  # of one image: checked before it is decoded
MIN_SIDE = 8  # rows and frames
MIN_WINDOWS = 2
ARRAYS = (".npy", ".npz", ".mat", ".h5", ".hdf5")
MAX_BYTES = 4 * 2**30  # of one file's arrays, decoded
LIGHT = 299_792_458.0  # m/s
ASIDE = ("velocity", "time", "user", "recording", "index", "prf", "carrier")
CHILD = """
import io, sys, numpy as np, scipy.io
size = sum(16 * int(np.prod(shape)) for _, shape, _ in scipy.io.whosmat(sys.argv[1]))
if size > int(sys.argv[2]):
    sys.exit(f"it claims {size / 2**30:.1f} GiB of numbers")
arrays = {k: v for k, v in scipy.io.loadmat(sys.argv[1]).items() if not k.startswith("__")}
for k, v in arrays.items():
    if v.dtype == object:  # cells of text
        arrays[k] = np.array([str(np.ravel(x)[0]) if np.size(x) else "" for x in v.ravel()])
file = io.BytesIO()
np.savez(file, allow_pickle=False, **arrays)
sys.stdout.buffer.write(file.getvalue())
"""
Image_ = UInt8[np.ndarray, "rows columns 3"] | Float[np.ndarray, "rows columns"]


class Item(NamedTuple):
    """One window, not read yet."""

    file: str  # relative to the folder, with '/'; 'walk.npz#12' is window 12 of a file
    user: str
    recording: str  # condition/number of the walk
    index: int  # in time; -1 where the name does not tell
    row: int = -1  # in its file; -1 where the file is one image


class Stft(NamedTuple):
    """How slow-time samples become windows. Consecutive windows share 1 - hop_frames / frames."""

    window_seconds: float = 0.05  # Hann
    hop_seconds: float = 0.0375  # between frames
    frames: int = 56  # a window, 2.1 s, about four steps
    hop_frames: int = 14  # between windows
    span_db: float = spectrogram.SPAN_DB  # kept below the top
    zero_row: float = 0.8125  # row of zero Doppler, share of the height; the velocity axis wraps there


class Table(NamedTuple):
    """The windows of a file."""

    count: int
    user: list[str] | None
    recording: list[str] | None
    index: list[int] | None


class Windows(NamedTuple):
    """Spectrograms of one file, in model space, and the velocity of each row in m/s."""

    spectrograms: Float[np.ndarray, "windows freq time"]
    velocities: Float[np.ndarray, " freq"] | None


STFT = Stft()


def scan(root: Path) -> list[Item]:
    """All windows of `root`, users and times in natural order; InputError for what cannot be used."""
    if root.is_file():
        items = scan_array(root)
    elif not root.is_dir():
        raise InputError(f"data.path '{root}' is not there: give a folder that holds a folder per user")
    elif (root / "metadata.json").is_file():
        items = scan_listed(root)
    else:
        items = scan_folders(root)
    check_users(items, root)
    return items


def path_of(root: Path, item: Item) -> Path:
    """The file that holds a window."""
    base = root if root.is_dir() else root.parent
    return base / (item.file.rpartition("#")[0] if item.row >= 0 else item.file)


# ----------------------------------------------------------------------------- layouts


def scan_folders(root: Path) -> list[Item]:
    """A folder per user. Files beside the folders are no windows."""
    folders = sorted((p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")), key=natural)
    if not folders:
        raise InputError(f"data.path '{root}' holds no folders: it needs one per user, with that user's images")
    return [item for folder in folders for item in scan_user(root, folder)]


def scan_user(root: Path, folder: Path) -> list[Item]:
    """One user's windows in order of time; folders in it are recordings."""
    files: list[Path] = []
    for path in visible(folder):
        files += visible(path) if path.is_dir() and inside(root, path) else [path]
    images = [p for p in files if p.suffix.lower() in IMAGES]
    for path in files:
        if path.is_dir() or path.suffix.lower() not in IMAGES + ARRAYS:
            raise InputError(f"'{path}' is no image ({', '.join(IMAGES)}) or array: move it out of the user's folder")
        inside(root, path)
    if images and len(images) < len(files):
        raise InputError(
            f"'{folder}' mixes images with arrays ({next(p for p in files if p not in images).name}): keep one"
        )
    found: list[tuple[str, str, int, int]] = []
    for path in files:
        above = "" if path.parent == folder else f"{path.parent.name}/"
        name, condition = path.relative_to(root).as_posix(), number(path.stem)
        if path in images:
            found.append((name, above + condition[0], condition[1], -1))
        else:
            found += [(f"{name}#{i}", above + c, k, i) for i, (c, k) in enumerate(within(path))]
    walk = walks([(condition, index) for _, condition, index, _ in found])
    return [Item(f, folder.name, w, index, row) for (f, _, index, row), w in zip(found, walk, strict=True)]


def within(path: Path) -> list[tuple[str, int]]:
    """(condition, index) of each window in one user's array file."""
    table = describe_arrays(path)
    if table.count == 1 and table.index is None:
        return [number(path.stem)]
    index = range(table.count) if table.index is None else table.index
    names = [path.stem] * table.count if table.recording is None else table.recording
    return list(zip(names, map(int, index), strict=True))


def scan_array(path: Path) -> list[Item]:
    """One file with a line a window: spectrograms, `user`, and where known `recording` and `index`."""
    table = describe_arrays(path)
    if table.user is None:
        raise InputError(f"'{path}' does not say who walks: give it an array 'user', or a folder per user")
    index = [-1] * table.count if table.index is None else table.index
    names = ["walk"] * table.count if table.recording is None else table.recording
    lines = [Item(f"{path.name}#{i}", table.user[i], names[i], int(index[i]), i) for i in range(table.count)]
    return in_walks(lines)


def scan_listed(root: Path) -> list[Item]:
    """`images/` with metadata.json: [{"filename", "user_id", and where known "recording", "index"}, …]."""
    listing = root / "metadata.json"
    try:
        entries = json.loads(listing.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"'{listing}' is not JSON ({one_line(error)}): mend it") from None
    if not isinstance(entries, list) or not all(
        isinstance(e, dict) and {"filename", "user_id"} <= e.keys() for e in entries
    ):
        raise InputError(f'\'{listing}\' must be a list of {{"filename", "user_id"}} objects: mend it')
    lines = [listed_item(root, listing, entry) for entry in entries]
    twice = [name for name, count in Counter(item.file for item in lines).items() if count > 1]
    if twice:
        raise InputError(f"'{listing}' names {twice[0]} twice: keep one")
    there = {p.relative_to(root).as_posix() for p in (root / "images").rglob("*") if p.is_file() and p.name[0] != "."}
    if unlisted := sorted(there - {item.file for item in lines}):
        raise InputError(
            f"'{root / unlisted[0]}' is not in {listing.name} ({len(unlisted)} such): list it or take it out"
        )
    return in_walks(lines)


def listed_item(root: Path, listing: Path, entry: dict[str, Any]) -> Item:
    """One line of metadata.json."""
    name, user = str(entry["filename"]), str(entry["user_id"])
    path = root / "images" / name
    if Path(name).is_absolute() or ".." in Path(name).parts or not path.is_file():
        raise InputError(
            f"'{listing}' names '{name}', which is no file in '{root / 'images'}': mend or remove the line"
        )
    inside(root, path)
    if path.suffix.lower() not in IMAGES:
        raise InputError(f"'{path}' is no image ({', '.join(IMAGES)}): remove its line in {listing.name}")
    condition, index = number(path.stem)
    try:
        index = int(entry["index"]) if "index" in entry else index
    except (TypeError, ValueError):
        raise InputError(f"'{listing}' gives '{name}' the index {entry['index']!r}: give a whole number") from None
    condition = str(entry["recording"]) if "recording" in entry else condition
    return Item(f"images/{name}", user, condition, index)


def in_walks(lines: Iterable[Item]) -> list[Item]:
    """Lines in any order, `recording` the condition → in order of user, condition and time, with walks told apart."""
    order = sorted(
        lines, key=lambda item: (natural(item.user), natural(item.recording), item.index, natural(item.file))
    )
    users = dict.fromkeys(item.user for item in order)
    named = [w for user in users for w in walks([(i.recording, i.index) for i in order if i.user == user])]
    return [item._replace(recording=walk) for item, walk in zip(order, named, strict=True)]


# ----------------------------------------------------------------------------- names


def number(stem: str) -> tuple[str, int]:
    """'ID3_case1_1_Doppler57' → ('ID3_case1_1_Doppler', 57); without a number at the end the index is -1."""
    match = re.fullmatch(r"(.*?)([0-9]{1,9})", stem, re.DOTALL)
    return (match[1], int(match[2])) if match else (stem, -1)


def walks(numbered: Sequence[tuple[str, int]]) -> list[str]:
    """A name of the walk of each window, given in order of time: a gap in the numbering begins another."""
    names, count, last = [], Counter(), None
    for prefix, index in numbered:
        if last is None or index < 0 or (prefix, index - 1) != last:
            count[prefix] += 1
        names.append(f"{prefix or 'walk'}/{count[prefix]}")
        last = (prefix, index)
    return names


def natural(name: str | Path) -> list:
    """Sort key: ID_2 before ID_10."""
    parts = re.split(r"([0-9]+)", getattr(name, "name", name))
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def visible(folder: Path) -> list[Path]:
    return sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=natural)


def inside(root: Path, path: Path) -> bool:
    """True; InputError where a link leads out of the folder."""
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise InputError(f"'{path}' is a link to nothing: restore or remove it") from None
    if not real.is_relative_to(root.resolve()):
        raise InputError(f"'{path}' links to a place outside '{root}': copy the file itself")
    return True


def check_users(items: list[Item], root: Path) -> None:
    """InputError for users that other systems take for one, for too few users, and for users with too few windows."""
    counts = Counter(item.user for item in items)
    folded = Counter(unicodedata.normalize("NFC", name).casefold() for name in folder_names(root) or counts)
    for name, count in folded.items():
        if count > 1:
            twins = [n for n in folder_names(root) or counts if unicodedata.normalize("NFC", n).casefold() == name]
            raise InputError(f"users {' and '.join(twins)} in '{root}' differ in case alone: rename one")
    for user in folder_names(root) or counts:
        if counts[user] < MIN_WINDOWS:
            raise InputError(f"user '{user}' has {counts[user]} images: give at least {MIN_WINDOWS}, or take it out")
    if len(counts) < 2:
        raise InputError(f"data.path '{root}' holds {len(counts)} users: people are told apart from two on")


def folder_names(root: Path) -> list[str]:
    """Users of a folder per user, those without windows too."""
    if root.is_file() or (root / "metadata.json").is_file():
        return []
    return [p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")]


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


# ----------------------------------------------------------------------------- images


def read_image(path: Path) -> Image_:
    """An image as RGB, or as values in [0, 1] where it is grey (8 or 16 bit). InputError if it is none, is cut short,
    is animated or transparent, or has a size no window has.
    """
    try:
        with Image.open(path) as image:
            check_image(image, path)
            if image.mode.startswith("I"):
                return (np.asarray(image).astype(np.float32) / 65535).clip(0, 1)
            if image.mode in ("1", "L", "LA"):
                return np.asarray(image.convert("L")).astype(np.float32) / 255
            return np.asarray(image.convert("RGB"))
    except InputError:
        raise
    except Exception as error:  # Pillow's plugins raise anything on damaged files
        reason = one_line(error)
        raise InputError(f"'{path}' cannot be read as an image ({reason}): restore it or take it out") from None


def check_image(image: Image.Image, path: Path) -> None:
    """Before anything is decoded, but for the alpha channel."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise InputError(f"'{path}' has {width} x {height} pixels: a window has at most {MAX_PIXELS}")
    if min(width, height) < MIN_SIDE:
        raise InputError(f"'{path}' is {width}x{height}: a window has at least {MIN_SIDE} rows and frames")
    if getattr(image, "n_frames", 1) > 1:
        raise InputError(f"'{path}' holds {image.n_frames} pictures: save one window a file")
    if image.mode == "F":
        raise InputError(f"'{path}' holds fractions, whose scale is unknown: save an array in dB (.npz, name 'db')")
    if image.has_transparency_data and image.convert("RGBA").getextrema()[3][0] < 255:
        raise InputError(f"'{path}' is partly transparent: save it without alpha")


def in_colour(image: Image_) -> UInt8[np.ndarray, "rows columns 3"]:
    """An image as RGB, grey ones too."""
    if image.ndim == 3:
        return image
    return np.repeat(np.round(image * 255).astype(np.uint8)[..., None], 3, axis=-1)


# ----------------------------------------------------------------------------- arrays


def describe_arrays(path: Path) -> Table:
    """How many windows a file holds, and what it says of them."""
    count, arrays = len(read_arrays(path).spectrograms), load_arrays(path)
    columns = {name: strings(arrays[name]) if name in arrays else None for name in ("user", "recording", "index")}
    for name, column in columns.items():
        if column is not None and len(column) != count:
            raise InputError(f"'{path}' has {count} windows but {len(column)} entries in '{name}': give one each")
    try:
        index = None if columns["index"] is None else [int(float(x)) for x in columns["index"]]
    except ValueError:
        raise InputError(f"'{path}': 'index' holds {columns['index'][:3]}: give whole numbers") from None
    return Table(count, columns["user"], columns["recording"], index)


def read_arrays(path: Path, stft: Stft = STFT) -> Windows:
    """The windows of a file; the last file read is kept. InputError for anything that is no such file."""
    return _read_arrays(path, path.stat().st_mtime_ns, stft)


@functools.lru_cache(maxsize=1)
def _read_arrays(path: Path, _: int, stft: Stft) -> Windows:
    arrays = load_arrays(path)
    kind, array = main_array(arrays, path)
    array = np.squeeze(array) if kind == "iq" else array[None] if array.ndim == 2 else array
    if array.ndim != (1 if kind == "iq" else 3):
        wanted = "(samples,), one range bin" if kind == "iq" else "(rows, frames) or (windows, rows, frames)"
        raise InputError(f"'{path}': '{kind}' has shape {array.shape}: give {wanted}")
    if not np.isfinite(array).all():
        raise InputError(
            f"'{path}' holds {int((~np.isfinite(array)).sum())} values that are NaN or infinite: mend them"
        )
    if kind == "iq":
        return from_iq(array, scalar_of(arrays, "prf", path), scalar_of(arrays, "carrier", path), stft, path)
    if min(array.shape[1:]) < 8 or not len(array):
        raise InputError(f"'{path}' has windows of {array.shape[1]}x{array.shape[2]}: give at least 8 rows and frames")
    if kind == "spectrogram" and abs(array).max() > 1.001:
        raise InputError(f"'{path}': 'spectrogram' reaches {abs(array).max():.4g}, beyond [-1, 1]: name dB values 'db'")
    if kind == "db":
        top = float(np.percentile(array, 99.7))
        array = np.stack([spectrogram.from_db(window, top, stft.span_db) for window in array])
    return upright(array.astype(np.float32).clip(-1, 1), arrays.get("velocity"), path)


def from_iq(iq: np.ndarray, prf: float, carrier: float, stft: Stft, path: Path) -> Windows:
    """Slow time → windows of `frames` frames, one every `hop_frames`; the top is that of the recording."""
    size, hop = round(stft.window_seconds * prf), round(stft.hop_seconds * prf)
    frames = (len(iq) - size) // hop + 1 if len(iq) >= size > 1 <= hop else 0
    if frames < stft.frames:
        raise InputError(f"'{path}' has {len(iq)} samples at {prf:g} Hz, {frames} frames: a window takes {stft.frames}")
    zero = int(size * stft.zero_row)
    db = spectrogram.to_db(spectrogram.stft(iq, size, hop, zero))
    long = spectrogram.from_db(db, float(np.percentile(db, 99.7)), stft.span_db)
    starts = range(0, long.shape[1] - stft.frames + 1, stft.hop_frames)
    velocities = spectrogram.velocities(size, prf, LIGHT / carrier, zero)
    return Windows(np.stack([long[:, start : start + stft.frames] for start in starts]), velocities)


def upright(array: np.ndarray, velocity: np.ndarray | None, path: Path) -> Windows:
    """Rows from the highest velocity down, where velocities are known."""
    if velocity is None:
        return Windows(array, None)
    velocity = np.asarray(velocity, float).ravel()
    steps = np.sign(np.diff(velocity))
    if len(velocity) != array.shape[1] or abs(steps.sum()) != len(steps):
        raise InputError(f"'{path}': 'velocity' must rise or fall over {array.shape[1]} rows: mend it")
    return Windows(array, velocity) if steps[0] < 0 else Windows(array[:, ::-1].copy(), velocity[::-1].copy())


def main_array(arrays: dict[str, np.ndarray], path: Path) -> tuple[str, np.ndarray]:
    """The array that the file is about, and its kind."""
    named = [k for k in ("spectrogram", "db", "iq") if k in arrays]
    others = [k for k, v in arrays.items() if k not in ASIDE and v.size > 1 and v.dtype.kind in "fiucV"]
    chosen = named or others
    if len(chosen) != 1:
        raise InputError(
            f"'{path}' holds {len(chosen)} arrays that may be windows ({', '.join(chosen[:4])}): "
            "name one 'spectrogram', 'db' or 'iq'"
        )
    array = arrays[chosen[0]]
    if array.dtype.kind not in "fiuc" or not array.size:
        raise InputError(f"'{path}': '{chosen[0]}' holds {array.dtype} {array.shape}, not numbers: save numbers")
    if named and (named[0] == "iq") == (array.dtype.kind == "c"):
        return named[0], array
    if named:
        raise InputError(f"'{path}': '{named[0]}' is {array.dtype}: 'iq' is complex, the others real")
    if array.dtype.kind == "c":
        return "iq", array
    finite = array[np.isfinite(array)]
    if not finite.size or finite.max() - finite.min() <= 3:
        raise InputError(
            f"'{path}': is '{chosen[0]}' in dB? Its values span less than 3: name it 'db' or 'spectrogram'"
        )
    return "db", array


def scalar_of(arrays: dict[str, np.ndarray], name: str, path: Path) -> float:
    """A positive number that the file must state."""
    value = np.asarray(arrays.get(name, np.nan), float).ravel()
    if value.size != 1 or not 0 < value[0] < np.inf:
        raise InputError(f"'{path}' holds I/Q samples and must state '{name}' in Hz: add it")
    return float(value[0])


def strings(array: np.ndarray) -> list[str]:
    """Names or numbers as text; whole numbers without a point."""
    values = [
        x.decode() if isinstance(x, bytes) else np.asarray(x).ravel()[0] if np.size(x) else "" for x in array.ravel()
    ]
    return [str(int(x)) if isinstance(x, (float, np.floating)) and x == int(x) else str(x).rstrip() for x in values]


# ----------------------------------------------------------------------------- files


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file by name; the last file is kept."""
    try:
        return _load_arrays(path, path.stat().st_mtime_ns)
    except InputError:
        raise
    except Exception as error:  # readers of these formats raise anything on damaged files
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"'{path}' cannot be read ({type(error).__name__}: {reason}): restore it or take it out"
        ) from None


@functools.lru_cache(maxsize=1)
def _load_arrays(path: Path, _: int) -> dict[str, np.ndarray]:
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        return load_numpy(path)
    if suffix == ".mat" and not h5py.is_hdf5(path):
        return load_matlab(path)
    with h5py.File(path, "r") as file:
        bounded(sum(d.size * d.dtype.itemsize for d in file.values() if isinstance(d, h5py.Dataset)), path)
        return {k: from_hdf5(file, d) for k, d in file.items() if isinstance(d, h5py.Dataset)}


def load_matlab(path: Path) -> dict[str, np.ndarray]:
    """.mat up to v7, read by a child process, since scipy's reader can crash on a damaged file."""
    done = subprocess.run([sys.executable, "-c", CHILD, path, str(MAX_BYTES)], capture_output=True, check=False)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["the reader crashed"]
        raise InputError(f"'{path}' cannot be read ({last[0][:200]}): restore it or take it out")
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def load_numpy(path: Path) -> dict[str, np.ndarray]:
    """Sizes are those that the headers claim, checked before anything is allocated."""
    if path.suffix.lower() == ".npy":
        return {"array": np.array(np.load(path, mmap_mode="r", allow_pickle=False))}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                version = np.lib.format.read_magic(member)
                header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, _, dtype = header[version](member)
                bounded(int(np.prod([int(n) for n in shape], dtype=object)) * dtype.itemsize, path)
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def from_hdf5(file: h5py.File, dataset: h5py.Dataset) -> np.ndarray:
    """MATLAB writes columns first, complex numbers as pairs, text as numbers, and cells as references."""
    array, kind = np.asarray(dataset[()]), dataset.attrs.get("MATLAB_class", b"")
    if kind == b"cell":
        return np.array(["".join(map(chr, np.ravel(file[ref][()]))) for ref in array.ravel()])
    if array.dtype.names and set(array.dtype.names) >= {"real", "imag"}:
        array = array["real"] + 1j * array["imag"]
    if kind == b"char":
        return np.array(["".join(map(chr, array.ravel()))])
    return array.T if kind else array


def bounded(size: Any, path: Path) -> None:
    if size > MAX_BYTES:
        raise InputError(f"'{path}' claims {size / 2**30:.1f} GiB of numbers: at most {MAX_BYTES / 2**30:.0f} a file")
