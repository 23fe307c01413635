"""Whatever takes long says what it is, again and again; what is short says nothing."""

import sys
import time

import pytest

from mdiff_jax.runtime import progress


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(progress, "LOG_TICK_SECONDS", 0.05)


def test_what_takes_long_is_said_with_its_time(quick, capsys):
    with progress.doing("compiling"):
        time.sleep(0.3)
    said = [text for text in capsys.readouterr().err.split("\r") if "compiling" in text]
    assert len(said) >= 2 and all(text.startswith("compiling … 00:0") for text in said)


def test_what_is_short_is_not_said(capsys):
    with progress.doing("compiling"):
        pass
    assert capsys.readouterr().err == ""


def test_nothing_is_left_in_logs_of_what_only_a_terminal_shows(quick, capsys):
    with progress.doing("starting", in_logs=False):
        time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_an_error_ends_what_is_said(quick, capsys):
    with pytest.raises(ZeroDivisionError), progress.doing("dividing"):
        1 / 0  # noqa: B018
    before = capsys.readouterr().err
    time.sleep(0.2)
    assert "dividing" not in before + capsys.readouterr().err


def test_a_bar_goes_on_while_nothing_advances_and_counts_right(quick, capsys):
    with progress.Bar(total=2, desc="drawing", file=sys.stderr) as bar:
        bar.update()
        time.sleep(0.3)
        said = capsys.readouterr().err.split("\r")
        assert sum("1/2" in text for text in said) >= 2
    steps = progress.Bar(range(7), desc="steps")
    for _ in steps:
        time.sleep(0.03)
    assert steps.n == 7 and "7/7" in capsys.readouterr().err
