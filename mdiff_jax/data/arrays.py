"""Windows in array files. The name of an array says what it holds:

- `spectrogram`: model space, [-1, 1]; (F, T), or (N, F, T) with one entry per window
- `db`: power in dB, same shapes; the top is the 99.7th percentile of the file, the floor `Stft.span_db` below it
- either of them as one spectrogram of a whole recording: cut into windows as `Stft` says, like `iq`
- `iq`: complex slow-time samples (S,) of one recording, or (range bins or receivers, S), `prf` and `carrier` in Hz;
  cut into windows as `Stft` says

Optional beside it: `velocity` (F,) in m/s (rows are reversed if it ascends), `user`, `recording`, `index` (N,). A
single array with another name is read as `iq` if complex and as `db` if its values span more than 3.
"""

import functools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.constants
from jaxtyping import Complex, Float

from mdiff_jax.data import long_spectrograms
from mdiff_jax.data.array_contents import require_scalar, select_main_array, split_recordings, to_strings
from mdiff_jax.data.array_files import load_arrays, refuse_unreadable, signature
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.ranges import ARRAY_AXES
from mdiff_jax.simulator import doppler

MAX_INDEX = 10**9  # of a window in time, and more than any
TOP_PERCENTILE = 99.7  # of the values of a file in dB


class Stft(NamedTuple):
    """Parameters that turn slow-time samples into windows; consecutive windows share 1 - hop_frames / frames."""

    window_seconds: float = 0.05  # of the Hann window
    hop_seconds: float = 0.0375  # between frames
    frames: int = 56  # per window: 2.1 s, about four steps
    hop_frames: int = 14  # between windows
    span_db: float = doppler.SPAN_DB  # kept below the top
    zero_row: float = 0.8125  # row of zero Doppler, share of the height; the velocity axis wraps there
    array_axes: str = "auto"  # of finished spectrograms: one of `ranges.ARRAY_AXES`


class FileDescription(NamedTuple):
    """Number of windows in a file, and the metadata stored for each; None where it is not stored."""

    count: int  # type: ignore[assignment]  # not the method of tuples
    user: list[str] | None
    recording: list[str] | None
    index: list[int] | None  # type: ignore[assignment]


class FileWindows(NamedTuple):
    """Spectrograms of one file in model space, [-1, 1], and their axes where known."""

    spectrograms: Float[np.ndarray, "windows freq time"] | list[Float[np.ndarray, "freq time"]]
    velocities: Float[np.ndarray, " freq"] | None  # of each row, m/s, the highest first
    seconds: float | None = None  # duration of a window
    reading: str = ""  # what was made of the array, where it is not as it was found


DEFAULT_STFT = Stft()


def make_stft(values: dict[str, Any]) -> Stft:
    """Builds an `Stft` from the keys of data.stft; InputError for the first value out of range."""
    stft = Stft(**values)
    if stft.array_axes not in ARRAY_AXES:
        raise InputError(f"data.stft.array_axes is '{stft.array_axes}': give one of {', '.join(ARRAY_AXES)}")
    least = Stft(window_seconds=1e-4, hop_seconds=1e-5, frames=8, hop_frames=1, span_db=1.0, zero_row=0.0)
    for name, value, low in zip(Stft._fields[:-1], stft[:-1], least[:-1], strict=True):
        if not low <= value < (1 if name == "zero_row" else np.inf):
            raise InputError(f"data.stft.{name} is {value}: give at least {low}" + ", below 1" * (name == "zero_row"))
    return stft


