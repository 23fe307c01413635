"""Laws of spectra, levels and occupancy."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter1d
from test_two_sample_test import generated_by, recorded

from mdiff_jax.metrics import spectra


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("wavelength", [2, 3.2, 6.4, 32])
def test_a_wave_has_its_power_in_its_band_along_its_axis(axis, wavelength):
    wave = np.cos(2 * np.pi * np.arange(64) / wavelength).astype(np.float32)
    x = np.broadcast_to(wave[:, None] if axis == 1 else wave, (1, 64, 64))
    power = spectra.band_power(x, axis)[0]
    band = int(power.argmax())
    assert power[band] > 0.99 * power.sum() > 0
    assert spectra.WAVELENGTHS[band] <= wavelength < spectra.WAVELENGTHS[band + 1]
    assert spectra.band_power(x, 3 - axis).sum() < 1e-3 * power.sum()


@pytest.mark.parametrize(("kind", "axis"), [(spectra.DOPPLER, 1), (spectra.TIME, 2)])
def test_smoothing_is_seen_along_its_axis_at_short_wavelengths(kind, axis):
    test, soft = recorded(0), generated_by(lambda x: uniform_filter1d(x, 3, axis=axis))
    names, (of_generated, of_real) = spectra.compare_bands(kind, test, soft)
    assert names[0] == "2 to 2.67 pixels" and of_generated.shape == of_real.shape == (20, len(names))
    assert of_generated[:, 1].mean() < 0.7 and abs(of_real.mean(0) - 1).max() < 0.1
    assert of_generated[:, -1].mean() > 0.9


def test_amplitudes_not_powers_are_compared():
    test, weak = recorded(0), generated_by(lambda x: 0.5 * (x + 1) - 1, seed=0)
    for kind in (spectra.DOPPLER, spectra.TIME):
        assert spectra.compare_bands(kind, test, weak)[1][0].mean(0) == pytest.approx(0.5, abs=0.05)


def test_levels_that_are_too_rare_have_no_ratio():
    test, made = recorded(0), generated_by(lambda x: x)
    names, (of_generated, _) = spectra.compare_bands(spectra.LEVELS, test, made)
    shares = test.files[spectra.LEVELS].mean(0)
    assert len(names) == (shares > spectra.MIN_SHARE).sum() < len(shares) and names[0] == "0.00 to 0.06"
    assert abs(of_generated.mean(0) - 1).max() < 0.2


def test_occupancy_is_the_share_of_pixels_that_are_not_empty():
    x = np.full((1, 10, 8), -1, np.float32)
    x[0, 3, :4] = x[0, 0] = 0.5
    found = spectra.measure_files(x, 0.8)
    assert found[spectra.OCCUPANCY][0].tolist() == [1, 0, 0, 0.5, 0, 0, 0, 0, 0, 0]
    assert found[spectra.HIGHEST].tolist() == [[pytest.approx(8 - 0.5)]]
    moved = generated_by(lambda x: np.roll(x, 5, 1), seed=0)
    assert (
        spectra.occupancy_difference(recorded(0), recorded(0)) == 0 < spectra.occupancy_difference(moved, recorded(0))
    )
