"""The report in headless Chromium: what a reader sees and clicks."""

import json

import browser
import pytest
from test_html_report import HOSTILE, make_page

from mdiff_jax.evaluation import html_report, run
from mdiff_jax.inference import sample_writer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.find_chromium() is None, reason="needs Chromium: apt-get install chromium"),
]
COLUMN = """(() => {
  const table = document.querySelector('%s'), place = %d;
  %s
  return [...table.tBodies[0].rows].map((row) => row.cells[place].dataset.value ?? row.cells[place].textContent.trim());
})()"""
CLICK = "table.tHead.rows[0].cells[place].querySelector('button').click();"


@pytest.fixture
def chromium(tmp_path):
    with browser.Browser(tmp_path / "profile") as opened:
        yield opened


def check_page(chromium, path) -> None:
    """Opens a page: nothing is reported, nothing is fetched, every picture is there, and it fits a telephone."""
    chromium.open(path)
    assert chromium.of_kind("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled") == []
    fetched = {event["request"]["url"] for event in chromium.of_kind("Network.requestWillBeSent")}
    assert {url for url in fetched if not url.startswith("data:")} == {path.as_uri()}
    shown = "[...document.images].map((image) => image.decode().then(() => image.naturalWidth * image.offsetWidth))"
    sizes = chromium.evaluate(f"Promise.all({shown})")
    assert sizes and min(sizes) > 0
    for width in (390, 1280):
        chromium.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=width < 400
        )
        assert chromium.evaluate("document.documentElement.scrollWidth") <= width


def test_hostile_names_stay_text_and_pictures_open(chromium, tmp_path):
    html_report.write_page(tmp_path / "report.html", make_page(users=HOSTILE))
    check_page(chromium, tmp_path / "report.html")
    assert chromium.evaluate("document.scripts.length") == 1
    for name in HOSTILE:
        assert chromium.evaluate(f"document.body.textContent.includes({json.dumps(name)})"), name
    assert chromium.evaluate("document.querySelector('#viewer').open") is False
    chromium.evaluate("document.querySelector('.sheet figure button').click()")
    assert chromium.evaluate("document.querySelector('#viewer').open") is True
    wide = "document.querySelector('#viewer img').offsetWidth / document.querySelector('.sheet img').offsetWidth"
    assert chromium.evaluate(wide) > 2
    caption = "document.querySelector('#viewer figcaption').textContent"
    first = chromium.evaluate(caption)
    for kind in ("keyDown", "keyUp"):
        chromium.call("Input.dispatchKeyEvent", type=kind, key="ArrowLeft", code="ArrowLeft")
    assert chromium.evaluate(caption) != first
    for scheme, dark in (("light", False), ("dark", True)):
        chromium.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        color = chromium.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, color.removeprefix("rgb(").removesuffix(")").split(","))) < 384) == dark


def test_a_click_on_a_head_sorts(chromium, tmp_path):
    page = make_page(users=[f"walker_{i}" for i in (10, 9, 100, 1)])
    values = dict(zip(page.users, (0.5, None, 12.0, -3.0), strict=True))
    users = {user: [page.figures[0]._replace(metric="accuracy", generated=value)] for user, value in values.items()}
    html_report.write_page(tmp_path / "report.html", page._replace(users=users))
    chromium.open(tmp_path / "report.html")
    assert chromium.evaluate(COLUMN % (".users", 0, "")) == list(values)
    assert chromium.evaluate(COLUMN % (".users", 0, CLICK)) == [f"walker_{i}" for i in (1, 9, 10, 100)]
    assert chromium.evaluate(COLUMN % (".users", 0, CLICK)) == [f"walker_{i}" for i in (100, 10, 9, 1)]
    assert chromium.evaluate(COLUMN % (".users", 1, CLICK)) == ["-3", "0.5", "12", ""]
    assert chromium.evaluate(COLUMN % (".users", 1, CLICK)) == ["12", "0.5", "-3", ""], "what is left out stays last"


def test_the_report_of_a_run_opens(chromium, trained, writable_root, quick_judge):
    sample_writer.write_samples(trained, trained.users, 2, 0, writable_root / "samples" / "judged")
    run.judge_samples(writable_root, None)
    check_page(chromium, writable_root / "report.html")
