"""Formats figures and pictures as one page, report.html, that needs no other file and no network."""

import base64
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from mdiff_jax.config import STAGES, to_plain_dict
from mdiff_jax.data import render
from mdiff_jax.evaluation import charts, report
from mdiff_jax.evaluation.blind_sheet import Pictures as BlindPictures
from mdiff_jax.evaluation.plots import MAX_NAMES
from mdiff_jax.evaluation.report_figures import Pair
from mdiff_jax.inference import provenance
from mdiff_jax.inference.model import Model
from mdiff_jax.metrics.augmentation_utility import AugmentationPoint
from mdiff_jax.metrics.comparison import FIDELITY, IDENTITY, NOVELTY, PHYSICS, USEFULNESS, Figure
from mdiff_jax.runtime.metric_writer import read_metrics
from mdiff_jax.runtime.workdir import Workdir, write_text
from mdiff_jax.validation import DISTILL, flatten

FILE = "report.html"
IMAGE_BYTES = 2_500_000  # of all images as text; half of what the page may have
EXCERPT_BYTES = 500_000  # the same of an excerpt, which notebooks keep
MOST_USERS, MOST_COPIES = 500, 200  # in tables; longer ones leave the rest to report.json
ENCODINGS = ((None, 100), (None, 85), (256, 80), (128, 70), (64, 60))  # longest side and quality; 100: lossless
TABLE_SIZE, MAX_CELL, MAX_LABEL = 320, 26, 16  # of a confusion table, of a cell, and the letters of a name beside it
TABLE_COLOR, MAX_TABLE_PIXELS = (70, 140, 220), 512  # of a table of many users, in the light and in the dark
Image8 = UInt8[np.ndarray, "_ _ _"]  # rows, columns, channels: each image has its own


class Page(NamedTuple):
    """What a page shows, in order; parts that are empty are left out."""

    title: str
    verdict: Sequence[report.Answer]
    warnings: Sequence[str]
    figures: Sequence[Figure]
    sheet: Mapping[str, tuple[np.ndarray, np.ndarray]]  # user → real and generated images (n, F, T, 3) uint8
    zero_doppler: float | None  # place of zero velocity in them, as a share of the height from the top
    num_users: int  # of whom the sheet shows some
    users: Mapping[str, Sequence[Figure]] = {}
    judged: Sequence[str] = ()  # users whom the judges know
    confusion: Mapping[str, np.ndarray] = {}
    envelopes: Sequence[charts.Panel] = ()
    pairs: Sequence[Pair] = ()
    copies: Sequence[Mapping[str, Any]] = ()  # suspected ones, as report.json has them
    points: Sequence[AugmentationPoint] = ()
    augmentation: Sequence[charts.Panel] = ()  # of these
    spectra: Sequence[charts.Panel] = ()
    blind: BlindPictures = ()
    training: Sequence[charts.Panel] = ()
    tables: Mapping[str, Mapping[str, Any]] = {}


def write_page(path: Path, page: Page) -> None:
    """Writes a page to a file."""
    write_text(path, format_page(page))


def format_page(page: Page) -> str:
    """Returns the page as HTML; the same text for the same page. All that is not of the template is escaped, and a
    browser runs no script but that of the page and asks for nothing.
    """
    environment = make_environment()
    environment.filters |= {"draw": charts.draw_panel, "marks": interval_marks, "written": write_value}
    script = environment.loader.get_source(environment, "report.js")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    questions = [
        q for q in (IDENTITY, PHYSICS, NOVELTY, USEFULNESS, FIDELITY) if any(f.question == q for f in page.figures)
    ]
    return environment.get_template("report.html.jinja").render(
        page=page,
        questions=questions,
        IDENTITY=IDENTITY,
        PHYSICS=PHYSICS,
        NOVELTY=NOVELTY,
        USEFULNESS=USEFULNESS,
        FIDELITY=FIDELITY,
        note=report.format_note,
        interval_note=report.INTERVAL_NOTE,
        LEFT_OUT=report.LEFT_OUT,
        metrics=list(dict.fromkeys(f.metric for figures in page.users.values() for f in figures)),
        users=dict(list(page.users.items())[:MOST_USERS]),
        copies=page.copies[:MOST_COPIES],
        confusion=[draw_confusion(title, table, page.judged) for title, table in page.confusion.items()],
        script=script,
        script_digest=digest,
        **embed_images(page),
    )


def format_excerpt(page: Page) -> str:
    """Returns verdict, sheet and figures of a page as HTML to put into another page, as a notebook: no style or script
    that reaches beyond it, all that is not of the template escaped.
    """
    template = make_environment().get_template("report.excerpt.jinja")
    images = embed_images(page._replace(pairs=(), blind=()), EXCERPT_BYTES)
    return template.render(page=page, note=report.format_note, LEFT_OUT=report.LEFT_OUT, sheet=images["sheet"])


