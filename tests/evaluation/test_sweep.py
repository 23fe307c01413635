"""Laws of sweeps: resumed where they stopped, and their choice becomes the default of sampling."""

import functools
import json

import pytest

from mdiff_jax.evaluation import plots, sweep
from mdiff_jax.inference import loading, model
from mdiff_jax.runtime.errors import InputError


@pytest.mark.thorough
def test_a_sweep_goes_on_where_it_stopped_and_its_choice_is_the_default(trained, writable_root, monkeypatch):
    root, run, drawn = writable_root, model.Model.run, []
    make = functools.partial(sweep.make_reference, convolutional=False)
    monkeypatch.setattr(sweep, "make_reference", make)

    def counted(self, requests, seed):
        drawn.append(self.config.sample.guidance_interval)
        if len(drawn) == 2:
            raise KeyboardInterrupt
        return run(self, requests, seed)

    monkeypatch.setattr(model.Model, "run", counted)
    with pytest.raises(KeyboardInterrupt):
        sweep.run_sweep(root, "guidance", [], [], [2.0], 2)
    text = sweep.run_sweep(root, "guidance", [], [], [2.0], 2)
    assert drawn == [(), (-3.0, 3.0), (-3.0, 3.0)], "one pair of scales, and that in the middle of the noise levels"
    sweep.run_sweep(root, "weights", [], [], [], 2)
    assert len(drawn) == 3 + 2
    assert text.count("\n|") >= 4 and (root / "sweeps" / "guidance.png").is_file()
    chosen = json.loads((root / "chosen.json").read_text())
    sample = loading.load(root).config.sample
    assert chosen["sample.cond_scale"]["chosen"] == sample.cond_scale == 2.0 != trained.config.sample.cond_scale
    with pytest.raises(InputError, match="5000 steps: this model has 1000"):
        sweep.run_sweep(root, "steps", [5000], ["ddim"], [], 2)


def test_a_sweep_chooses_the_quickest_of_those_that_are_as_good():
    real = {"accuracy": 0.9, "plausible": 0.8, "variety": 0.1, "copies": 0.0}
    good = real | {"kernel distance": 0.01, "seconds per image": 2.0, "recognised": 0.8}
    rows = [good, good | {"seconds per image": 1.0}]
    assert sweep.choose_settings(rows, real, "seconds per image") is rows[1]
    worse = [good | {"seconds per image": 0.1, name: value} for name, value in (("plausible", 0.5), ("copies", 0.4))]
    far = good | {"seconds per image": 0.1, "kernel distance": 0.2}
    assert sweep.choose_settings([*rows, *worse, far], real, "seconds per image") is rows[1]
    assert (
        sweep.choose_settings([*rows, good | {"kernel distance": 0.0}], real, "kernel distance")["kernel distance"]
        == 0.0
    )


def test_figures_that_are_not_measured_decide_nothing(tmp_path):
    real = {"accuracy": 0.9, "plausible": 0.8, "copies": 0.0}
    row = real | {"seconds per image": 1.0, "recognised": 0.8, "settings": {"sample.eta": 0.0}}
    rows = [row | {"accuracy": 0.5}, row]
    assert sweep.choose_settings(rows, real, "kernel distance") is row
    assert "| – |" in sweep.format_table(rows, real, 1)
    plots.plot_frontier(tmp_path / "a.png", rows, real)


@pytest.mark.parametrize("text", ["{", "[]", '{"trials": 3}', '{"trials": {"a": {}}}'])
def test_a_damaged_sweep_is_named(tmp_path, text):
    path = tmp_path / "steps.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"steps.json cannot be read .*: remove it"):
        sweep.read_finished_trials(path, {})
