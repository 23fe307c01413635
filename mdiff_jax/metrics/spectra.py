"""Spectra along both axes, levels and occupancy of windows as files hold them, generated over recorded."""

import numpy as np
from jaxtyping import Float

from mdiff_jax.metrics import kinematics, two_sample_test
from mdiff_jax.metrics.comparison import compare_with_halves
from mdiff_jax.metrics.reference import MeasuredSet
from mdiff_jax.runtime.array_types import Windows

DOPPLER, TIME, LEVELS, OCCUPANCY, HIGHEST = "Doppler spectrum", "time spectrum", "levels", "occupancy", "highest"
RATIOS = {DOPPLER: "amplitudes", TIME: "amplitudes", LEVELS: "shares of pixels"}
WAVELENGTHS = (2, 8 / 3, 4, 8, 16, 32, 64, 128)  # pixels, from which bands begin: octaves, the finest halved
MIN_SHARE = 0.002  # of all pixels that a band of levels holds: ratios of smaller ones are random
Draws = tuple[Float[np.ndarray, "draws bands"], Float[np.ndarray, "draws bands"]]  # of generated and of real windows


def measure_files(windows: Windows, zero_doppler: float) -> dict[str, Float[np.ndarray, "windows dim"]]:
    """Returns of windows as files hold them the features of the two-sample test ('levels' among them); their power in
    bands along both axes; the 'occupancy' of each row; the 'highest' return above zero Doppler in pixels.
    """
    top = kinematics.measure_envelopes(windows, zero_doppler)["highest"] * windows.shape[1]
    return two_sample_test.window_features(windows) | {
        DOPPLER: band_power(windows, axis=1),
        TIME: band_power(windows, axis=2),
        OCCUPANCY: (windows >= kinematics.FLOOR_LEVEL).mean(2),
        HIGHEST: np.percentile(top, 97, axis=1)[:, None],
    }


def band_power(windows: Windows, axis: int) -> Float[np.ndarray, "windows bands"]:
    """Returns the power along an axis in bands of WAVELENGTHS, the mean over the other axis."""
    centred = windows - windows.mean((1, 2), keepdims=True)
    power = (np.abs(np.fft.rfft(centred, axis=axis)) ** 2).mean(3 - axis)[:, 1:]
    wavelengths = windows.shape[axis] / np.arange(1, power.shape[1] + 1)
    band = np.searchsorted(WAVELENGTHS[1:], wavelengths, side="right")
    return power @ np.eye(len(WAVELENGTHS))[band]


def compare_bands(kind: str, test: MeasuredSet, generated: MeasuredSet) -> tuple[list[str], Draws]:
    """Returns the bands' names, and ratios to recorded windows by band: of amplitudes, or of shares of pixels."""
    power, of_test = kind != LEVELS, test.files[kind].mean(0)
    kept = np.flatnonzero(of_test > (0 if power else MIN_SHARE))

    def ratio(a: MeasuredSet, b: MeasuredSet) -> np.ndarray:
        values = a.files[kind].mean(0)[kept] / np.maximum(b.files[kind].mean(0)[kept], 1e-12)
        return np.sqrt(values) if power else values

    if not len(kept):
        return [], (np.empty((0, 0)), np.empty((0, 0)))
    return [name_band(kind, int(band)) for band in kept], compare_with_halves(ratio, test, generated)


def name_band(kind: str, band: int) -> str:
    """Returns the limits of a band: levels as shares of full scale, or wavelengths in pixels of the file."""
    if kind == LEVELS:
        low, high = (k / two_sample_test.LEVEL_BINS for k in (band, band + 1))
        return f"{low:.2f} to {high:.2f}"
    if band == len(WAVELENGTHS) - 1:
        return f"{WAVELENGTHS[band]} pixels and more"
    return f"{WAVELENGTHS[band]:.3g} to {WAVELENGTHS[band + 1]:.3g} pixels"


def occupancy_difference(generated: MeasuredSet, recorded: MeasuredSet) -> np.ndarray:
    """Returns the mean absolute difference of how often each row is not empty."""
    means = [s.files[OCCUPANCY].mean(0) for s in (generated, recorded)]
    return np.array([np.abs(means[0] - means[1]).mean()])