def describe_file(path: Path, stft: Stft) -> FileDescription:
    """Counts the windows of a file and reads their metadata; InputError where it does not match their number."""
    with refuse_unreadable(path):
        counts = {name: len(read.spectrograms) for name, read in _read_recordings(path, signature(path), stft).items()}
        parts = split_recordings(load_arrays(path))
        columns: dict[str, list[str]] = {}
        for key in ("user", "recording", "index"):
            named = {name: to_strings(part[key]) for name, part in parts.items() if key in part}
            if key == "recording" and len(parts) > 1:
                named = {name: [f"{path.stem}/{name}"] for name in parts} | named
            for name, column in named.items():
                column = column * counts[name] if len(column) == 1 and name and key != "index" else column
                if len(column) != counts[name]:
                    raise InputError(
                        f"'{place(path, name)}' has {counts[name]} windows but {len(column)} entries in '{key}': "
                        "give one each"
                    )
                columns.setdefault(key, []).extend(column)
            if named and len(named) < len(parts):
                lacking = next(name for name in parts if name not in named)
                raise InputError(f"'{place(path, lacking)}' has no '{key}', '{next(iter(named))}' has: give it in each")
    index = [parse_index(text, path) for text in columns["index"]] if "index" in columns else None
    if index is None and len(parts) > 1:
        index = [i for count in counts.values() for i in range(count)]
    return FileDescription(sum(counts.values()), columns.get("user"), columns.get("recording"), index)


def place(path: Path, recording: str) -> Path:
    """What messages name: the file, and of several recordings in it the one."""
    return path / recording


def parse_index(text: str, path: Path) -> int:
    """Converts an entry of 'index'; InputError unless it is a whole number that an index can be."""
    if not (text.isdecimal() and len(text) < 10):
        raise InputError(f"'{path}': 'index' holds {text[:20]!r}: give whole numbers from 0, below {MAX_INDEX:g}")
    return int(text)


def read_windows(path: Path, stft: Stft = DEFAULT_STFT) -> FileWindows:
    """Reads the windows of a file; the last file read is cached. InputError for any file that does not hold windows."""
    with refuse_unreadable(path):
        return _read_cached(path, signature(path), stft)


@functools.lru_cache(maxsize=1)
def _read_cached(path: Path, known_by: tuple, stft: Stft) -> FileWindows:
    (first, read), *others = _read_recordings(path, known_by, stft).items()
    if not others:
        return read
    for name, other in others:
        if not np.array_equal(read.velocities, other.velocities) or read.seconds != other.seconds:
            raise InputError(f"'{path}': '{name}' has other axes than '{first}': resample them to the same")
    windows = [window for recording in (read, *(r for _, r in others)) for window in recording.spectrograms]
    return read._replace(spectrograms=windows)


@functools.lru_cache(maxsize=1)
def _read_recordings(path: Path, known_by: tuple, stft: Stft) -> dict[str, FileWindows]:
    """The windows of each recording of a file by its name, which is empty where there is one."""
    parts = split_recordings(load_arrays(path))
    return {name: read_recording(part, stft, place(path, name)) for name, part in parts.items()}


def read_recording(arrays: dict[str, np.ndarray], stft: Stft, path: Path) -> FileWindows:
    """Makes windows of the arrays of one recording; `path` is named in messages."""
    kind, array = select_main_array(arrays, path)
    array = np.squeeze(array) if kind == "iq" else array
    array = array[None] if kind == "iq" and array.ndim == 1 else array
    if array.ndim != 2 and (kind == "iq" or array.ndim != 3):
        wanted = "(samples,) or (range bins, samples)" if kind == "iq" else "(rows, frames) or (windows, rows, frames)"
        raise InputError(f"'{path}': '{kind}' has shape {array.shape}: give {wanted}")
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise InputError(f"'{path}' has values that are NaN or infinite ({count} of {array.size}): correct them")
    if kind == "iq":
        return windows_from_iq(
            array, require_scalar(arrays, "prf", path), require_scalar(arrays, "carrier", path), stft, path
        )
    return windows_from_spectrogram(kind, array, arrays, stft, path)


