"""Laws of a report in memory: its table, what a notebook shows of it, and its files."""

import json
import sys

import numpy as np
import pytest

from mdiff_jax.evaluation import report
from mdiff_jax.evaluation.report_figures import Pictures
from mdiff_jax.evaluation.results import Report
from mdiff_jax.metrics.comparison import IDENTITY, PHYSICS, Figure
from mdiff_jax.runtime.errors import InputError

HOSTILE = "<script>alert(1)</script>"
FIGURES = [
    Figure(IDENTITY, "accuracy", 0.9, 0.8, "chance 0.50", (0.8, 1.0), (0.7, 0.9), "linear judge", False),
    Figure(PHYSICS, "plausible", None, 0.5, "left out: needs 2 windows"),
]


@pytest.fixture
def found() -> Report:
    images = np.zeros((2, 8, 8, 3), np.uint8)
    pictures = Pictures((HOSTILE,), {}, {}, [], {HOSTILE: (images, images[:1])}, 0.5, 1, None, ())
    verdict = [report.Answer(IDENTITY, f"{HOSTILE} is"), report.Answer(PHYSICS, "Not measured.")]
    return Report(
        verdict, ["It leaks"], FIGURES, {HOSTILE: FIGURES[:1]}, [], [], {"samples": "x"}, [1, 2], pictures, [], (), {}
    )


def test_a_row_of_the_table_for_each_figure(found):
    first, second = found.rows()
    assert first["generated"] == 0.9 and (first["real_low"], first["real_high"]) == (0.7, 0.9)
    assert first["note"].endswith(report.WEAK_JUDGE_NOTE) and not first["reliable"]
    assert second["generated"] is second["generated_low"] is None and second.keys() == first.keys()
    [of_user] = found.rows(by_user=True)
    assert of_user == {"user": HOSTILE} | first


def test_a_data_frame_is_that_table(found):
    pandas = pytest.importorskip("pandas")
    frame = found.to_dataframe()
    assert isinstance(frame, pandas.DataFrame) and list(frame.metric) == ["accuracy", "plausible"]
    assert frame.generated.dtype == float and np.isnan(frame.generated[1])


def test_without_pandas_the_remedy_is_named(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match="pip install pandas"):
        found.to_dataframe()


def test_a_notebook_shows_verdict_sheet_and_figures_and_runs_nothing(found):
    page = found._repr_html_()
    assert "<script" not in page and "&lt;script&gt;" in page and "<style" not in page
    assert page.count("data:image/webp;base64,") == 3 and "0.900" in page and "Not measured." in page
    assert "It leaks" in page and "http" not in page


def test_printed_it_is_warnings_and_verdict(found):
    assert repr(found).splitlines() == ["It leaks", f"{IDENTITY} {HOSTILE} is", f"{PHYSICS} Not measured."]


def test_it_is_kept_as_values_that_report_json_holds(found):
    kept = json.loads(json.dumps(found.to_json()))
    assert kept["figures"][0]["name"] == "accuracy, linear judge" and kept["checkpoint_steps"] == [1, 2]
    assert found.to_markdown().startswith("# Can these windows be trusted?")
