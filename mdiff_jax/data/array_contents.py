"""What the arrays of a file are, by their names: see `arrays`."""

from pathlib import Path

import numpy as np

from mdiff_jax.runtime.errors import InputError

WINDOW_ARRAYS = ("spectrogram", "db", "iq")
METADATA_ARRAYS = ("velocity", "time", "user", "recording", "index", "prf", "carrier")


def split_recordings(arrays: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Arrays of each recording of a file by its name, 'walks(2)' of 'walks(2)/db'; those without one are of all.

    A single recording is named ''. Structures and groups that hold no windows, and other arrays than those that do, are
    left out; so are all, if windows are outside.
    """
    shared = {name: array for name, array in arrays.items() if "/" not in name}
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name in (name for name in arrays if name not in shared):
        recording, _, own = name.rpartition("/")
        parts.setdefault(recording, {})[own] = arrays[name]
    holding = {frozenset(part) for part in parts.values() if any(map(may_hold_windows, part.values()))}
    parts = {name: shared | part for name, part in parts.items() if frozenset(part) in holding}
    if not parts or any(map(may_hold_windows, shared.values())):
        return {"": shared}
    return parts if len(parts) > 1 else {"": next(iter(parts.values()))}


def may_hold_windows(array: np.ndarray) -> bool:
    """Whether an array is of numbers along two axes at least, or of complex ones."""
    return array.dtype.kind == "c" or (array.dtype.kind in "fiu" and sum(n > 1 for n in array.shape) > 1)


def find_window_arrays(arrays: dict[str, np.ndarray]) -> list[str]:
    """Names of the arrays that windows may be in: of those that are named so, else of all other numbers."""
    named = [k for k in WINDOW_ARRAYS if k in arrays]
    others = [k for k, v in arrays.items() if k not in METADATA_ARRAYS and v.size > 1 and v.dtype.kind in "fiucV"]
    return named or others


def select_main_array(arrays: dict[str, np.ndarray], path: Path) -> tuple[str, np.ndarray]:
    """Returns the kind ('spectrogram', 'db' or 'iq') of the array that holds the windows, and the array."""
    chosen = find_window_arrays(arrays)
    named = [k for k in chosen if k in WINDOW_ARRAYS]
    if len(chosen) != 1:
        raise InputError(
            f"'{path}' must hold one array of windows, found {', '.join(chosen[:4]) or 'none'}: "
            "name one 'spectrogram', 'db' or 'iq'"
        )
    array = arrays[chosen[0]]
    if array.dtype.kind not in "fiuc" or not array.size:
        raise InputError(
            f"'{path}': '{chosen[0]}' holds {array.dtype} {array.shape}, which is empty or not numeric: save numbers"
        )
    if named and (named[0] == "iq") == (array.dtype.kind == "c"):
        return named[0], array
    if named:
        raise InputError(
            f"'{path}': '{named[0]}' is {array.dtype}: save 'iq' as complex numbers, the others as real ones"
        )
    if array.dtype.kind == "c":
        return "iq", array
    finite = array[np.isfinite(array)]
    if not finite.size or finite.max() - finite.min() <= 3:
        raise InputError(
            f"'{path}': is '{chosen[0]}' in dB? Its values span less than 3: name it 'db' or 'spectrogram'"
        )
    return "db", array


def require_scalar(arrays: dict[str, np.ndarray], name: str, path: Path) -> float:
    """Returns a positive number that the file must state; InputError where it does not."""
    array = arrays.get(name, np.array(np.nan))
    value = array.astype(float).ravel() if array.dtype.kind in "iuf" else np.zeros(0)
    if value.size != 1 or not 0 < value[0] < np.inf:
        raise InputError(f"'{path}' holds I/Q samples and must state '{name}' in Hz: add it")
    return float(value[0])


def to_strings(array: np.ndarray) -> list[str]:
    """Converts names or numbers to text; whole numbers have no decimal point."""
    values = [
        x.decode() if isinstance(x, bytes) else np.asarray(x).ravel()[0] if np.size(x) else "" for x in array.ravel()
    ]
    return [str(int(x)) if isinstance(x, (float, np.floating)) and x == int(x) else str(x).rstrip() for x in values]
