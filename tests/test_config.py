"""Every configuration loads, has the default's keys, and is valid; a typo is refused with the nearest key."""

import copy
import importlib
import re
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from mdiff_jax import validation
from mdiff_jax.config import (
    NO_STUDENT,
    EnrollmentSettings,
    PeopleSettings,
    check_size,
    from_plain_dict,
    to_plain_dict,
)
from mdiff_jax.data import arrays, splits
from mdiff_jax.inference.same_configuration import check_same_configuration
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.validation import check_value, flatten, validate

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


def test_settings_are_the_same_with_and_without_their_keys():
    assert EnrollmentSettings(**config("default").enrollment) == EnrollmentSettings()
    assert PeopleSettings(**config("default").people) == PeopleSettings()
    assert to_plain_dict(config("default"))["distill"] == NO_STUDENT


def test_a_working_directory_from_before_a_key_can_be_gone_on_with():
    """Old checkpoints say nothing of keys that came later: what they do without is what was done before."""
    now = to_plain_dict(config())
    before = {key: value for key, value in now.items() if key != "people"}
    before["decoder"] = {key: value for key, value in now["decoder"].items() if key != "occupancy"}
    stft = {key: value for key, value in now["data"]["stft"].items() if key != "array_axes"}
    before["data"] = now["data"] | {"stft": stft}
    assert from_plain_dict(before).to_dict() == config().to_dict()
    check_same_configuration(before, now, where="WORKDIR")
    before.pop("distill")
    now["distill"]["curriculum"] = [[8, 1], [4, 1]]  # a student may be made later, but not otherwise once it is
    check_same_configuration(before, now, where="WORKDIR")
    with pytest.raises(InputError, match=r"distill\.curriculum=\[\[8, 1\], \[4, 1\]\], now it is \[\]"):
        check_same_configuration(now, to_plain_dict(config()), where="WORKDIR")
    now["people"]["references"] = True
    with pytest.raises(InputError, match=r"people\.references=False, now it is True"):
        check_same_configuration(before, now, where="WORKDIR")


