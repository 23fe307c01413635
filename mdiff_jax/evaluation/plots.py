"""The plots of a report and of a sweep, as PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mdiff_jax.data import render
from mdiff_jax.metrics.paired_gain import Estimate

GENERATED_COLOUR, REAL_COLOUR = "#1f5fa8", "#555555"
MAX_TABLE_SIZE, MAX_NAMES = 12, 50  # of a confusion table: inches a side, and names along it


def plot_confusion(path: Path, tables: Mapping[str, np.ndarray], users: Sequence[str]) -> None:
    """Plots a panel per table (users, users) of counts, as shares of a row: row the user, column the judge's answer."""
    size = min(1.4 + 0.22 * len(users), MAX_TABLE_SIZE)
    figure = Figure(figsize=(size * len(tables) + 0.5, size + 0.6), layout="constrained")
    some = render.spread_rows(range(len(users)), MAX_NAMES)
    names = [users[i] for i in some]
    for axis, (title, table) in zip(figure.subplots(1, len(tables), squeeze=False)[0], tables.items(), strict=True):
        axis.imshow(table / np.maximum(table.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
        axis.set_title(title, fontsize=8)
        axis.set_xticks(some, names, rotation=90, fontsize=6)
        axis.set_yticks(some, names, fontsize=6)
    figure.supxlabel("named by the judge", fontsize=8)
    figure.supylabel("who it is", fontsize=8)
    render.save_figure(figure, path)


def plot_envelopes(path: Path, users: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]], every: int) -> None:
    """Plots a panel for each of some of `every` users: of each envelope ('highest', 'torso' …) of generated and of real
    windows (n, T), in shares of the height above zero Doppler, the median and the 10th to 90th percentile.
    """
    columns = min(4, len(users))
    rows = -(-len(users) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.1 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axis in axes[len(users) :]:
        axis.set_axis_off()
    for axis, (user, curves) in zip(axes, users.items(), strict=False):
        for generated, real in curves.values():
            lines = ((real, REAL_COLOUR, "real, unseen"), (generated, GENERATED_COLOUR, "generated"))
            for windows, colour, label in lines:
                low, middle, high = np.percentile(windows, [10, 50, 90], axis=0)
                place = np.linspace(0, 4, len(middle))
                axis.fill_between(place, low, high, color=colour, alpha=0.2, linewidth=0)
                axis.plot(place, middle, color=colour, linewidth=1, label=label)
        axis.axhline(0, color="black", linewidth=0.5)
        axis.set_title(user, fontsize=8)
        axis.tick_params(labelsize=6)
    handles, labels = axes[0].get_legend_handles_labels()
    axes[0].legend(handles[:2], labels[:2], fontsize=6)
    caption = "time in steps, windows shifted so that steps coincide" + render.shown_of(len(users), every, "users")
    figure.supxlabel(caption, fontsize=8)
    figure.supylabel("above zero Doppler, share of the height", fontsize=8)
    render.save_figure(figure, path)


def plot_pairs(path: Path, generated: np.ndarray, training: np.ndarray, titles: Sequence[str]) -> None:
    """Plots generated windows above, the training windows most like them below; images (n, F, T, 3) uint8."""
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
    render.save_figure(figure, path)


def plot_spectra(
    path: Path,
    ratios: Mapping[str, tuple[Sequence[str], tuple[np.ndarray, np.ndarray]]],
    generated_occupancy: np.ndarray,
    real_occupancy: np.ndarray,
) -> None:
    """Plots a panel for each kind of ratio to recorded windows, by band: (names, (draws, bands) of generated and of
    real windows), the mean and the 5th to 95th percentile; and how often each row is not empty.
    """
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    *axes, last = figure.subplots(1, len(ratios) + 1)
    for axis, (kind, (bands, (generated, real))) in zip(axes, ratios.items(), strict=True):
        for draws, colour, label in ((real, REAL_COLOUR, "real, unseen"), (generated, GENERATED_COLOUR, "generated")):
            low, high = np.percentile(draws, [5, 95], axis=0)
            axis.fill_between(range(len(bands)), low, high, color=colour, alpha=0.2, linewidth=0)
            axis.plot(draws.mean(0), ".-", color=colour, linewidth=1, label=label)
        axis.axhline(1, color="black", linewidth=0.5)
        axis.set_xticks(range(len(bands)), bands, rotation=90, fontsize=6)
        axis.set_title(f"{kind}, ratio to recorded", fontsize=8)
        axis.tick_params(axis="y", labelsize=6)
    axes[0].legend(fontsize=6)
    for occupancy, colour in ((real_occupancy, REAL_COLOUR), (generated_occupancy, GENERATED_COLOUR)):
        last.plot(occupancy, range(len(occupancy)), color=colour, linewidth=1)
    last.invert_yaxis()
    last.set_title("share of a row that is not empty", fontsize=8)
    last.set_ylabel("row", fontsize=8)
    last.tick_params(labelsize=6)
    render.save_figure(figure, path)


def plot_curves(path: Path, panels: Mapping[str, Mapping[str, Sequence[tuple[float, float, float, float]]]]) -> None:
    """Plots a panel per budget with a line per source; points are (share added, accuracy, lowest, highest)."""
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
    render.save_figure(figure, path)


def plot_gains(path: Path, panels: Mapping[str, Mapping[str, Sequence[tuple[str, Estimate]]]]) -> None:
    """Plots a panel per judge: of each row its gains with their intervals, in points, side by side at each budget."""
    figure = Figure(figsize=(4.2 * len(panels) + 2.6, 3.8), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, (judge, rows) in zip(axes, panels.items(), strict=True):
        budgets = list(dict.fromkeys(budget for points in rows.values() for budget, _ in points))
        for number, (row, points) in enumerate(rows.items()):
            places = [budgets.index(budget) + 0.8 * ((number + 0.5) / len(rows) - 0.5) for budget, _ in points]
            values = [100 * gain.value for _, gain in points]
            ends = [[100 * x for x in gain.interval or (gain.value, gain.value)] for _, gain in points]
            axis.plot(places, values, "o", color=f"C{number}", markersize=3, label=row)
            axis.vlines(places, *zip(*ends, strict=True), color=f"C{number}", linewidth=1)
        axis.axhline(0, color="black", linewidth=0.5)
        axis.set_xticks(range(len(budgets)), budgets)
        axis.set_title(f"{judge} judge", fontsize=8)
        axis.tick_params(labelsize=7)
    axes[0].set_ylabel("gain over recorded windows alone, points", fontsize=8)
    figure.supxlabel("recorded windows a user", fontsize=8)
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=7, loc="outside right upper")
    render.save_figure(figure, path)


def plot_steps(path: Path, rows: Sequence[Mapping[str, Any]], real: Mapping[str, float]) -> None:
    """Plots kernel distance, the judge's accuracy and seconds per image against sampling steps, a line per sampler."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    names = ("kernel distance", "accuracy", "seconds per image")
    for axis, name in zip(figure.subplots(1, 3), names, strict=True):
        for sampler in dict.fromkeys(row["settings"]["sample.sampler"] for row in rows):
            mine = [row for row in rows if row["settings"]["sample.sampler"] == sampler and name in row]
            axis.plot(
                [r["settings"]["decoder.sample_timesteps"] for r in mine], [r[name] for r in mine], "o-", label=sampler
            )
        if name in real:
            axis.axhline(real[name], color="grey", linestyle="--", label="real")
        axis.set_xscale("log", base=2)
        axis.set_xlabel("sampling steps")
        axis.set_title(name, fontsize=10)
        axis.legend(fontsize=7)
    render.save_figure(figure, path)


def plot_frontier(path: Path, rows: Sequence[Mapping[str, Any]], real: Mapping[str, float]) -> None:
    """Plots the judge's accuracy against variety, plausibility and copies, a labelled point per setting."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    for axis, name in zip(figure.subplots(1, 3), ("variety", "plausible", "copies"), strict=True):
        for row in [row for row in rows if name in row and name in real]:
            axis.plot(row[name], row["accuracy"], "o", color="C0")
            label = ", ".join(str(value) for value in row["settings"].values())
            axis.annotate(label, (row[name], row["accuracy"]), fontsize=6, xytext=(3, 3), textcoords="offset points")
        if name in real:
            axis.plot(real[name], real["accuracy"], "*", color="black", markersize=11)
        axis.set_xlabel(name)
        axis.set_ylabel("accuracy of the judge")
    names = ", ".join(name.rpartition(".")[2].replace("_", " ") for name in rows[0]["settings"])
    figure.suptitle(f"{names}; star: real windows", fontsize=9)
    render.save_figure(figure, path)