def make_environment() -> jinja2.Environment:
    """Returns what reads the templates."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("mdiff_jax.evaluation", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def read_training(workdir: Workdir) -> dict[str, list[dict[str, Any]]]:
    """Returns what each stage has logged."""
    return {stage: read_metrics(workdir.metrics(stage)) for stage in (*STAGES, DISTILL)}


def describe_origin(model: Model, samples: Path) -> dict[str, dict[str, Any]]:
    """Returns how a folder of samples was made, if it says so, and the model's configuration."""
    record = provenance.read_record(samples) or {}
    made = {key: value for key, value in record.items() if key not in ("files", "rejected")}
    return {"Samples": made} | {"Configuration": flatten(to_plain_dict(model.config))}


def write_value(value: object) -> str:
    """Returns a setting as text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


# ----------------------------------------------------------------------------- drawings


def interval_marks(figure: Figure) -> list[dict[str, Any]]:
    """Returns the generated and the real value of a figure and their intervals as shares of a width, 0 to 100, from 0
    or the lowest to the highest.
    """
    values = [
        (kind, value, limits or (value, value))
        for kind, value, limits in (
            (charts.GENERATED, figure.generated, figure.generated_range),
            (charts.REAL, figure.real, figure.real_range),
        )
        if value is not None
    ]
    ends = [0.0, *(x for _, value, limits in values for x in (value, *limits))]
    place = charts.make_scale((min(ends), max(ends) if any(ends) else 1.0), (3.0, 97.0))
    return [
        {"kind": kind} | dict(zip(("value", "low", "high"), place(np.array([value, *limits])).round(2), strict=True))
        for kind, value, limits in values
    ]


def draw_confusion(title: str, table: np.ndarray, users: Sequence[str]) -> dict[str, Any]:
    """Returns a confusion table as shares of its rows: 'cells' that are not empty, with what they say on hovering; of
    more than MAX_NAMES users an 'image' in their place, and the names of some.
    """
    cell, counts = min(MAX_CELL, TABLE_SIZE / len(table)), table.sum(1)
    shares, large = table / np.maximum(counts, 1)[:, None], len(table) > MAX_NAMES
    cells = [
        {
            "x": round(cell * j, 2),
            "y": round(cell * i, 2),
            "share": round(float(shares[i, j]), 3),
            "text": f"{users[i]} named {users[j]}: {table[i, j]} of {counts[i]}",
        }
        for i, j in ([] if large else np.argwhere(table).tolist())
    ]
    colors = np.concatenate([np.full((*table.shape, 3), TABLE_COLOR), 255 * shares[..., None]], 2).astype(np.uint8)
    some = render.spread_rows(range(len(table)), MAX_NAMES)
    names = [user if len(user) <= MAX_LABEL else f"{user[: MAX_LABEL - 1]}…" for user in (users[i] for i in some)]
    return {
        "title": title,
        "size": round(cell * len(table), 2),
        "margin": 8 + 6 * max(map(len, names)),
        "cell": round(cell, 2),
        "cells": cells,
        "image": encode_image(colors, MAX_TABLE_PIXELS, 100) if large else "",
        "names": [(round(cell * (i + 0.5), 2), name) for i, name in zip(some, names, strict=True)],
    }


# ----------------------------------------------------------------------------- images


def embed_images(page: Page, most: int = IMAGE_BYTES) -> dict[str, Any]:
    """Returns 'sheet', 'pairs' and 'blind' of a page with text that holds each image in its place."""
    images = [
        *(image for of_user in page.sheet.values() for kind in of_user for image in kind),
        *(image for pair in page.pairs for image in (pair.generated, pair.training)),
        *(image for _, image in page.blind),
    ]
    encoded: Iterator[str] = iter(encode_images(images, most))
    return {
        "sheet": {user: [[next(encoded) for _ in kind] for kind in kinds] for user, kinds in page.sheet.items()},
        "pairs": [pair._asdict() | {"generated": next(encoded), "training": next(encoded)} for pair in page.pairs],
        "blind": [(about, next(encoded)) for about, _ in page.blind],
    }


def encode_images(images: Sequence[Image8], most: int = IMAGE_BYTES) -> list[str]:
    """Returns images as text of at most `most` bytes in all: without loss where that is enough, else smaller."""
    for longest, quality in ENCODINGS:
        encoded = [encode_image(image, longest, quality) for image in images]
        if sum(map(len, encoded)) <= most:
            break
    return encoded


def encode_image(image: Image8, longest: int | None, quality: int) -> str:
    """Returns an image as the text of a data: URI."""
    picture, file = Image.fromarray(np.ascontiguousarray(image)), io.BytesIO()
    if longest is not None:
        picture.thumbnail((longest, longest))
    picture.save(file, "webp", quality=min(quality, 80), lossless=quality == 100)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
