"""Line charts as the coordinates of SVG inside a page, which takes the page's colors and shows values on hovering."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mdiff_jax.evaluation.report_figures import Spectra, curve_panels
from mdiff_jax.metrics.augmentation_utility import AugmentationPoint

WIDTH, HEIGHT = 320, 210  # of a chart, in its own units
LEFT, RIGHT, TOP, BOTTOM, BOTTOM_WITH_NAMES = 40, 8, 8, 34, 78  # around its lines
MARKED_POINTS, HOVERED_POINTS = 24, 16  # a line of so many has marks; of a longer one so many say their values
MOST_POINTS = 300  # of a training curve: longer ones are averaged
GENERATED, REAL = "generated", "real"  # kinds of lines that have a color of their own; others have numbers
NUM_COLORS = 6
TRAINING_LOSSES = {"loss": "training", "validation_loss": "validation"}
Scale = Callable[[np.ndarray], np.ndarray]


class Line(NamedTuple):
    """A line (n,) and, where there is one, the band around it."""

    label: str
    kind: str  # decides the color
    x: np.ndarray
    y: np.ndarray
    band: tuple[np.ndarray, np.ndarray] | None = None


class Panel(NamedTuple):
    """A chart."""

    title: str
    lines: Sequence[Line]
    x_label: str = ""
    y_label: str = ""
    names: Sequence[str] = ()  # of x = 0, 1, … in place of numbers
    level: float | None = None  # where a thin line stands
    logarithmic: bool = False  # along y


# ----------------------------------------------------------------------------- what is drawn


def envelope_panels(users: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]]) -> list[Panel]:
    """Returns a panel per user: of each envelope (n, T) of generated and real windows, the median and the 10th to 90th
    percentile.
    """
    panels = []
    for user, curves in users.items():
        lines = []
        for made, real in curves.values():
            for windows, kind, label in ((real, REAL, "real, unseen"), (made, GENERATED, GENERATED)):
                low, middle, high = np.percentile(windows, [10, 50, 90], axis=0)
                lines.append(Line(label, kind, np.linspace(0, 4, len(middle)), middle, (low, high)))
        panels.append(Panel(user, lines, "time in steps", "share of the height", level=0.0))
    return panels


def spectra_panels(spectra: Spectra) -> list[Panel]:
    """Returns a panel for each kind of ratio to recorded windows, by band, the mean and the 5th to 95th percentile; and
    one of how often each row is not empty.
    """
    panels = []
    for kind, (bands, (generated, real)) in spectra.ratios.items():
        if not bands:
            continue
        lines = []
        for draws, name, label in ((real, REAL, "real, unseen"), (generated, GENERATED, GENERATED)):
            low, high = np.percentile(draws, [5, 95], axis=0)
            lines.append(Line(label, name, np.arange(len(bands)), draws.mean(0), (low, high)))
        panels.append(Panel(f"{kind}, ratio to recorded", lines, names=bands, level=1.0))
    rows = [
        Line(label, kind, np.arange(len(values)), values)
        for values, kind, label in (
            (spectra.real_occupancy, REAL, "real, unseen"),
            (spectra.generated_occupancy, GENERATED, GENERATED),
        )
    ]
    return [*panels, Panel("share of a row that is not empty", rows, "row, from the highest velocity")]


def augmentation_panels(points: Sequence[AugmentationPoint]) -> list[Panel]:
    """Returns a panel per budget, a line per source of added windows."""
    panels, sources = [], list(dict.fromkeys(p.source for p in points if p.share))
    for title, curves in curve_panels(points).items():
        lines = []
        for source, values in curves.items():
            share, middle, low, high = np.array(values).T
            kind = GENERATED if source == "generated" else color_of(sources.index(source))
            lines.append(Line(source, kind, 100 * share, middle, (low, high)))
        panels.append(Panel(title, lines, "added, % of the real windows", "accuracy"))
    return panels


def training_panels(stages: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Panel]:
    """Returns a panel per stage that has logged a loss; each stage maps to the lines of its metrics.jsonl."""
    panels = []
    for stage, rows in stages.items():
        lines = []
        for number, (key, label) in enumerate(TRAINING_LOSSES.items()):
            points = [(float(row["step"]), row[key]) for row in rows if is_positive(row.get(key))]
            if points:
                step, loss = (average_runs(np.array(values, float)) for values in zip(*points, strict=True))
                lines.append(Line(label, color_of(number), step, loss))
        if lines:
            panels.append(Panel(stage, lines, "step", "loss", logarithmic=True))
    return panels


def color_of(number: int) -> str:
    return f"color{number % NUM_COLORS}"


def is_positive(value: object) -> bool:
    """Returns whether a value is a finite number above 0, which a logarithmic axis can show."""
    return isinstance(value, int | float) and 0 < value < float("inf")


def average_runs(values: np.ndarray) -> np.ndarray:
    """Returns at most MOST_POINTS means of as many values each, the last of fewer."""
    size = -(-len(values) // MOST_POINTS)
    return np.array([values[i : i + size].mean() for i in range(0, len(values), size)])


# ----------------------------------------------------------------------------- how it is drawn


def draw_panel(panel: Panel) -> dict[str, Any]:
    """Returns the coordinates of everything in a panel: 'box' (left, top, right, bottom), 'x_ticks' and 'y_ticks' of
    (place, text), 'level', and 'lines' with 'points' and 'band' as attributes of SVG and 'marks' (x, y, text).
    """
    left, top, right = LEFT, TOP, WIDTH - RIGHT
    bottom = HEIGHT - (BOTTOM_WITH_NAMES if panel.names else BOTTOM)
    x = np.concatenate([line.x for line in panel.lines])
    y = np.concatenate([values for line in panel.lines for values in (line.y, *(line.band or ()))])
    x_ends, y_ends = spread_ends(x), spread_ends(y if panel.level is None else np.append(y, panel.level))
    along = make_scale(x_ends, (left, right))
    up = make_scale(y_ends, (bottom, top), panel.logarithmic)
    x_ticks = enumerate(panel.names) if panel.names else choose_ticks(*x_ends)
    return {
        "panel": panel,
        "size": (WIDTH, HEIGHT),
        "box": (left, top, right, bottom),
        "x_ticks": [(float(along(np.array(at))), text) for at, text in x_ticks],
        "y_ticks": [(float(up(np.array(at))), text) for at, text in choose_ticks(*y_ends, panel.logarithmic)],
        "level": None if panel.level is None else float(up(np.array(panel.level))),
        "lines": [draw_line(line, along, up, panel.names) for line in panel.lines],
    }


def draw_line(line: Line, along: Scale, up: Scale, names: Sequence[str]) -> dict[str, Any]:
    """Returns the label, the kind and the coordinates of a line."""
    x, y, band = along(line.x), up(line.y), ""
    if line.band is not None:
        low, high = (up(values) for values in line.band)
        band = join_points([*zip(x, low, strict=True), *zip(x[::-1], high[::-1], strict=True)])
    some = (
        np.unique(np.linspace(0, len(x) - 1, HOVERED_POINTS).astype(int)) if len(x) > MARKED_POINTS else range(len(x))
    )
    marks = [
        (x[i], y[i], f"{line.label}: {line.y[i]:.4g} at {names[i] if names else f'{line.x[i]:.4g}'}") for i in some
    ]
    return {
        "label": line.label,
        "kind": line.kind,
        "points": join_points(zip(x, y, strict=True)),
        "band": band,
        "marks": marks,
        "marked": len(x) <= MARKED_POINTS,
    }


def join_points(points: Any) -> str:
    """Returns points as SVG has them."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def spread_ends(values: np.ndarray) -> tuple[float, float]:
    """Returns the lowest and the highest value, apart where they are one."""
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - abs(low) / 2, high + abs(high) / 2) if low else (-1.0, 1.0)


def make_scale(values: tuple[float, float], places: tuple[float, float], logarithmic: bool = False) -> Scale:
    """Returns the function that takes values to places; `values` and `places` are the ends of both."""
    change = np.log if logarithmic else np.asarray
    return lambda x: np.interp(change(x), change(np.array(values)), np.array(places))


def choose_ticks(low: float, high: float, logarithmic: bool = False) -> Iterator[tuple[float, str]]:
    """Yields round values between two ends, and how they are written: 3 to 6 where the axis is linear."""
    if logarithmic and high > 3 * low:
        powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)))
        values = np.outer(powers, (1,) if high > 1000 * low else (1, 2, 5)).ravel()
    else:
        step = 10.0 ** np.floor(np.log10((high - low) / 3))
        step *= max(k for k in (1, 2, 5) if k * step <= (high - low) / 3)
        values = step * np.arange(np.ceil(low / step), np.floor(high / step) + 1)
    for value in values:
        if low <= value <= high:
            yield float(value), f"{value + 0.0:.6g}"  # no -0
