"""A choice of a sweep is the default of sampling until the configuration is given another value."""

import json

import pytest

from mdiff_jax.inference import chosen_settings
from mdiff_jax.inference.loading import load
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir, write_json


def test_a_choice_yields_to_a_value_given_since_and_to_that_alone(writable_root):
    workdir = Workdir(writable_root)
    values = workdir.read_config()
    chosen = {"sample.sampler": "heun", "sample.guidance_interval": [-3.0, 3.0]}
    chosen_settings.write_chosen(workdir.chosen, values, chosen)
    sample = load(writable_root).config.sample
    assert (sample.sampler, sample.guidance_interval) == ("heun", (-3.0, 3.0))
    values["sample"]["sampler"] = "dpmpp_2m"  # as train.py --config.sample.sampler=dpmpp_2m does
    write_json(workdir.config, values)
    sample = load(writable_root).config.sample
    assert (sample.sampler, sample.guidance_interval) == ("dpmpp_2m", (-3.0, 3.0))
    assert load(writable_root, {"sample.sampler": "ddpm"}).config.sample.sampler == "ddpm"


@pytest.mark.parametrize(
    "content",
    ["", "[]", "3", '{"sample.eta": 0.5}', '{"sample.eta": {"chosen": 0.5}}', '{"sample.eta": {"chosen": "a"}}']
    + [json.dumps({key: {"chosen": value, "instead_of": 0.0}}) for key, value in (("nothing", 1), ("sample.eta", -1))],
)
def test_a_damaged_file_is_named(root, tmp_path, content):
    path = tmp_path / "chosen.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"chosen\.json (is damaged|cannot be read).*: remove it"):
        chosen_settings.read_chosen(path, Workdir(root).read_config())


@pytest.mark.parametrize("settings", [{"sample.etta": 1.0}, {"sample.eta": "much"}, {"sample.eta": float("nan")}])
def test_settings_that_cannot_be_are_refused_by_their_key(root, settings):
    with pytest.raises(InputError, match=r"sample\.et"):
        load(root, settings)
