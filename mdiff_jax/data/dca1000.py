"""Raw captures of TI radars by a DCA1000: NAME.bin of int16, and NAME.json beside it, which says how it was recorded.

SWRA581 (Texas Instruments, Mmwave Radar Device ADC Raw Data Capture). Two LVDS lanes (xWR16xx, 18xx, 68xx): of each
chirp one receiver after the other, its samples as I I Q Q pairs. Four lanes (xWR12xx, 14xx): of each sample I of the
four receivers, then Q, zeros where one is off.

A range FFT turns each chirp into range bins; those chosen, of all receivers, are slow-time samples, I/Q like any other.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Complex, Int
from scipy.signal import get_window

from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.ranges import Range
from mdiff_jax.runtime.workdir import read_json

SUFFIX = ".bin"
REQUIRED = {
    "samples_per_chirp": Range(int, 8, 2**14),
    "chirps": Range(int, 1, 2**31),  # of the whole file, one every 1 / prf
    "receive_channels": Range(int, 1, 16),
    "prf": Range(float, 0, 1e9, above=True),  # Hz
    "carrier": Range(float, 0, 1e13, above=True),  # Hz
}
OPTIONAL = {
    "range_bins": Range(int, 0, 2**14, length=(2, 2)),  # first and last; else those where something moves
    "lvds_lanes": Range(int, 2, 4),
    "q_first": Range(bool),
}
MOVING_DB = 20.0  # below the strongest moving range bin, down to which the others are chosen
BLOCK = 2**20  # complex samples that are transformed at once
REMEDY = f"give an object with {', '.join(REQUIRED)}, and as wanted {', '.join(OPTIONAL)}"


class Capture(NamedTuple):
    """How a file was recorded: the keys of its JSON."""

    samples_per_chirp: int
    chirps: int
    receive_channels: int
    prf: float
    carrier: float
    range_bins: list[int] | None = None
    lvds_lanes: int = 2
    q_first: bool = False

    @property
    def chirp_shape(self) -> tuple[int, ...]:
        """Shape of the int16 of one chirp, as they lie in the file."""
        if self.lvds_lanes == 4:
            return self.samples_per_chirp, 2, 4
        return self.receive_channels, self.samples_per_chirp // 2, 2, 2


def description_file(path: Path) -> Path:
    """Returns the JSON beside a capture."""
    return path.with_suffix(".json")


def load_capture(path: Path) -> dict[str, np.ndarray]:
    """Loads slow-time samples `iq` (range bins of all receivers, chirps), complex64, with `prf` and `carrier` in Hz.

    What does not move is subtracted, and the sign turned so that the phase of approaching targets rises. At most twice
    the bytes of the file. InputError for a file that is not as long as its JSON says, or JSON that cannot be.
    """
    capture = read_description(description_file(path))
    wanted = 2 * capture.chirps * int(np.prod(capture.chirp_shape))
    if (found := path.stat().st_size) != wanted:
        raise InputError(f"'{path}' has {found} bytes, {wanted} by {path.stem}.json: correct chirps or channels there")
    values = np.memmap(path, "<i2", "r", shape=(capture.chirps, *capture.chirp_shape))
    if capture.range_bins:
        bins = np.arange(capture.range_bins[0], capture.range_bins[1] + 1)
    else:
        bins = find_moving_bins(values, capture)
    iq = np.empty((capture.receive_channels, len(bins), capture.chirps), np.complex64)
    for rows, profiles in range_profiles(values, capture):
        iq[..., rows] = np.moveaxis(profiles[..., bins], 0, -1).conj()
    iq -= iq.mean(-1, keepdims=True)
    return {"iq": iq.reshape(-1, capture.chirps), "prf": np.array(capture.prf), "carrier": np.array(capture.carrier)}


def read_description(path: Path) -> Capture:
    """Reads the JSON of a capture; InputError for keys that are missing or not known, or values that cannot be."""
    values = read_json(path, REMEDY)
    known = REQUIRED | OPTIONAL
    if strange := sorted((values.keys() - known.keys()) or (REQUIRED.keys() - values.keys())):
        state = "is not known" if strange[0] in values else "is missing"
        raise InputError(f"'{path}': '{strange[0][:80]}' {state}: {REMEDY}")
    for key, value in values.items():
        known[key].check(f"'{path}': {key}", value)
    capture = Capture(**values)
    check_together(capture, path)
    return capture


def check_together(capture: Capture, path: Path) -> None:
    """InputError for values that do not go together."""
    if capture.lvds_lanes == 3:
        raise InputError(f"'{path}': lvds_lanes is 3: give 2 (xWR16xx, 18xx, 68xx) or 4 (xWR12xx, 14xx)")
    if capture.lvds_lanes == 4 and capture.receive_channels > 4:
        raise InputError(f"'{path}': receive_channels is {capture.receive_channels}: with 4 lvds_lanes give 1 to 4")
    if capture.samples_per_chirp % 2:
        raise InputError(f"'{path}': samples_per_chirp is {capture.samples_per_chirp}: give an even number")
    first, last = capture.range_bins or (0, 0)
    if not first <= last < capture.samples_per_chirp:
        most = capture.samples_per_chirp - 1
        raise InputError(f"'{path}': range_bins is {[first, last]}: give first and last, from 0 to {most}")


def find_moving_bins(values: np.ndarray, capture: Capture) -> Int[np.ndarray, " bins"]:
    """Finds the range bins whose power, without what stands still, comes near that of the strongest."""
    shape = capture.receive_channels, capture.samples_per_chirp
    total, power = np.zeros(shape, complex), np.zeros(shape)
    for _, profiles in range_profiles(values, capture):
        total += profiles.sum(0)
        power += (profiles.real**2 + profiles.imag**2).sum(0)
    moving = (power / capture.chirps - abs(total / capture.chirps) ** 2).sum(0)
    return np.flatnonzero(moving >= moving.max() * 10 ** (-MOVING_DB / 10))


def range_profiles(
    values: np.ndarray, capture: Capture
) -> Iterator[tuple[slice, Complex[np.ndarray, "chirps channels bins"]]]:
    """Yields chirps, some at a time, and their range profiles."""
    hann = get_window("hann", capture.samples_per_chirp).astype(np.float32)
    step = max(1, BLOCK // (capture.receive_channels * capture.samples_per_chirp))
    for start in range(0, capture.chirps, step):
        rows = slice(start, start + step)
        beat = to_complex(values[rows], capture) * hann
        yield rows, np.fft.fft(beat, axis=-1).astype(np.complex64)


def to_complex(
    values: Int[np.ndarray, "chirps ..."], capture: Capture
) -> Complex[np.ndarray, "chirps channels samples"]:
    """Converts int16 as they lie in the file to complex samples of each receiver."""
    order: Any = (1, 0) if capture.q_first else (0, 1)
    if capture.lvds_lanes == 4:
        i, q = (values[:, :, k, : capture.receive_channels].swapaxes(1, 2) for k in order)
    else:
        i, q = (values[:, :, :, k].reshape(len(values), capture.receive_channels, -1) for k in order)
    return i.astype(np.float32) + 1j * q.astype(np.float32)
