"""Laws of level calibration: drawn levels come to the distribution of recorded ones, in their order."""

import json

import numpy as np
import pytest

from mdiff_jax.inference import level_map
from mdiff_jax.inference.exported import export_model
from mdiff_jax.inference.level_map import LevelMap, fit_level_map
from mdiff_jax.inference.loading import load
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir, read_json, write_json

RNG = np.random.default_rng(0)


def spectrum(floor: float, power: float, n: int = 50_000) -> np.ndarray:
    """Levels of which a share lies on the noise floor, -1, and the others between -0.7 and 1."""
    levels = RNG.random(n) ** power * 1.7 - 0.7
    return np.where(RNG.random(n) < floor, -1, levels).astype(np.float32)


def test_drawn_levels_come_to_the_distribution_of_recorded_ones():
    drawn, recorded = spectrum(0.6, 1.0), spectrum(0.6, 1.5)
    mapped = fit_level_map(drawn, recorded, np.ones(len(recorded))).apply(drawn)
    levels = np.linspace(-0.65, 0.95, 33)
    assert np.abs(np.mean(mapped < levels[:, None], 1) - np.mean(recorded < levels[:, None], 1)).max() < 0.005
    assert not np.any((mapped > -1) & (mapped < -0.7))  # the gap above the floor stays


@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_order_is_kept_and_what_is_empty_stays_so(share):
    """However often it is: a floor drawn too often cannot be told from the lowest recorded levels."""
    drawn, recorded = spectrum(share, 2.0), spectrum(0.5, 1.0)
    found = fit_level_map(drawn, recorded, np.ones(len(recorded)))
    mapped = found.apply(drawn)
    assert np.array_equal(mapped == -1, drawn == -1)
    assert share == 1 or np.median(mapped[mapped > -1]) == pytest.approx(0.15, abs=0.02)
    assert (np.diff(found.apply(np.linspace(-1, 1, 1000, dtype=np.float32))) >= 0).all()


def test_the_right_distribution_is_left_as_it_is():
    levels = spectrum(0.6, 1.5)
    mapped = fit_level_map(levels, levels[::-1], np.ones(len(levels))).apply(levels)
    assert np.abs(mapped - levels).max() < 0.01


def test_recorded_levels_count_by_their_weights():
    low, high = np.full(1000, -0.5, np.float32), np.full(10, 0.5, np.float32)
    weights = np.repeat([1e-3, 1e-1], [1000, 10])
    found = fit_level_map(spectrum(0, 1), np.concatenate([low, high]), weights)
    assert np.mean(found.recorded == 0.5) == pytest.approx(0.5, abs=0.01)


GOOD = {"drawn": [-1.0, 0.5, 1.0], "recorded": [-1.0, 0.0, 1.0]}


def test_a_model_has_the_map_of_its_checkpoints_and_of_no_others(writable_root, trained):
    path, steps = Workdir(writable_root).levels(), (trained.prior_step, trained.step)
    assert trained.levels is None
    level_map.write_level_map(path, LevelMap.from_json(GOOD), steps)
    on = {"sample.calibration_windows": 4}
    model = load(writable_root, on)
    assert model.levels.to_json() == GOOD
    assert load(writable_root, {"sample.calibration_windows": 0}).levels is None
    plain = trained.sample(trained.users[:1], 2)
    assert np.array_equal(model.sample(model.users[:1], 2), model.levels.apply(plain))
    level_map.write_level_map(path, LevelMap.from_json(GOOD), (steps[0], steps[1] + 1))
    assert load(writable_root, on).levels is None


def test_an_exported_model_takes_its_map_along(trained, tmp_path):
    given = trained._replace(levels=LevelMap.from_json(GOOD))
    export_model(given, tmp_path / "out")
    read = load(tmp_path / "out", {"sample.calibration_windows": 4})
    assert read.levels.to_json() == GOOD
    card = read_json(Workdir(tmp_path / "out").card, "")
    write_json(Workdir(tmp_path / "out").card, card | {"levels": {"drawn": [0.0], "recorded": [5.0]}})
    with pytest.raises(InputError, match=r"card\.json cannot be read \(its levels"):
        load(tmp_path / "out")


WRONG = ({"drawn": [1.0, 0.5, -1.0]}, {"recorded": [0.0, -1.0, 1.0]}, {"recorded": [-1.0, 0.0]}, {"steps": 3})
WRONG += ({"recorded": [-1, 0, 3]}, {"drawn": ["a", "b", "c"]}, {"drawn": [], "recorded": []})
WRONG += ({"drawn": [-1.0, 0.5, float("nan")]},)


@pytest.mark.parametrize("changes", WRONG)
def test_a_damaged_file_is_named(tmp_path, changes):
    path = tmp_path / "levels.json"
    path.write_text(json.dumps({"steps": [1, 2]} | GOOD | changes))
    with pytest.raises(InputError, match=r"levels\.json cannot be read .*: remove it, then run train\.py"):
        level_map.read_level_map(path, (1, 2))