def test_samples_are_cut_alike_with_and_without_a_configuration():
    assert arrays.Stft(**config("default").data.stft) == arrays.DEFAULT_STFT


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"distill.teacher_timesteps": 2000}, "distill.teacher_timesteps is 2000: give at most 1000"),
        ({"distill.sample_timesteps": 2000}, "distill.sample_timesteps is 2000: give at most 1000"),
        ({"distill.scales": (2.0, 3.0)}, "distill.scales is"),
        ({"distill.scales": (3.0, 1.0)}, "distill.scales is"),
        ({"sample.cond_scale": 4.0}, "sample.cond_scale is 4.0: the student learns 1.0 to 3.0"),
    ],
)
def test_what_a_student_cannot_learn_is_refused(settings, says):
    values = config()
    values.update_from_flattened_dict(settings)
    if "distill.scales" not in settings:
        validate(values)  # as long as there is no student
    values.distill.curriculum = ((8, 1), (4, 1))
    with pytest.raises(InputError, match=says):
        validate(values)
    if "sample.cond_scale" in settings:
        values.sample.teacher = True
        validate(values)


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
        ("seed", 2**32, "0 to 4294967295"),
        ("seed", -1, "seed"),
        ("seed", True, "seed is True"),
        ("decoder.timesteps", 10**9, "2 to 100000"),
        ("sample.cond_scale", float("inf"), "sample.cond_scale"),
        ("sample.cond_scale", float("nan"), "sample.cond_scale"),
        ("sample.batch_size", -3, "sample.batch_size"),
        ("encoder.temperature", 0.0, "encoder.temperature"),
        ("encoder.augment.mask", -0.1, "encoder.augment.mask"),
        ("prior.optimizer.learning_rate", -1.0, "prior.optimizer.learning_rate"),
        ("distill.curriculum", ((8, 4, 1),), r"pairs of \(segments, epochs\)"),
        ("distill.curriculum", ((0, 4),), "segments is 0"),
        ("distill.curriculum", ((8, 0),), "epochs is 0"),
        ("distill.curriculum", ((3, 1),), "distill.teacher_timesteps is 64: give a multiple of 3"),
        ("distill.scales", (1.0,), "2 numbers"),
        ("distill.scales", (1.0, float("nan")), "distill.scales"),
        ("distill.huber", 0.0, "above 0"),
        ("distill.batch_size", 0, "distill.batch_size"),
        ("distill.optimizer.learning_rate", 0.0, "distill.optimizer.learning_rate"),
        ("ema_decays", (), "1 to 8 numbers"),
        ("ema_decays", (0.999, 1.0), "below 1"),
        ("ema_decays", (0.999, 0.999), "once"),
        ("data.folds", 0, "data.folds"),
        ("data.fold", 1, "0 to 0"),
        ("data.stft.hop_frames", 0, "data.stft.hop_frames"),
        ("data.walkers.difficulty", 1e9, "data.walkers.difficulty"),
        ("data.split_by", "luck", "data.split_by"),
        ("decoder.channels", (16, 10**6), "decoder.channels"),
        ("decoder.head_width", 0, "decoder.head_width"),
        ("decoder.curriculum", ((250, 0),), "epochs is 0"),
        ("decoder.curriculum", (250, 10), "pairs"),
        ("enrollment.min_windows", 21, "at most 20"),
        ("people.min_references", 21, "at most 20"),
        ("people.row_drop_prob", 1.0, "people.row_drop_prob"),
        ("summary.grid_columns", 10**6, "summary.grid_columns"),
        ("attention", "cudnn", "precision float16 or bfloat16"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_its_key(key, value, says):
    values = config()
    values.update_from_flattened_dict({key: value})
    with pytest.raises(InputError, match=says) as error:
        validate(values)
    assert "\n" not in str(error.value)


def test_recordings_are_not_passed_over_for_walkers():
    values = importlib.import_module("configs.tiny").get_config()
    values.data.path = "recordings"
    with pytest.raises(
        InputError, match=r"data.path is 'recordings', but walkers are simulated: give data.kind=folder"
    ):
        validate(values)


def test_every_key_has_a_range_or_choices_and_a_default_inside():
    keys = flatten(config("default").to_dict()).keys()
    assert keys == validation.RANGES.keys() | validation.CHOICES.keys()
    assert not validation.RANGES.keys() & validation.CHOICES.keys()
    for key, value in flatten(config("default").to_dict()).items():
        check_value(key, value)
    assert validation.CHOICES["data.split_by"] == splits.SPLIT_RULES


def test_heads_divide_the_channels_of_their_level():
    values = config()
    values.decoder.update(channels=(70, 48), head_width=20)
    validate(values)  # attention at the second level alone, 24 a head
    values.decoder.attention = (True, False)
    with pytest.raises(InputError, match=r"decoder\.head_width 20"):
        validate(values)


def test_attention_over_too_many_positions_is_refused():
    values = config()
    values.data.image_size = (512, 512)
    values.decoder.patch = (1, 1)
    with pytest.raises(InputError, match="of 65536 positions"):
        validate(values)


def test_networks_and_batches_that_no_machine_holds_are_refused():
    values = config()
    values.decoder.update(channels=(4096, 4096), blocks=8)
    with pytest.raises(InputError, match=r"decoder has .* parameters"):
        check_size(values)
    values = config()
    values.data.image_size, values.sample.batch_size = (4096, 4096), 2**16
    values.encoder.update(patch=(64, 64), channels=(8,), embedding_dim=8)
    values.decoder.update(patch=(64, 64), channels=(8,), attention=(False,))
    with pytest.raises(InputError, match=r"sample\.batch_size"):
        check_size(values)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda values: [1], "keys and values"),
        (lambda values: None, "keys and values"),
        (lambda values: {}, "no value for"),
        (lambda values: {k: v for k, v in values.items() if k != "prior"}, "no value for 'prior"),
        (lambda values: values | {"prior": 3}, "'prior' is not a key"),
        (lambda values: values | {"prior": None}, "'prior' is not a key"),
        (lambda values: values | {"seed": {"a": 1}}, "'seed.a' is not a key"),
        (lambda values: values | {"sede": 1}, "did you mean 'seed'"),
        (lambda values: values | {"seed": None}, "seed is None"),
        (lambda values: values | {"seed": "1"}, "seed is '1'"),
        (lambda values: values | {"precision": [1]}, "precision is"),
        (lambda values: values | {"dry_run": 1}, "true or false"),
        (lambda values: values | {"ema_decays": 0.999}, "ema_decays is 0.999"),
        (lambda values: values | {"max_skipped": 10**9000}, "too long a number"),
    ],
)
def test_a_config_json_of_another_form_is_one_line(change, says):
    with pytest.raises(InputError, match=re.escape(says)) as error:
        from_plain_dict(change(to_plain_dict(config())))
    assert "\n" not in str(error.value)


def test_the_recordings_may_move():
    """Their contents decide, which the data set's fingerprint holds."""
    before, after = ({"data": {"path": path, "gap": 3}} for path in ("/old", "/new"))
    check_same_configuration(before, after, where="WORKDIR")


@pytest.mark.parametrize("name", ["default", "quickstart"])
def test_keys_of_walkers_that_came_later_have_the_value_of_before(name):
    """A run of an earlier version goes on, where it is of walkers without nuisances, or of recordings."""
    values = to_plain_dict(config(name))
    older = copy.deepcopy(values)
    del older["data"]["walkers"]["nuisances"]
    assert from_plain_dict(older).data.walkers.nuisances == 0
    check_same_configuration(older, values, where="WORKDIR")
    values["data"] |= {"kind": "walkers", "walkers": values["data"]["walkers"] | {"nuisances": 1.0}}
    older["data"]["kind"] = "walkers"
    with pytest.raises(InputError, match=r"made with data\.walkers\.nuisances=0\.0"):
        check_same_configuration(older, values, where="WORKDIR")
