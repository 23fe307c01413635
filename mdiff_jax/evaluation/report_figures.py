"""The pictures of a report, from what was measured."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mdiff_jax.data import export, render
from mdiff_jax.evaluation import plots
from mdiff_jax.metrics import identity, kinematics, memorization
from mdiff_jax.metrics.augmentation_utility import AugmentationPoint
from mdiff_jax.metrics.reference import MeasuredSet, Reference
from mdiff_jax.runtime.array_types import Windows

CLOSEST = 8  # pairs on the sheet
COLUMNS = 5  # windows of a user, real and generated each


def draw_report_figures(
    folder: Path,
    users: Sequence[str],
    colormap: str,
    stick: Reference,
    test: MeasuredSet,
    generated: MeasuredSet,
    points: Sequence[AugmentationPoint],
) -> list[str]:
    """confusion.png, envelopes.png, closest.png, sheet.png and, of a curve, curves.png; their names."""
    # ------------------------------------------------------------------- whom do the judges name?
    plots.plot_confusion(folder / "confusion.png", confusion_tables(test, generated), users)

    # ------------------------------------------------------------------- how do they walk?
    zero = stick.zero_doppler
    of_user = {
        users[u]: [s.set.windows[s.set.users == u] for s in (test, generated)] for u in np.unique(generated.set.users)
    }
    both = {user: [aligned_envelopes(windows, zero) for windows in reversed(sets)] for user, sets in of_user.items()}
    bands = {user: {k: (made[k], real[k]) for k in made} for user, (made, real) in both.items()}
    plots.plot_envelopes(folder / "envelopes.png", bands)

    # ------------------------------------------------------------------- what are they like?
    nearest = np.argsort(-generated.similarity)[:CLOSEST]
    made = generated.set.windows[nearest]
    seen = memorization.align_in_time(made, stick.train.windows[generated.nearest[nearest]])
    titles = [f"{users[generated.set.users[i]]}, NCC {generated.similarity[i]:.3f}" for i in nearest]
    plots.plot_pairs(folder / "closest.png", to_images(made, colormap), to_images(seen, colormap), titles)
    rows = {
        u: tuple(to_images(render.spread_windows(x, COLUMNS), colormap) for x in sets) for u, sets in of_user.items()
    }
    render.plot_grid(folder / "sheet.png", rows, zero)

    # ------------------------------------------------------------------- do they help?
    if points:
        plots.plot_curves(folder / "curves.png", curve_panels(points))
    return ["confusion.png", "envelopes.png", "closest.png", "sheet.png"] + ["curves.png"] * bool(points)


def confusion_tables(test: MeasuredSet, generated: MeasuredSet) -> dict[str, np.ndarray]:
    """Of each judge, for generated and for unseen windows: row who it is, column whom the judge names."""
    return {
        f"{kind}, {judge}": identity.confusion_matrix(p, s.set.users)
        for kind, s in (("generated", generated), ("real", test))
        for judge, p in s.probabilities.items()
    }


def aligned_envelopes(windows: Windows, zero: float) -> dict[str, np.ndarray]:
    """Envelopes (n, T) rolled in time so that the steps of all windows coincide."""
    found = kinematics.measure_envelopes(windows, zero)
    by = kinematics.align_steps(found["highest"])
    return {k: np.stack([np.roll(e, n) for e, n in zip(v, by, strict=True)]) for k, v in found.items()}


def to_images(windows: Windows, colormap: str) -> np.ndarray:
    """(N, F, T) → (N, F, T, 3) uint8."""
    return export.to_image(windows[..., None], colormap)


def curve_panels(points: Sequence[AugmentationPoint]) -> dict[str, dict[str, list[tuple[float, float, float, float]]]]:
    """A panel a budget, a line a source that begins where nothing is added."""
    found = {}
    for budget in dict.fromkeys(p.budget for p in points):
        mine = [p for p in points if p.budget == budget]
        found[f"{budget or 'all'} real windows a user"] = {
            source: [(p.share, p.accuracy, p.low, p.high) for p in mine if p.source in ("real", source)]
            for source in dict.fromkeys(p.source for p in mine if p.share)
        }
    return found
