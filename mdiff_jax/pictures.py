"""Sheets of spectrograms and the figures of a report, as PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BLUE, GREY = "#1f5fa8", "#555555"  # generated, real


def grid(
    path: Path,
    rows: Mapping[str, tuple[np.ndarray, np.ndarray]],
    zero_doppler: float | None,
    *,
    velocity: Sequence[float] | None = None,
    seconds: float | None = None,
) -> None:
    """One row a user: real windows, if there are any, on the left, generated ones on the right.

    `rows` maps a user to two arrays of images (n, F, T, 3) uint8; `zero_doppler` is the place of zero velocity as a
    share of the height from the top, drawn as a tick. `velocity` of each of the rows that the model works at in m/s,
    highest first, and `seconds`, the duration of a window, label the axes.
    """
    real = max(len(r) for r, _ in rows.values())
    made = max(len(g) for _, g in rows.values())
    shape = next(iter(rows.values()))[1].shape[1:3]
    width = 1.5 * max(1.0, shape[1] / shape[0])
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
        line[0].set_ylabel(user, fontsize=9)
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
    figure.supxlabel(caption(velocity, seconds), fontsize=8)
    save(figure, path)


def confusion(path: Path, tables: Mapping[str, np.ndarray], users: Sequence[str]) -> None:
    """A panel a table (users, users) of counts: row who it is, column whom the judge names; shares of a row."""
    size = 1.4 + 0.22 * len(users)
    figure = Figure(figsize=(size * len(tables) + 0.5, size + 0.6), layout="constrained")
    every = range(len(users))
    for axis, (title, table) in zip(figure.subplots(1, len(tables), squeeze=False)[0], tables.items(), strict=True):
        axis.imshow(table / np.maximum(table.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
        axis.set_title(title, fontsize=8)
        axis.set_xticks(every, users, rotation=90, fontsize=6)
        axis.set_yticks(every, users, fontsize=6)
    figure.supxlabel("named by the judge", fontsize=8)
    figure.supylabel("who it is", fontsize=8)
    save(figure, path)


def envelopes(path: Path, users: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]]) -> None:
    """A panel a user: of each envelope ('highest', 'torso' …) the windows generated and real (n, T), in shares of the
    height above zero Doppler; median and the middle four fifths.
    """
    columns = min(4, len(users))
    rows = -(-len(users) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.1 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axis in axes[len(users) :]:
        axis.set_axis_off()
    for axis, (user, curves) in zip(axes, users.items(), strict=False):
        for made, real in curves.values():
            for windows, colour, label in ((real, GREY, "real, unseen"), (made, BLUE, "generated")):
                low, middle, high = np.percentile(windows, [10, 50, 90], axis=0)
                place = np.linspace(0, 4, len(middle))
                axis.fill_between(place, low, high, color=colour, alpha=0.2, linewidth=0)
                axis.plot(place, middle, color=colour, linewidth=1, label=label)
        axis.axhline(0, color="black", linewidth=0.5)
        axis.set_title(user, fontsize=8)
        axis.tick_params(labelsize=6)
    handles, labels = axes[0].get_legend_handles_labels()
    axes[0].legend(handles[:2], labels[:2], fontsize=6)
    figure.supxlabel("time in steps, windows shifted so that steps coincide", fontsize=8)
    figure.supylabel("above zero Doppler, share of the height", fontsize=8)
    save(figure, path)


def pairs(path: Path, generated: np.ndarray, training: np.ndarray, titles: Sequence[str]) -> None:
    """Generated windows above, the training windows most like them below; images (n, F, T, 3) uint8."""
    figure = Figure(figsize=(1.5 * len(titles) + 0.6, 3.4), layout="constrained")
    axes = figure.subplots(2, len(titles), squeeze=False)
    for line, images in zip(axes, (generated, training), strict=True):
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image, aspect="auto", interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=7)
    axes[0][0].set_ylabel("generated", fontsize=8)
    axes[1][0].set_ylabel("training, shifted", fontsize=8)
    save(figure, path)


def curves(path: Path, panels: Mapping[str, Mapping[str, Sequence[tuple[float, float, float, float]]]]) -> None:
    """A panel a budget, a line a source: points (share added, accuracy, lowest, highest)."""
    figure = Figure(figsize=(3.2 * len(panels) + 0.4, 3.2), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, (title, lines) in zip(axes, panels.items(), strict=True):
        for source, points in lines.items():
            share, middle, low, high = np.array(points).T
            style = dict(color="black", linewidth=2) if source == "generated" else dict(linewidth=1, alpha=0.8)
            axis.errorbar(100 * share, middle, (middle - low, high - middle), label=source, capsize=2, **style)
        axis.set_title(title, fontsize=8)
        axis.tick_params(labelsize=7)
    axes[0].legend(fontsize=7)
    axes[0].set_ylabel("accuracy on real unseen windows", fontsize=8)
    figure.supxlabel("added, % of the real windows", fontsize=8)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=110)


def spread(windows: np.ndarray, columns: int) -> np.ndarray:
    """A sheet's row of them, from first to last: neighbours are of one walk and alike."""
    return windows[np.linspace(0, len(windows) - 1, min(columns, len(windows))).astype(int)]


