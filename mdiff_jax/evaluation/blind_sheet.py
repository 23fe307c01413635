"""A sheet of recorded and generated windows, shuffled and unlabeled, to see by eye what tells them apart."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from mdiff_jax.data import export, images, render, sources
from mdiff_jax.evaluation import file_windows, sample_folders
from mdiff_jax.inference.model import Model
from mdiff_jax.metrics.reference import MeasuredSet
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import atomic_write, write_json

SHEET, KEY = "blind.png", "blind_key.json"
MOST_OF_A_KIND, COLUMNS = 12, 6
GAP, LABEL_HEIGHT = 6, 14  # pixels between pictures, and of the number above each
Picture = UInt8[np.ndarray, "rows columns 3"]
Pictures = Sequence[tuple[dict[str, str], Picture]]  # what the key says of each, and its colors


def read_blind_pictures(model: Model, samples: Path, test: MeasuredSet, generated: MeasuredSet) -> Pictures:
    """Returns as many recorded as generated windows of the same users, as their files hold them, in random order; none
    where no recordings can be read.
    """
    common = np.intersect1d(test.window_set.users, generated.window_set.users)
    try:
        scanned = file_windows.scan_recordings(model)
        if scanned is None or not len(common):
            return []
        recorded = read_pictures(model, "recorded", Path(model.config.data.path), scanned, choose(test, common))
    except InputError:
        return []
    scanned = sample_folders.scan_samples(model, samples)
    pictures = [*recorded, *read_pictures(model, "generated", samples, scanned, choose(generated, common))]
    order = np.random.default_rng(0).permutation(len(pictures))
    return [pictures[i] for i in order]


def write_blind_sheet(folder: Path, pictures: Pictures) -> list[str]:
    """Writes pictures, numbered, to blind.png, and what each is to blind_key.json; returns these names. Without
    pictures nothing is written.
    """
    if not pictures:
        return []
    with atomic_write(folder / SHEET) as path:
        draw_sheet([picture for _, picture in pictures]).save(path, format="png")
    write_json(folder / KEY, {str(number): about for number, (about, _) in enumerate(pictures, 1)})
    return [SHEET, KEY]


def choose(windows: MeasuredSet, users: np.ndarray) -> MeasuredSet:
    """Picks as many windows of each user, spread over all of them."""
    some = render.spread_rows(users.tolist(), MOST_OF_A_KIND)
    each = max(1, MOST_OF_A_KIND // len(some))
    rows = [render.spread_rows(np.flatnonzero(windows.window_set.users == user).tolist(), each) for user in some]
    return windows.pick(np.concatenate(rows))


def read_pictures(
    model: Model, kind: str, root: Path, scanned: list[sources.WindowSource], windows: MeasuredSet
) -> Pictures:
    """Reads the files of windows in their own colors; arrays in the colors of the data set."""
    items = file_windows.select_items(root, scanned, windows)
    drawn = [read_colors(model, root, item) for item in items]
    about = ({"kind": kind, "user": item.user, "file": item.file} for item in items)
    return list(zip(about, drawn, strict=True))


def read_colors(model: Model, root: Path, item: sources.WindowSource) -> Picture:
    """Colors of one window at the size of the recordings' files."""
    if item.row < 0:
        return images.to_rgb(images.read_image(sources.file_path(root, item)))
    [window] = next(file_windows.read_chunks(root, [item], file_windows.file_options(model, root)))
    return export.to_image(window[..., None], model.dataset.metadata["colormap"] or "gray")


def draw_sheet(pictures: Sequence[Picture]) -> Image.Image:
    """Draws pictures of one size in rows, pixel by pixel, each with its number above."""
    rows, columns = (n + GAP for n in pictures[0].shape[:2])
    rows += LABEL_HEIGHT
    sheet = Image.new("RGB", (GAP + COLUMNS * columns, GAP + -(-len(pictures) // COLUMNS) * rows), "white")
    draw = ImageDraw.Draw(sheet)
    for i, picture in enumerate(pictures):
        left, top = GAP + i % COLUMNS * columns, GAP + i // COLUMNS * rows
        draw.text((left, top), str(i + 1), fill="black")
        sheet.paste(Image.fromarray(np.ascontiguousarray(picture)), (left, top + LABEL_HEIGHT))
    return sheet
