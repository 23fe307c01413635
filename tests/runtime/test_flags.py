"""Flags: groups, choices, and --config beside them."""

import pytest

from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.flags import Flags, take_config_option
from mdiff_jax.runtime.ranges import SEED


def make_flags() -> Flags:
    flags = Flags()
    flags.group("first")
    flags.config_file("Configuration.")
    flags.integer("seed", 3, "Seed.", SEED)
    flags.group("second")
    flags.choice("sampler", None, ["ddim", "ddpm"], "Sampler.")
    flags.switch("npz", False, "Arrays too.")
    return flags


def test_help_keeps_groups_together_and_names_choices():
    lines = make_flags().help().splitlines()
    first, second = lines.index("first:"), lines.index("second:")
    assert "--seed=N" in " ".join(lines[first:second]) and "Default: 3." in " ".join(lines[first:second])
    assert "--sampler=ddim|ddpm" in " ".join(lines[second:]) and "--[no]npz" in " ".join(lines[second:])


def test_help_shows_the_values_of_the_configuration():
    flags = make_flags()
    flags.parse(["--config=tiny", "--config.decoder.epochs=77", "--config.data.image_size=(16, 16)"])
    lines = flags.help().splitlines()
    assert any(line.startswith("  --config=NAME|FILE") and line.endswith("Configuration.") for line in lines)
    assert any(line.startswith("  --config.decoder.epochs=77 ") for line in lines)
    assert any(line.startswith("  --config.data.image_size=(16, 16) ") for line in lines)


def test_two_sets_of_flags_do_not_meet():
    one, other = make_flags(), make_flags()
    one.parse(["--seed=5"])
    other.parse([])
    assert one.values.seed == 5 and other.values.seed == 3


def test_the_last_configuration_counts():
    values, others = take_config_option(["--config", "a", "--seed=1", "-config=b:c", "--config.seed=2", "--config"])
    assert values == ["a", "b:c", ""] and others == ["--seed=1", "--config.seed=2"]
    flags = make_flags()
    flags.parse(["--config=nothing", "--config.seed", "9", "--config", "tiny"])
    assert flags.config.seed == 9 and flags.config.data.image_size == (32, 32)


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("--config.seed=1", "unknown flag --config.seed: did you mean --config"),
        ("--sampler=euler", "--sampler=euler"),
        ("--seed=-1", "--seed is -1: give a whole number"),
        ("--config=tiny=", "--config=tiny= is no file"),
    ],
)
def test_what_is_wrong_is_one_line(argument, says):
    with pytest.raises(InputError) as error:
        make_flags().parse([argument])
    assert says in str(error.value) and "\n" not in str(error.value)