def caption(velocity: Sequence[float] | None, seconds: float | None) -> str:
    time = "time, about four steps a window" if seconds is None else "time in s"
    return f"{time}; velocity {'upwards, the tick is zero' if velocity is None else 'in m/s'}"


def label_velocity(axis: Axes, velocity: Sequence[float]) -> None:
    """Whole m/s; `velocity` is of the rows, highest first."""
    v, place = np.asarray(velocity)[::-1], ((np.arange(len(velocity)) + 0.5) / len(velocity))[::-1]
    whole = np.arange(np.ceil(v[0]), np.floor(v[-1]) + 1, max(1, round((v[-1] - v[0]) / 4)))
    axis.set_yticks(np.interp(whole, v, place))
    axis.set_yticklabels([f"{x:g}" for x in whole], fontsize=6)


def label_time(axis: Axes, seconds: float) -> None:
    """Whole seconds."""
    whole = np.arange(0, seconds + 1e-6)
    axis.set_xticks(whole / seconds)
    axis.set_xticklabels([f"{x:g}" for x in whole], fontsize=6)


def steps(path: Path, rows: Sequence[Mapping[str, Any]], real: Mapping[str, float]) -> None:
    """Accuracy of the judge, kernel distance and seconds an image against the number of steps, a line a sampler."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    names = ("kernel distance", "accuracy", "seconds per image")
    for axis, name in zip(figure.subplots(1, 3), names, strict=True):
        for sampler in dict.fromkeys(row["settings"]["sample.sampler"] for row in rows):
            mine = [row for row in rows if row["settings"]["sample.sampler"] == sampler]
            axis.plot(
                [r["settings"]["decoder.sample_timesteps"] for r in mine], [r[name] for r in mine], "o-", label=sampler
            )
        if name in real:
            axis.axhline(real[name], color="grey", linestyle="--", label="real")
        axis.set_xscale("log", base=2)
        axis.set_xlabel("sampling steps")
        axis.set_title(name, fontsize=10)
        axis.legend(fontsize=7)
    save(figure, path)


def frontier(path: Path, rows: Sequence[Mapping[str, Any]], real: Mapping[str, float]) -> None:
    """The judge's accuracy against variety, plausibility and copies, a point a setting, named by its values."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    for axis, name in zip(figure.subplots(1, 3), ("variety", "plausible", "copies"), strict=True):
        for row in rows:
            axis.plot(row[name], row["accuracy"], "o", color="C0")
            label = ", ".join(str(value) for value in row["settings"].values())
            axis.annotate(label, (row[name], row["accuracy"]), fontsize=6, xytext=(3, 3), textcoords="offset points")
        axis.plot(real[name], real["accuracy"], "*", color="black", markersize=11)
        axis.set_xlabel(name)
        axis.set_ylabel("accuracy of the judge")
    names = ", ".join(name.rpartition(".")[2].replace("_", " ") for name in rows[0]["settings"])
    figure.suptitle(f"{names}; star: real windows", fontsize=9)
    save(figure, path)
