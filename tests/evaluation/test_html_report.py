"""The page holds everything in one file, whatever the names and however much there is."""

import html
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from mdiff_jax.evaluation import charts, html_report, report, report_figures
from mdiff_jax.metrics.augmentation_utility import AugmentationPoint
from mdiff_jax.metrics.comparison import FIDELITY, IDENTITY, NOVELTY, PHYSICS, USEFULNESS, Figure

VOID = {"meta", "link", "img", "input", "br", "hr"}
HOSTILE = ["<script>alert(1)<", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "&amp;</b", "</title><script>alert(1)"]


class Outline(HTMLParser):
    """What a browser would find: elements, whether each is closed, text."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"{tag} has an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        self.text += data


def draw_images(rng, count, size=16) -> np.ndarray:
    return rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def make_page(users=("walker_01", "walker_02"), per_user=2, size=16) -> html_report.Page:
    """A page with something in each part."""
    rng = np.random.default_rng(0)
    questions = (IDENTITY, PHYSICS, NOVELTY, USEFULNESS, FIDELITY)
    figures = [Figure(q, f"figure {q}", 0.1234, 0.5678, "a note", (0.1, 0.2), (0.4, 0.6)) for q in questions]
    figures.append(Figure(PHYSICS, "distance", 12.3456, 1.5, "", detail=True))
    figures.append(Figure(FIDELITY, "coverage", None, None, "left out: needs 6 windows, has 5"))
    shown = users[:12]
    images = {user: tuple(draw_images(rng, per_user, size) for _ in range(2)) for user in shown}
    of_user = [f._replace(metric=f"metric {i}") for i, f in enumerate(figures * 2)]
    draws = rng.uniform(0.9, 1.1, (2, 5, 3))
    levels = rng.uniform(size=(2, 32))
    curves = {user: {"highest": tuple(rng.uniform(size=(2, 4, 32)))} for user in shown}
    points = [AugmentationPoint(10, name, x, 0.5, 0.4, 0.6) for name, x in (("real", 0.0), ("generated", 1.0))]
    spectra = report_figures.Spectra({"levels": (["a to b", "b to c", "c to d"], tuple(draws))}, *levels)
    return html_report.Page(
        title="Can these windows be trusted?",
        verdict=[report.Answer(q, "Yes, as much as real ones.") for q in questions],
        warnings=["THE SPLIT LEAKS: 25%"],
        figures=figures,
        sheet=images,
        zero_doppler=0.8,
        num_users=len(users),
        users=dict.fromkeys(users, of_user),
        judged=users,
        confusion={"generated, linear judge": rng.integers(0, 9, (len(users), len(users)))},
        envelopes=charts.envelope_panels(curves),
        pairs=[report_figures.Pair(user, 0.9, *draw_images(rng, 2, size)) for user in shown[:8]],
        copies=[{"file": f"{user}/1.png", "training_file": "a.png", "ncc": 0.9, "kind": "whole"} for user in users],
        points=points,
        augmentation=charts.augmentation_panels(points),
        spectra=charts.spectra_panels(spectra),
        blind=[({"kind": "recorded", "user": users[0], "file": "x"}, image) for image in draw_images(rng, 24, size)],
        training=charts.training_panels({"encoder": [{"step": i, "loss": 1 / i} for i in range(1, 400)]}),
        tables={"Method": {"samples": "x"}, "Configuration": {"data.path": users[0], "seed": 0}},
    )


def test_the_page_is_whole_and_asks_for_nothing():
    text = html_report.format_page(make_page())
    outline = Outline(text)
    assert not outline.open, "everything is closed"
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {attributes["href"] for tag, attributes in outline.elements if tag == "a"}
    assert links and {link.removeprefix("#") for link in links} <= set(ids)
    for tag, attributes in outline.elements:
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert attributes.get(name, "#").startswith(("data:", "#")), (tag, attributes)
    assert "http:" not in text and "https:" not in text and "url(" not in text and "@import" not in text
    assert text == html_report.format_page(make_page()), "the same page has the same bytes"


def test_names_stay_text():
    page = make_page(users=HOSTILE)
    panels = [panel._replace(title=HOSTILE[0]) for panel in page.training]
    figures = [page.figures[0]._replace(metric=HOSTILE[0], note=HOSTILE[1]), *page.figures]
    answers = [report.Answer(HOSTILE[0], HOSTILE[1])]
    page = page._replace(training=panels, warnings=HOSTILE, figures=figures, verdict=answers, title=HOSTILE[-1])
    outline = Outline(html_report.format_page(page))
    assert not outline.open
    assert [tag for tag, _ in outline.elements].count("script") == 1
    assert all(not name.startswith("on") for _, attributes in outline.elements for name in attributes)
    assert all(name in outline.text for name in HOSTILE)
    assert {a["src"][:10] for tag, a in outline.elements if tag == "img"} == {"data:image"}


def test_every_figure_stands_beside_the_real_one():
    page = make_page()
    rows = re.findall(r"<tr.*?</tr>", html_report.format_page(page), re.DOTALL)
    for figure in page.figures:
        [row] = [row for row in rows if f">{html.escape(figure.name)}</span>" in row]
        for value in (figure.generated, figure.real, *(figure.generated_range or ()), *(figure.real_range or ())):
            assert (report.LEFT_OUT if value is None else f"{value:.3f}") in row
        assert html.escape(figure.note) in row
        assert row.count("<circle") == sum(v is not None for v in (figure.generated, figure.real))


def test_marks_lie_where_the_values_are():
    figure = Figure(PHYSICS, "plausible", 0.5, 1.0, "", (0.25, 0.75), None)
    generated, real = html_report.interval_marks(figure)
    assert generated["kind"] == "generated" and generated["low"] < generated["value"] < generated["high"]
    assert generated["value"] == pytest.approx((3 + 97) / 2) and real["value"] == real["high"] == pytest.approx(97)
    [alone] = html_report.interval_marks(figure._replace(generated=None, generated_range=None))
    assert alone["kind"] == "real"
    assert html_report.interval_marks(figure._replace(generated=None, real=None)) == []
    zeros = html_report.interval_marks(figure._replace(generated=0.0, generated_range=(0.0, 0.0), real=0.0))
    assert {mark["value"] for mark in zeros} == {3.0}, "0 lies where 0 lies"
    negative, _ = html_report.interval_marks(figure._replace(generated=-1.0, generated_range=None))
    assert negative["value"] == pytest.approx(3)


@pytest.mark.parametrize("users", [2, 520])
def test_the_page_stays_small(users):
    """However large images are and however many people there are; what is left out is said."""
    names = [f"walker_{i:03d}" for i in range(users)]
    page = make_page(names, per_user=5, size=64 if users > 2 else 160)
    page = page._replace(copies=page.copies * 100)
    text = html_report.format_page(page)
    assert len(text.encode()) < 5_000_000
    shown = [attributes for tag, attributes in Outline(text).elements if tag == "img"]
    assert len(shown) == 10 * len(page.sheet) + 2 * len(page.pairs) + len(page.blind)
    if users > 2:
        assert "500 of 520 users; report.json has all" in text and "Shown are 12 of 520" in text
    assert ("The 200 most alike; report.json has all" in text) == (users > 2 or len(page.copies) > 200)


def test_images_that_fit_lose_nothing():
    images = draw_images(np.random.default_rng(0), 2, 64)
    for most, shrunk in ((10**6, False), (10**4, True)):
        encoded = html_report.encode_images(list(images), most)
        assert sum(map(len, encoded)) <= most
        assert (encoded == [html_report.encode_image(image, None, 100) for image in images]) != shrunk


def test_a_page_that_fails_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    html_report.write_page(path, make_page())
    before = path.read_bytes()
    assert Outline(before.decode()).text
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(Exception, match="No space left"):
        html_report.write_page(path, make_page(users=["x", "y"]))
    assert path.read_bytes() == before and [*tmp_path.iterdir()] == [path]


def test_the_report_of_few_has_fewer_parts():
    page = make_page()
    empty = {name: type(value)() for name, value in page._asdict().items() if isinstance(value, dict | list | tuple)}
    text = html_report.format_page(page._replace(**empty, title="nothing"))
    assert not Outline(text).open and "<table" not in text
    assert json.dumps(empty, default=str)


def test_images_of_any_sizes_go_together():
    images = [np.zeros(size, np.uint8) for size in ((16, 16, 3), (32, 20, 3))]
    for _ in range(50):  # of a sequence, types are checked at a random place
        assert len(html_report.encode_images(images)) == 2
