"""Sheets of spectrograms and curves of figures, as PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def grid(path: Path, rows: Mapping[str, tuple[np.ndarray, np.ndarray]], zero_doppler: float | None) -> None:
    """One row a user: real windows on the left, generated ones on the right.

    `rows` maps a user to two arrays of images (n, F, T, 3) uint8; `zero_doppler` is the place of zero velocity as a
    share of the height from the top, drawn as a tick.
    """
    real = max(len(r) for r, _ in rows.values())
    made = max(len(g) for _, g in rows.values())
    figure = Figure(figsize=(1.5 * (real + made) + 1.2, 1.5 * len(rows) + 0.6), layout="constrained")
    axes = figure.subplots(len(rows), real + made, squeeze=False)
    for line, (user, (reals, generated)) in zip(axes, rows.items(), strict=True):
        for axis in line:
            axis.set_axis_off()
        for axis, image in [*zip(line[:real], reals, strict=False), *zip(line[real:], generated, strict=False)]:
            axis.set_axis_on()
            axis.imshow(image, aspect="auto", interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([] if zero_doppler is None else [zero_doppler * image.shape[0]])
            axis.set_yticklabels([])
        line[0].set_axis_on()
        line[0].set_ylabel(user, fontsize=9)
        if real < len(line):
            for spine in line[real].spines.values():
                spine.set_linewidth(1.5)
    axes[0][0].set_title("real", loc="left", fontsize=10)
    if made:
        axes[0][real].set_title("generated", loc="left", fontsize=10)
    figure.supxlabel("time, about four steps a window; velocity upwards, the tick is zero", fontsize=8)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=110)


def steps(path: Path, rows: Sequence[Mapping[str, Any]], real: Mapping[str, float]) -> None:
    """Identity, kernel distance and seconds an image against the number of steps, a line a sampler."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    names = ("kernel_distance", "identity", "seconds_per_image")
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
        axis.set_title(name.replace("_", " "), fontsize=10)
        axis.legend(fontsize=7)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=110)


def frontier(path: Path, rows: Sequence[Mapping[str, Any]], real: Mapping[str, float]) -> None:
    """Identity against variety, plausibility and copies, a point a setting named by its scales (prior, decoder)."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    for axis, name in zip(figure.subplots(1, 3), ("variety", "plausible", "copies"), strict=True):
        for row in rows:
            s = row["settings"]
            inside = bool(s["sample.guidance_interval"])
            axis.plot(row[name], row["identity"], "s" if inside else "o", color="C1" if inside else "C0")
            label = f"{s['sample.prior_cond_scale']:g}, {s['sample.cond_scale']:g}"
            axis.annotate(label, (row[name], row["identity"]), fontsize=6, xytext=(3, 3), textcoords="offset points")
        axis.plot(real[name], real["identity"], "*", color="black", markersize=11)
        axis.set_xlabel(name)
        axis.set_ylabel("identity")
    figure.suptitle("prior and decoder scale; squares: middle noise levels alone; star: real windows", fontsize=9)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=110)
