"""Sheets of spectrograms, as PNG."""

from collections.abc import Mapping
from pathlib import Path

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
