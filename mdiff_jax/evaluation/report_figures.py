"""Plots the figures of a report from measured windows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mdiff_jax.data import export, render
from mdiff_jax.evaluation import plots
from mdiff_jax.metrics import identity, kinematics, memorization, spectra
from mdiff_jax.metrics.augmentation_utility import AugmentationPoint
from mdiff_jax.metrics.comparison import smallest_draw
from mdiff_jax.metrics.reference import MeasuredSet, Reference
from mdiff_jax.runtime.array_types import Windows

NUM_PAIRS = 8  # of a generated window and the training window most like it
WINDOWS_PER_USER = 5  # on the sheet, real and generated each


def plot_report_figures(
    folder: Path,
    users: Sequence[str],
    colormap: str,
    reference: Reference,
    test: MeasuredSet,
    generated: MeasuredSet,
    points: Sequence[AugmentationPoint],
) -> list[str]:
    """Writes confusion.png, envelopes.png, closest.png, sheet.png, spectra.png where there are windows enough and, with
    points, curves.png; returns their names.
    """
    names = ["confusion.png", "envelopes.png", "closest.png", "sheet.png"]
    # ------------------------------------------------------------------- identity
    plots.plot_confusion(folder / "confusion.png", confusion_tables(test, generated), users[: reference.num_users])

    # ------------------------------------------------------------------- kinematics
    zero, present = reference.zero_doppler, np.unique(generated.window_set.users).tolist()
    sets = (test.window_set, reference.originals, generated.window_set)
    shown = {}
    for user in render.spread_rows(present):
        unseen, original, made = (s.windows[s.users == user] for s in sets)
        shown[users[user]] = (unseen if len(unseen) else original, made)  # enrolled users have no unseen ones
    envelopes = {}
    for user, pair in shown.items():
        real, sampled = (aligned_envelopes(windows, zero) for windows in pair)
        envelopes[user] = {name: (sampled[name], real[name]) for name in sampled}
    plots.plot_envelopes(folder / "envelopes.png", envelopes, len(present))

    # ------------------------------------------------------------------- similarity and appearance
    closest = np.argsort(-generated.similarity)[:NUM_PAIRS]
    copies = generated.window_set.windows[closest]
    originals = memorization.align_in_time(copies, reference.originals.windows[generated.nearest[closest]])
    titles = [f"{users[generated.window_set.users[i]]}, NCC {generated.similarity[i]:.3f}" for i in closest]
    plots.plot_pairs(folder / "closest.png", to_images(copies, colormap), to_images(originals, colormap), titles)
    rows = {
        user: tuple(to_images(render.spread_windows(windows, WINDOWS_PER_USER), colormap) for windows in pair)
        for user, pair in shown.items()
    }
    render.plot_grid(folder / "sheet.png", rows, zero, every=len(present))

    # ------------------------------------------------------------------- files
    known = generated.pick(generated.window_set.users < reference.num_users)
    if test.files and smallest_draw(test, known):
        ratios = {kind: spectra.compare_bands(kind, test, known) for kind in spectra.RATIOS}
        occupancy = [s.files[spectra.OCCUPANCY].mean(0) for s in (known, test)]
        plots.plot_spectra(folder / "spectra.png", ratios, *occupancy)
        names.append("spectra.png")

    # ------------------------------------------------------------------- usefulness
    if points:
        plots.plot_curves(folder / "curves.png", curve_panels(points))
        names.append("curves.png")
    return names


def confusion_tables(test: MeasuredSet, generated: MeasuredSet) -> dict[str, np.ndarray]:
    """Returns a table per judge, for generated and for unseen windows: rows are users, columns the judge's answers."""
    return {
        f"{kind}, {judge}": identity.confusion_matrix(p, s.window_set.users)
        for kind, s in (("generated", generated), ("real", test))
        for judge, p in s.probabilities.items()
    }


def aligned_envelopes(windows: Windows, zero: float) -> dict[str, np.ndarray]:
    """Returns envelopes (n, T) rolled in time so that the steps of all windows coincide."""
    envelopes = kinematics.measure_envelopes(windows, zero)
    shifts = kinematics.align_steps(envelopes["highest"])
    return {k: np.stack([np.roll(e, n) for e, n in zip(v, shifts, strict=True)]) for k, v in envelopes.items()}


def to_images(windows: Windows, colormap: str) -> np.ndarray:
    """Converts (N, F, T) to colours, (N, F, T, 3) uint8."""
    return export.to_image(windows[..., None], colormap)


def curve_panels(points: Sequence[AugmentationPoint]) -> dict[str, dict[str, list[tuple[float, float, float, float]]]]:
    """Returns a panel per budget with a line per source that begins where nothing is added."""
    panels = {}
    for budget in dict.fromkeys(p.budget for p in points):
        of_budget = [p for p in points if p.budget == budget]
        panels[f"{budget or 'all'} real windows a user"] = {
            source: [(p.share, p.accuracy, p.low, p.high) for p in of_budget if p.source in ("real", source)]
            for source in dict.fromkeys(p.source for p in of_budget if p.share)
        }
    return panels
