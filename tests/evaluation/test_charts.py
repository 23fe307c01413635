"""Charts stay inside their box, with round ticks, whatever the values are."""

import re

import numpy as np
import pytest

from mdiff_jax.evaluation import charts


@pytest.mark.parametrize("logarithmic", [False, True])
@pytest.mark.parametrize("ends", [(0.061, 0.079), (1e-5, 3e4), (0.5, 0.50001), (20.0, 2400.0), (1.0, 2.0)])
def test_ticks_are_round_and_lie_between_the_ends(ends, logarithmic):
    ticks = list(charts.choose_ticks(*ends, logarithmic))
    values = [value for value, _ in ticks]
    assert 2 <= len(ticks) <= 12 and values == sorted(values)
    assert ends[0] <= values[0] and values[-1] <= ends[1]
    assert [float(text) for _, text in ticks] == pytest.approx(values, rel=1e-5)
    assert not {text for _, text in charts.choose_ticks(-0.5, 0.5)} & {"-0"}


def test_everything_lies_in_the_box():
    x, y = np.arange(50), np.geomspace(1e-3, 10, 50)
    line = charts.Line("training", "color0", x, y, (y / 2, 2 * y))
    few = charts.Line("validation", "color1", x[::10], y[::10])
    for logarithmic in (False, True):
        drawn = charts.draw_panel(charts.Panel("encoder", [line, few], logarithmic=logarithmic, level=1.0))
        left, top, right, bottom = drawn["box"]
        for each in drawn["lines"]:
            points = [tuple(map(float, pair.split(","))) for pair in f"{each['points']} {each['band']}".split()]
            places = [*points, *((x, y) for x, y, _ in each["marks"])]
            assert all(left <= x <= right and top <= y <= bottom for x, y in places)
        assert [len(each["marks"]) for each in drawn["lines"]] == [charts.HOVERED_POINTS, 5]
        assert re.fullmatch(r"validation: 0\.001 at 0", drawn["lines"][1]["marks"][0][2])
        heights = [y for _, y, _ in drawn["lines"][1]["marks"]]
        assert heights == sorted(heights, reverse=True), "more is higher"
        steps = np.diff(heights)
        assert np.allclose(steps, steps[0]) == logarithmic


@pytest.mark.parametrize("value", [0.0, 1.0, -2.0, 1e-12])
def test_a_single_value_is_drawn(value):
    line = charts.Line("real", charts.REAL, np.zeros(1), np.array([value]))
    drawn = charts.draw_panel(charts.Panel("one", [line]))
    assert np.isfinite([place[:2] for place in drawn["lines"][0]["marks"]]).all() and drawn["y_ticks"]


def test_training_curves_pass_over_what_is_no_loss():
    rows = [{"step": i, "loss": 1.0 + i % 2} for i in range(1000)]
    rows += [{"step": 1000, "loss": value} for value in (float("nan"), float("inf"), -1.0, "x", None)] + [
        {"step": 1001}
    ]
    [panel] = charts.training_panels({"encoder": rows, "prior": [], "decoder": [{"step": 1, "loss": float("nan")}]})
    [line] = panel.lines
    assert panel.title == "encoder" and len(line.x) <= charts.MOST_POINTS
    assert np.average(line.y, weights=[4] * (len(line.y))) == pytest.approx(1.5) and line.x[-1] < 1000
