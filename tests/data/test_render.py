"""Sheets stay small whatever is asked to be shown, and names are shown as they are."""

import numpy as np
import pytest
from PIL import Image

from mdiff_jax.data import render

WINDOW = np.zeros((1, 8, 8, 3), np.uint8)


def captions(monkeypatch) -> list[str]:
    """The captions of the figures that are written from now on."""
    found, save = [], render.save_figure
    monkeypatch.setattr(render, "save_figure", lambda f, path: (found.append(f._supxlabel.get_text()), save(f, path)))
    return found


@pytest.mark.parametrize(("rows", "columns"), [(500, 2), (1, 300)])
def test_a_sheet_shows_some_of_many_and_says_so(tmp_path, monkeypatch, rows, columns):
    said = captions(monkeypatch)
    image = WINDOW.repeat(columns, 0)
    render.plot_grid(tmp_path / "sheet.png", {f"user {k}": (image[:0], image) for k in range(rows)}, None)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert max(sheet.size) < 5000
    if rows > 1:
        assert "12 of 500 rows" in said[0] and "columns" not in said[0]
    else:
        assert "24 of 300 columns" in said[0] and "rows" not in said[0]


def test_a_sheet_that_shows_all_says_nothing(tmp_path, monkeypatch):
    said = captions(monkeypatch)
    render.plot_grid(tmp_path / "sheet.png", {f"user {k}": (WINDOW, WINDOW) for k in range(2)}, None)
    assert " of " not in said[0]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", [r"$\frac$", "步行者", "\udcff", "x" * 250])
def test_any_name_can_stand_beside_a_row(tmp_path, name):
    render.plot_grid(tmp_path / "sheet.png", {name: (WINDOW, WINDOW)}, None)
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
