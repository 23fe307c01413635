"""The doctor says in about ten lines what is there, and ends with 1 if something is wrong."""

import pytest

from mdiff_jax.commands import doctor
from mdiff_jax.inference import base_model
from mdiff_jax.training import compiler_check


@pytest.mark.parametrize(("difference", "status"), [(1e-7, 0), (0.3, 1), (float("inf"), 1)])
def test_numbers_that_are_wrong_are_an_exit_status(monkeypatch, capsys, difference, status):
    monkeypatch.setattr(compiler_check, "check", lambda only: iter([("rows", 1e-8), ("judge", difference)]))
    with pytest.raises(SystemExit) as ended:
        doctor.main()
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code == status and len(lines) == 10
    assert [line.split()[0] for line in lines if "WRONG" in line] == ["numbers"] * status
    assert ("not well: numbers" in lines[-1]) == status


def test_a_damaged_base_model_is_found(monkeypatch, tmp_path):
    monkeypatch.setattr(base_model, "FOLDER", tmp_path)
    assert doctor.check_base_model()[2] is not None