def windows_from_spectrogram(
    kind: str, array: np.ndarray, arrays: dict[str, np.ndarray], stft: Stft, path: Path
) -> FileWindows:
    """Converts finished spectrograms, real (F, T) or (N, F, T), to model space; cuts one of a whole recording."""
    axis_lengths = (arrays[name].size if name in arrays else None for name in ("velocity", "time"))
    time_first = long_spectrograms.is_time_first(array.shape, stft.array_axes, stft.frames, *axis_lengths)
    array = array.swapaxes(-1, -2) if time_first else array
    long = array.ndim == 2 and is_long(array.shape, stft)
    array = array[None] if array.ndim == 2 else array
    if min(array.shape[1:]) < 8 or not len(array):
        raise InputError(f"'{path}' has windows of {array.shape[1]}x{array.shape[2]}: give at least 8 rows and frames")
    if kind == "spectrogram" and abs(array).max() > 1.001:
        raise InputError(f"'{path}': 'spectrogram' reaches {abs(array).max():.4g}, beyond [-1, 1]: name dB values 'db'")
    if kind == "db":
        top = find_top(array, path)
        array = np.stack([doppler.from_db(window, top, stft.span_db) for window in array])
    elif array.min() == array.max():
        raise InputError(f"'{path}' holds the one value {array.flat[0]:g}: record it again or remove it")
    read = order_rows(array.astype(np.float32).clip(-1, 1), arrays.get("velocity"), path)
    if not (long or time_first):
        return read
    first, then = ("time", "Doppler") if time_first else ("Doppler", "time")
    reading = f"arrays of ({first}, {then})"
    if long:
        read = read._replace(spectrograms=long_spectrograms.cut(read.spectrograms[0], stft.frames, stft.hop_frames))
        reading += f", one a recording, cut into windows of {stft.frames} frames, one every {stft.hop_frames}"
    return read._replace(reading=reading)


def is_long(shape: tuple[int, int], stft: Stft) -> bool:
    """Whether a spectrogram (F, T) is cut: any longer than a window where its axes were told, else a far longer one."""
    rows, length = shape
    if stft.array_axes != "auto":
        return length > stft.frames
    return long_spectrograms.is_whole_recording(rows, length, stft.frames)


def windows_from_iq(
    iq: Complex[np.ndarray, "bins samples"], prf: float, carrier: float, stft: Stft, path: Path
) -> FileWindows:
    """Cuts slow-time samples into windows of `frames` frames, one every `hop_frames`; the top is that of them all.
    The power of several range bins or receivers is averaged.
    """
    size, hop, samples = round(stft.window_seconds * prf), round(stft.hop_seconds * prf), iq.shape[1]
    frames = (samples - size) // hop + 1 if samples >= size > 1 <= hop else 0
    if frames < stft.frames:
        raise InputError(f"'{path}' has {samples} samples at {prf:g} Hz, {frames} frames: give at least {stft.frames}")
    zero = int(size * stft.zero_row)
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        amplitudes = (np.abs(doppler.stft(row, size, hop, zero)) for row in iq)
        db = doppler.to_db(functools.reduce(np.hypot, amplitudes) / len(iq) ** 0.5)  # not np.sqrt: float32 stays
    long = doppler.from_db(db, find_top(db, path), stft.span_db)
    velocities = doppler.row_velocities(size, prf, scipy.constants.c / carrier, zero)
    if not np.ptp(velocities) < 1e6:
        raise InputError(f"'{path}' has rows over {np.ptp(velocities):.3g} m/s: give 'prf' and 'carrier' in Hz")
    windows = long_spectrograms.cut(long, stft.frames, stft.hop_frames)
    reading = "I/Q of several range bins or receivers, their power averaged" if len(iq) > 1 else ""
    return FileWindows(windows, velocities, stft.frames * hop / prf, reading)


def find_top(db: np.ndarray, path: Path) -> float:
    """The level that is shown brightest; InputError if nothing rises above the lowest."""
    top = float(np.percentile(db, TOP_PERCENTILE))
    if not float(db.min()) < top < np.inf:
        raise InputError(f"'{path}' is silent or out of range (top {top:g} dB): record it again or remove it")
    return top


def order_rows(array: np.ndarray, velocity: np.ndarray | None, path: Path) -> FileWindows:
    """Orders rows from the highest velocity down, where velocities are known."""
    if velocity is None:
        return FileWindows(array, None)
    velocity = np.asarray(velocity, float).ravel()
    steps = np.sign(np.diff(velocity))
    if len(velocity) != array.shape[1] or abs(steps.sum()) != len(steps) or not np.ptp(velocity) < 1e6:
        raise InputError(f"'{path}': 'velocity' must rise or fall over {array.shape[1]} rows, in m/s: correct it")
    return FileWindows(array, velocity) if steps[0] < 0 else FileWindows(array[:, ::-1].copy(), velocity[::-1].copy())
