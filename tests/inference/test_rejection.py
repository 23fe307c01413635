"""The checks pass real windows and refuse what they should."""

import numpy as np
import pytest

from mdiff_jax.inference import rejection
from mdiff_jax.inference.drawn_windows import DrawnWindows
from mdiff_jax.runtime.errors import InputError


def test_checks_pass_real_windows_and_refuse_copies_and_noise(trained):
    def drawn(x):
        return DrawnWindows(x, np.full(len(x), 16))

    validation, train = (drawn(trained.windows(name)[0]) for name in ("validation", "train"))
    noise = drawn(np.random.default_rng(0).uniform(-1, 1, (4, 16, 16)))

    def keep(names, windows):
        return rejection.make_filter(trained, names).keep(windows, ["walker_01"] * len(windows.frames))

    assert keep(["novelty"], validation).all() and not keep(["novelty"], train).any()
    assert not keep(["physics"], noise).any() and keep([], noise).all()
    with pytest.raises(InputError, match="filter 'identity' is not known"):
        rejection.make_filter(trained, ["identity"])


def test_of_each_group_the_lowest_that_passed_is_kept():
    passed = np.array([1, 1, 1, 1, 0, 1, 1, 0, 0, 0, 0, 0], bool)
    values = np.array([3, 1, 2, 4, 0, 2, 1, 0, 0, 0, 0, 0], float)
    assert rejection.keep_lowest(passed, values).nonzero()[0].tolist() == [1, 6]


def test_half_judges_are_least_certain_of_windows_of_somebody_else(trained):
    certainty = rejection.half_judges(trained)
    windows, users = trained.windows("train")
    right = certainty(windows, [trained.users[i] for i in users])
    wrong = certainty(windows, [trained.users[1 - i] for i in users])
    assert right.mean() > 0.6
    np.testing.assert_allclose(right + wrong, 1.0, atol=1e-5)


def test_hard_windows_are_those_of_which_judges_are_least_certain(trained, monkeypatch):
    for name in ("plausibility_filter", "novelty_filter"):
        monkeypatch.setattr(rejection, name, lambda model: lambda x: np.ones(len(x), bool))
    windows, users = trained.windows("train")
    windows, names = windows[:8], [trained.users[i] for i in users[:8]]
    selection = rejection.make_filter(trained, ["hard", "physics", "novelty"])
    kept = selection.keep(DrawnWindows(windows, np.full(8, 16)), names)
    values = rejection.half_judges(trained)(windows, names).reshape(2, 4)
    assert selection.group == 4 and kept.nonzero()[0].tolist() == [values[0].argmin(), 4 + values[1].argmin()]


def test_hard_windows_are_not_to_be_had_where_nothing_can_judge_them(trained, enrolled):
    with pytest.raises(InputError, match="'hard' alone keeps broken windows: give physics,novelty,hard"):
        rejection.make_filter(trained, ["hard", "physics"])
    with pytest.raises(InputError, match="no training windows of 'NEW', who was enrolled"):
        rejection.half_judges(enrolled)(np.zeros((1, 16, 16)), ["NEW"])
    few = trained._replace(split=trained.split | {"train": trained.split["train"][:3] + trained.split["train"][-1:]})
    with pytest.raises(InputError, match="'walker_02' has one"):
        rejection.half_judges(few)
