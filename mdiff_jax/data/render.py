"""Plotting of grids of spectrograms as PNG: real windows beside generated ones, with labeled axes."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from mdiff_jax.runtime.workdir import atomic_write

MAX_ROWS, MAX_COLUMNS = 12, 24  # of a sheet
MAX_WIDTH = 80.0  # of a sheet, inches
MAX_LABEL = 60  # of a row, characters; the end of a longer name is shown
Row = TypeVar("Row")


def plot_grid(
    path: Path,
    rows: Mapping[str, tuple[np.ndarray, np.ndarray]],
    zero_doppler: float | None,
    *,
    velocity: Sequence[float] | None = None,
    seconds: float | None = None,
    every: int | None = None,
) -> None:
    """Writes one row per user: real windows, if there are any, on the left, generated ones on the right. Of more rows
    or columns than MAX_ROWS and MAX_COLUMNS some are shown, and the sheet says how many of how many; `every` is the
    number of rows where the caller has left out some already.

    `rows` maps a user to two arrays of images (n, F, T, 3) uint8; `zero_doppler` is the place of zero velocity as a
    share of the height from the top, shown as a tick. `velocity` of each of the rows that the model works at in m/s,
    highest first, and `seconds`, the duration of a window, label the axes.
    """
    every = every or len(rows)
    most = max(len(g) for _, g in rows.values())
    kept = ((name, *rows[name]) for name in spread_rows(list(rows)))
    rows = {name: (spread_windows(r, MAX_COLUMNS), spread_windows(g, MAX_COLUMNS)) for name, r, g in kept}
    real = max(len(r) for r, _ in rows.values())
    made = max(len(g) for _, g in rows.values())
    shape = next(iter(rows.values()))[1].shape[1:3]
    width = min(1.5 * max(1.0, shape[1] / shape[0]), MAX_WIDTH / (real + made))
    figure = Figure(figsize=(width * (real + made) + 1.2, 1.5 * len(rows) + 0.7), layout="constrained")
    axes = figure.subplots(len(rows), real + made, squeeze=False)
    for line, (user, (reals, generated)) in zip(axes, rows.items(), strict=True):
        for axis in line:
            axis.set_axis_off()
        for axis, image in [*zip(line[:real], reals, strict=False), *zip(line[real:], generated, strict=False)]:
            axis.set_axis_on()
            axis.imshow(image, aspect="auto", interpolation="nearest", extent=(0, 1, 1, 0))
            axis.set_xticks([])
            axis.set_yticks([] if zero_doppler is None else [zero_doppler])
            axis.set_yticklabels([])
        line[0].set_axis_on()
        line[0].set_ylabel(user if len(user) <= MAX_LABEL else f"…{user[-MAX_LABEL:]}", fontsize=9)
        if velocity is not None:
            label_velocity(line[0], velocity)
        if 0 < real < len(line):
            for spine in line[real].spines.values():
                spine.set_linewidth(1.5)
    if seconds is not None:
        for axis in axes[-1]:
            label_time(axis, seconds)
    if real:
        axes[0][0].set_title("real", loc="left", fontsize=10)
    if made:
        axes[0][real].set_title("generated", loc="left", fontsize=10)
    shown = shown_of(len(rows), every, "rows") + shown_of(made, most, "columns")
    figure.supxlabel(axis_caption(velocity, seconds) + shown, fontsize=8)
    save_figure(figure, path)


def axis_caption(velocity: Sequence[float] | None, seconds: float | None) -> str:
    """Caption that names the axes and their units."""
    time = "time, about four steps a window" if seconds is None else "time in s"
    return f"{time}; velocity {'upwards, the tick is zero' if velocity is None else 'in m/s'}"


def label_velocity(axis: Axes, velocity: Sequence[float]) -> None:
    """Labels whole m/s; `velocity` is that of each row, highest first."""
    v, place = np.asarray(velocity)[::-1], ((np.arange(len(velocity)) + 0.5) / len(velocity))[::-1]
    whole = np.arange(np.ceil(v[0]), np.floor(v[-1]) + 1, max(1, round((v[-1] - v[0]) / 4)))
    axis.set_yticks(np.interp(whole, v, place))
    axis.set_yticklabels([f"{x:g}" for x in whole], fontsize=6)


def label_time(axis: Axes, seconds: float) -> None:
    """Labels whole seconds."""
    whole = np.arange(0, seconds + 1e-6)
    axis.set_xticks(whole / seconds)
    axis.set_xticklabels([f"{x:g}" for x in whole], fontsize=6)


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure in the format of the suffix, whole or not at all. Names of users and files are shown as they are:
    a $ begins no formula, and letters that the font does not have are boxes.
    """
    FigureCanvasAgg(figure)
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_text(text.get_text().encode(errors="replace").decode())
    with atomic_write(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(temporary, dpi=110, format=path.suffix[1:])


def spread_rows(rows: Sequence[Row], most: int = MAX_ROWS) -> list[Row]:
    """Picks at most `most`, evenly from first to last."""
    return [rows[i] for i in np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]


def shown_of(shown: int, every: int, what: str) -> str:
    """Returns the end of a caption that says how many are shown, where not all are."""
    return f"; {shown} of {every} {what}" if shown < every else ""


def spread_windows(windows: np.ndarray, columns: int) -> np.ndarray:
    """Picks at most `columns` windows, evenly from first to last: neighbors are of one recording and alike."""
    return windows[np.linspace(0, len(windows) - 1, min(columns, len(windows))).astype(int)]
