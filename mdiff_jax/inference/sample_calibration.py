"""Calibration of drawn windows: gains along Doppler and a map of levels, after which both are like recorded ones.

Errors of a decoder's estimates add up over the steps of sampling (exposure bias: Ning et al. 2024): fine structure
along Doppler comes out too weak, there are too few levels just above the noise floor and too many of the highest. Gains
for octaves of wavelengths undo the first. In the distribution of single levels the rest is undone by its monotone
rearrangement: quantiles of drawn levels go to the same quantiles of recorded ones (histogram matching). What is empty,
on the noise floor, stays so. Both are fitted once, after training, to training windows; they know neither users nor
places.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from mdiff_jax.metrics.spectra import WAVELENGTHS, band_power
from mdiff_jax.runtime.workdir import read_json, refuse_damage, write_json

FLOOR = -1.0  # the noise floor's level
QUANTILES = 513
ROUNDS = 4  # of fitting: gains change levels, and the map of levels spectra
MAX_GAIN = 2.0
WINDOW_PIXELS = 2**14  # levels of a window that the map is fitted to, at most
REMEDY = "remove it, then run train.py"
Windows = Sequence[Float[np.ndarray, "rows _"]]  # each at its own frames


class Calibration(NamedTuple):
    """Gains of amplitudes along Doppler for each band of WAVELENGTHS; then a piecewise linear map of levels above the
    noise floor, constant beyond its ends.
    """

    gains: Float[np.ndarray, " bands"]
    drawn: Float[np.ndarray, " knots"]  # rising
    recorded: Float[np.ndarray, " knots"]  # not falling

    def apply(self, spectrograms: Float[np.ndarray, "n rows ..."]) -> Float[np.ndarray, "n rows ..."]:
        """Returns the spectrograms with the spectrum along Doppler and the levels that recorded ones have."""
        mapped = np.interp(amplify_bands(spectrograms, self.gains), self.drawn, self.recorded).astype(np.float32)
        return np.where(spectrograms > FLOOR, mapped, spectrograms)

    def to_json(self) -> dict[str, list[float]]:
        """Values for JSON."""
        return {name: x.tolist() for name, x in self._asdict().items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Calibration":
        """Inverts `to_json`; ValueError (or another) for values that none has."""
        found = cls(*(np.array(values[name], np.float32) for name in cls._fields))
        if found.gains.shape != (len(WAVELENGTHS),) or not (
            (found.gains >= 1 / MAX_GAIN).all() and (found.gains <= MAX_GAIN).all()
        ):
            raise ValueError(f"its gains are no {len(WAVELENGTHS)} of {1 / MAX_GAIN:g} … {MAX_GAIN:g}")
        sound = (
            found.drawn.ndim == 1
            and 0 < found.drawn.size <= QUANTILES
            and found.drawn.shape == found.recorded.shape
            and np.isfinite(found.drawn).all()
            and (np.diff(found.drawn) > 0).all()
            and (np.diff(found.recorded) >= 0).all()
            and (np.abs(found.recorded) <= 1).all()
        )
        if not sound:
            raise ValueError("its levels are no rising map to -1 … 1")
        return found


def amplify_bands(
    spectrograms: Float[np.ndarray, "n rows ..."], gains: Float[np.ndarray, " bands"]
) -> Float[np.ndarray, "n rows ..."]:
    """Multiplies waves along Doppler by gains, which are those of WAVELENGTHS in the middle of each band, in octaves,
    and in between interpolated; the mean stays. Rows go on beyond their ends as if mirrored there.
    """
    if (gains == 1).all():
        return spectrograms
    rows = spectrograms.shape[1]
    middles = np.log2(WAVELENGTHS) + np.diff(np.log2([*WAVELENGTHS, 2 * WAVELENGTHS[-1]])) / 2
    frequencies = np.arange(1, rows + 1) / (2 * rows)
    gain = np.append(1.0, np.interp(-np.log2(frequencies), middles, gains)).astype(np.float32)
    mirrored = np.concatenate([spectrograms, spectrograms[:, ::-1]], axis=1)
    waves = np.fft.rfft(mirrored, axis=1) * gain.reshape(-1, *[1] * (spectrograms.ndim - 2))
    return np.fft.irfft(waves, n=2 * rows, axis=1)[:, :rows].astype(np.float32)


def fit_calibration(
    drawn: Windows, recorded: Windows, weights: Float[np.ndarray, " others"] | None = None
) -> Calibration:
    """Fits gains and map to drawn windows and to recorded ones, each of which has a weight.

    Where nothing is above the noise floor, drawn or recorded, the calibration changes nothing.
    """
    weights = np.ones(len(recorded)) if weights is None else weights
    gains = np.ones(len(WAVELENGTHS), np.float32)
    levels = [pick_levels(x, x) for x in recorded]
    recorded_levels, level_weights = np.concatenate(levels), np.repeat(weights, [len(x) for x in levels])
    target = np.average([band_power(x[None], axis=1)[0] for x in recorded], axis=0, weights=weights)
    found = Calibration(gains, *fit_level_map(pick_all(drawn, gains), recorded_levels, level_weights))
    for _ in range(ROUNDS - 1):
        power = np.mean([band_power(found.apply(x[None]), axis=1)[0] for x in drawn], axis=0)
        known = (power > 0) & (target > 0)
        change = np.sqrt(np.divide(target, power, out=np.ones_like(power), where=known))
        gains = np.clip(gains * change, 1 / MAX_GAIN, MAX_GAIN).astype(np.float32)
        found = Calibration(gains, *fit_level_map(pick_all(drawn, gains), recorded_levels, level_weights))
    return found


def pick_all(windows: Windows, gains: Float[np.ndarray, " bands"]) -> Float[np.ndarray, " pixels"]:
    """Returns levels above the noise floor of all windows, after the gains."""
    return np.concatenate([pick_levels(x, amplify_bands(x[None], gains)[0]) for x in windows])


def pick_levels(
    window: Float[np.ndarray, "rows frames"], amplified: Float[np.ndarray, "rows frames"]
) -> Float[np.ndarray, " pixels"]:
    """Returns levels of an amplified window where the window is above the noise floor, not all of a large one."""
    every = 1 + window.size // WINDOW_PIXELS
    return amplified[window > FLOOR][::every]


def fit_level_map(
    drawn: Float[np.ndarray, " pixels"],
    recorded: Float[np.ndarray, " others"],
    weights: Float[np.ndarray, " others"],
) -> tuple[Float[np.ndarray, " knots"], Float[np.ndarray, " knots"]]:
    """Returns drawn levels and the recorded ones that they go to, by quantiles; recorded levels have weights.

    Where many drawn levels are the same they go to the median of their quantiles.
    """
    if not len(drawn) or not len(recorded):
        ends = np.linspace(-1, 1, 2, dtype=np.float32)
        return ends, ends
    shares = (np.arange(QUANTILES) + 0.5) / QUANTILES
    values, first, count = np.unique(
        np.quantile(drawn, shares).astype(np.float32), return_index=True, return_counts=True
    )
    targets = np.quantile(recorded, shares, weights=weights, method="inverted_cdf").astype(np.float32)
    return values, targets[first + (count - 1) // 2]


def write_calibration(path: Path, calibration: Calibration, steps: Sequence[int]) -> None:
    """Writes what was fitted to checkpoints at these steps: of prior, decoder, and a student that draws."""
    write_json(path, {"steps": list(steps), **calibration.to_json()})


def read_calibration(path: Path, steps: Sequence[int]) -> Calibration | None:
    """Reads it; None where there is none, or one of other checkpoints. InputError for a file that is damaged."""
    if not path.exists():
        return None
    values = read_json(path, REMEDY)
    with refuse_damage(path, REMEDY):
        return Calibration.from_json(values) if [*values["steps"]] == [*steps] else None
