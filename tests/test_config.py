"""Every configuration loads, has the default's keys, and is valid; a typo is refused with the nearest key."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from mdiff_jax.config import EnrollmentSettings, flatten, from_plain_dict, to_plain_dict
from mdiff_jax.data import arrays
from mdiff_jax.runtime import cli
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.validation import validate

ROOT = Path(__file__).parents[1]
NAMES = sorted(p.stem for p in (ROOT / "configs").glob("*.py"))


def config(name: str = "tiny") -> ConfigDict:
    return importlib.import_module(f"configs.{name}").get_config()


@pytest.mark.parametrize("name", NAMES)
def test_each_configuration_is_valid_and_has_the_default_keys(name):
    values = config(name)
    validate(values)
    assert flatten(to_plain_dict(values)).keys() == flatten(to_plain_dict(config("default"))).keys()
    assert importlib.import_module(f"configs.{name}").__doc__.strip()


def test_enrollment_settings_are_the_same_with_and_without_their_keys():
    assert EnrollmentSettings(**config("default").enrollment) == EnrollmentSettings()


def test_samples_are_cut_alike_with_and_without_a_configuration():
    assert arrays.Stft(**config("default").data.stft) == arrays.DEFAULT_STFT


def test_plain_and_back():
    values = config("quickstart")
    again = from_plain_dict(to_plain_dict(values))
    assert again.to_dict() == values.to_dict()


def test_every_key_of_the_default_has_a_comment():
    """On its own line; the dicts of parts are named by their docstring or comment."""
    for line in (ROOT / "configs" / "default.py").read_text().splitlines():
        if line.strip().startswith('"') and '":' in line and not line.rstrip().endswith("{") and "()" not in line:
            assert "#" in line or "optimizer(" in line, f"no comment: {line.strip()}"


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("precision", "float8", "float32, bfloat16, float16"),
        ("stage", "decode", "decoder"),
        ("data.channels", "grey", "scalar"),
        ("data.image_size", (60, 64), "multiples"),
        ("data.image_size", (64, 64, 3), "image_size"),
        ("decoder.attention", (True,), "decoder.attention"),
        ("prior.heads", 3, "prior.heads"),
        ("sample.ema_decay", 0.5, "ema_decays"),
        ("decoder.sample_timesteps", 1001, "1 to 1000"),
        ("prior.sample_timesteps", 0, "1 to 1000"),
        ("decoder.cond_drop_prob", 1.0, "cond_drop_prob"),
        ("encoder.epochs", 0, "encoder.epochs"),
        ("decoder.prediction", "w", "decoder.prediction"),
        ("decoder.weighting", "none", "decoder.weighting"),
        ("prior.schedule", "cosinus", "prior.schedule"),
        ("sample.sampler", "dddim", "sample.sampler"),
        ("sample.spacing", "even", "sample.spacing"),
        ("encoder.optimizer.schedule", "cos", "encoder.optimizer.schedule"),
        ("attention", "flash", "attention"),
        ("data.fractions", (0.9, 0.2, 0.1), "data.fractions"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_its_key(key, value, says):
    values = config().unlock()
    values.update_from_flattened_dict({key: value})
    with pytest.raises(InputError, match=says) as error:
        validate(values)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("--config.decoder.epoch=3", "unknown configuration key 'decoder.epoch': did you mean 'decoder.epochs'?"),
        ("--config.data.walkers.users=3", "did you mean 'data.walkers.num_users'"),
        ("--config.decoder.epochs=many", "decoder.epochs"),
        ("--worksdir=x", "did you mean --workdir?"),
        ("stray", "is not a flag"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_status_2(argument, says, tmp_path):
    command = [sys.executable, "train.py", "--config=configs/tiny.py", f"--workdir={tmp_path / 'run'}", argument]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    assert done.returncode == 2, done.stderr
    assert says in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_all_dotted_keys():
    assert cli.dotted_keys({"a": {"b": 1}, "c": 2}) == ["a", "a.b", "c"]
