"""Finished spectrograms of whole recordings: which of their axes is time, and windows cut from them."""

import numpy as np
from jaxtyping import Float

LONG = 4  # times an axis must be longer than a window, and than the other axis, to be the time of a whole recording


def is_time_first(shape: tuple[int, ...], axes: str, frames: int, rows: int | None, columns: int | None) -> bool:
    """Whether the last two axes of an array are (time, frequency): as `axes` says.

    Where it is 'auto': as the lengths of the file's velocity axis, `rows`, and time axis, `columns`, say if they are
    known; else of a whole recording, which is far longer than wide. (frequency, time) where nothing tells.
    """
    if axes != "auto":
        return axes == "time_frequency"
    first, last = shape[-2:]
    if first != last and (rows == last or columns == first):
        return True
    if rows == first or columns == last:
        return False
    return len(shape) == 2 and is_whole_recording(last, first, frames)


def is_whole_recording(rows: int, length: int, frames: int) -> bool:
    """Whether a spectrogram of `length` frames, nothing else being known, is more than one window of `frames`."""
    return length >= LONG * max(frames, rows)


def cut(
    spectrogram: Float[np.ndarray, "freq time"], frames: int, hop: int
) -> Float[np.ndarray, "windows freq {frames}"]:
    """Cuts windows of `frames` frames, one every `hop`: a view, however much they overlap."""
    return np.lib.stride_tricks.sliding_window_view(spectrogram, frames, axis=1)[:, ::hop].swapaxes(0, 1)
