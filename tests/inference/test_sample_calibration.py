"""Laws of calibration: drawn windows come to the spectrum and the levels of recorded ones, levels in their order."""

import json

import numpy as np
import pytest

from mdiff_jax.inference import sample_calibration
from mdiff_jax.inference.exported import export_model
from mdiff_jax.inference.loading import load
from mdiff_jax.inference.sample_calibration import Calibration, amplify_bands, fit_calibration
from mdiff_jax.metrics.spectra import WAVELENGTHS, band_power
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir, read_json, write_json

RNG = np.random.default_rng(0)


def spectrum(floor: float, power: float, n: int = 3) -> np.ndarray:
    """Windows (n, 128, 128) of which a share lies on the noise floor, -1, and the other levels between -0.7 and 1."""
    levels = RNG.random((n, 128, 128)) ** power * 1.7 - 0.7
    return np.where(RNG.random(levels.shape) < floor, -1, levels).astype(np.float32)


def test_drawn_levels_come_to_the_distribution_of_recorded_ones():
    drawn, recorded = spectrum(0.6, 1.0), spectrum(0.6, 1.5)
    mapped = fit_calibration([*drawn], [*recorded]).apply(drawn).ravel()
    levels = np.linspace(-0.65, 0.95, 33)
    assert np.abs(np.mean(mapped < levels[:, None], 1) - np.mean(recorded.ravel() < levels[:, None], 1)).max() < 0.02
    assert not np.any((mapped > -1) & (mapped < -0.7))  # the gap above the floor stays


@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_order_is_kept_and_what_is_empty_stays_so(share):
    """However often it is: a floor drawn too often cannot be told from the lowest recorded levels."""
    drawn, recorded = spectrum(share, 2.0), spectrum(0.5, 1.0)
    found = fit_calibration([*drawn], [*recorded])
    mapped = found.apply(drawn)
    assert np.array_equal(mapped == -1, drawn == -1)
    assert share == 1 or np.median(mapped[mapped > -1]) == pytest.approx(0.15, abs=0.03)
    assert (np.diff(found.recorded) >= 0).all()


def test_the_right_distribution_is_left_as_it_is():
    windows = spectrum(0.6, 1.5)
    assert np.abs(fit_calibration([*windows], [*windows]).apply(windows) - windows).max() < 0.01


def smooth(windows: np.ndarray) -> np.ndarray:
    """Windows blurred along Doppler, where they are not empty."""
    padded = np.pad(windows, ((0, 0), (1, 1), (0, 0)), mode="edge")
    blurred = 0.6 * windows + 0.2 * (padded[:, 2:] + padded[:, :-2])
    return np.where(windows > -1, np.maximum(blurred, -0.99), -1).astype(np.float32)


def test_fine_structure_that_is_too_weak_comes_to_that_of_recorded_windows():
    """Also of windows that it was not fitted to."""
    recorded, drawn, others = spectrum(0.3, 1.0, 6), smooth(spectrum(0.3, 1.0, 6)), smooth(spectrum(0.3, 1.0, 6))
    after = fit_calibration([*drawn], [*recorded]).apply(others)
    target, *ratios = (np.sqrt(band_power(x, axis=1).mean(0)) for x in (recorded, others, after))
    before, after = (np.abs(x / target - 1)[:4].max() for x in ratios)
    assert before > 0.1 and after < 0.03


def test_a_gain_multiplies_the_waves_of_its_band_and_keeps_the_mean():
    rows = (np.arange(256) + 0.5) / 256
    for band, wavelength in ((0, 2.3), (4, 22.6), (6, 90.5)):
        wave = 0.3 * np.cos(2 * np.pi * 256 / wavelength * rows)[None, :, None].repeat(5, 2).astype(np.float32)
        gains = np.where(np.arange(len(WAVELENGTHS)) == band, 1.5, 1.0)
        found = amplify_bands(wave - 0.2, gains)
        assert found.mean() == pytest.approx((wave - 0.2).mean(), abs=1e-4)
        assert 1.3 < found.std() / wave.std() < 1.51


def test_recorded_windows_count_by_their_weights():
    low, high = np.full((10, 128, 128), -0.5, np.float32), np.full((1, 128, 128), 0.5, np.float32)
    weights = np.repeat([0.1, 1.0], [10, 1])
    found = fit_calibration([*spectrum(0, 1)], [*low, *high], weights)
    assert np.mean(found.recorded == 0.5) == pytest.approx(0.5, abs=0.01)


GOOD = {"gains": [1.25] * len(WAVELENGTHS), "drawn": [-1.0, 0.5, 1.0], "recorded": [-1.0, 0.0, 1.0]}


def test_a_model_has_the_calibration_of_its_checkpoints_and_of_no_others(writable_root, trained):
    path, steps = Workdir(writable_root).calibration(), (trained.prior_step, trained.step)
    assert trained.calibration is None
    sample_calibration.write_calibration(path, Calibration.from_json(GOOD), steps)
    on = {"sample.calibration_windows": 4}
    model = load(writable_root, on)
    assert model.calibration.to_json() == GOOD
    assert load(writable_root, {"sample.calibration_windows": 0}).calibration is None
    plain = trained.sample(trained.users[:1], 2)
    assert np.array_equal(model.sample(model.users[:1], 2), model.calibration.apply(plain))
    sample_calibration.write_calibration(path, Calibration.from_json(GOOD), (steps[0], steps[1] + 1))
    assert load(writable_root, on).calibration is None


def test_an_exported_model_takes_its_calibration_along(trained, tmp_path):
    given = trained._replace(calibration=Calibration.from_json(GOOD))
    export_model(given, tmp_path / "out")
    read = load(tmp_path / "out", {"sample.calibration_windows": 4})
    assert read.calibration.to_json() == GOOD
    card = read_json(Workdir(tmp_path / "out").card, "")
    write_json(Workdir(tmp_path / "out").card, card | {"calibration": GOOD | {"recorded": [-5.0, 0.0, 1.0]}})
    with pytest.raises(InputError, match=r"card\.json cannot be read \(its levels"):
        load(tmp_path / "out")


WRONG = ({"drawn": [1.0, 0.5, -1.0]}, {"recorded": [0.0, -1.0, 1.0]}, {"recorded": [-1.0, 0.0]}, {"steps": 3})
WRONG += ({"recorded": [-1, 0, 3]}, {"drawn": ["a", "b", "c"]}, {"drawn": [], "recorded": []})
WRONG += ({"drawn": [-1.0, 0.5, float("nan")]}, {"gains": [1.0]}, {"gains": [9.0] * len(WAVELENGTHS)})
WRONG += ({"gains": [float("nan")] * len(WAVELENGTHS)}, {"gains": [-1.0] * len(WAVELENGTHS)})


@pytest.mark.parametrize("changes", WRONG)
def test_a_damaged_file_is_named(tmp_path, changes):
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({"steps": [1, 2]} | GOOD | changes))
    with pytest.raises(InputError, match=r"calibration\.json cannot be read .*: remove it, then run train\.py"):
        sample_calibration.read_calibration(path, (1, 2))
