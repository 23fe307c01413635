"""Collects what the figures of a report show of measured windows, and plots it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

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


class Pair(NamedTuple):
    """A generated window and the training window most like it, rolled in time to where it is most like it."""

    user: str
    ncc: float
    generated: np.ndarray  # (F, T, 3) uint8
    training: np.ndarray


class Spectra(NamedTuple):
    """Ratios to recorded windows, of each kind by band, and how often each row is not empty."""

    ratios: Mapping[str, tuple[Sequence[str], tuple[np.ndarray, np.ndarray]]]
    generated_occupancy: np.ndarray
    real_occupancy: np.ndarray


class Pictures(NamedTuple):
    """What the figures of a report show; of users some, if there are many."""

    judged: Sequence[str]  # users whom the judges know
    confusion: dict[str, np.ndarray]
    envelopes: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]  # user → envelope → of generated and of real windows
    pairs: list[Pair]
    sheet: dict[str, tuple[np.ndarray, np.ndarray]]  # user → real and generated images (n, F, T, 3) uint8
    zero_doppler: float  # place of zero velocity, as a share of the height from the top
    num_users: int  # who have generated windows
    spectra: Spectra | None  # None where there are too few windows
    points: Sequence[AugmentationPoint]


def collect_pictures(
    users: Sequence[str],
    colormap: str,
    reference: Reference,
    test: MeasuredSet,
    generated: MeasuredSet,
    points: Sequence[AugmentationPoint],
) -> Pictures:
    """Returns what is shown of measured windows; `users` are the names of all users, `points` the augmentation curve or
    empty.
    """
    # ------------------------------------------------------------------- kinematics and appearance
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

    # ------------------------------------------------------------------- similarity
    closest = np.argsort(-generated.similarity)[:NUM_PAIRS]
    copies = generated.window_set.windows[closest]
    originals = memorization.align_in_time(copies, reference.originals.windows[generated.nearest[closest]])
    names = [users[generated.window_set.users[i]] for i in closest]
    similarity = generated.similarity[closest].tolist()
    pairs = zip(names, similarity, to_images(copies, colormap), to_images(originals, colormap), strict=True)

    # ------------------------------------------------------------------- files
    known, measured = generated.pick(generated.window_set.users < reference.num_users), None
    if test.files and smallest_draw(test, known):
        ratios = {kind: spectra.compare_bands(kind, test, known) for kind in spectra.RATIOS}
        measured = Spectra(ratios, *(s.files[spectra.OCCUPANCY].mean(0) for s in (known, test)))
    return Pictures(
        judged=users[: reference.num_users],
        confusion=confusion_tables(test, generated),
        envelopes=envelopes,
        pairs=[Pair(*fields) for fields in pairs],
        sheet=make_sheet(shown, colormap),
        zero_doppler=zero,
        num_users=len(present),
        spectra=measured,
        points=points,
    )


def plot_report_figures(folder: Path, p: Pictures) -> list[str]:
    """Writes confusion.png, envelopes.png, closest.png, sheet.png, spectra.png where there are windows enough and, with
    points, curves.png; returns their names.
    """
    names = ["confusion.png", "envelopes.png", "closest.png", "sheet.png"]
    plots.plot_confusion(folder / "confusion.png", p.confusion, p.judged)
    plots.plot_envelopes(folder / "envelopes.png", p.envelopes, p.num_users)
    copies, originals = (np.stack([pair[k] for pair in p.pairs]) for k in (2, 3))
    plots.plot_pairs(folder / "closest.png", copies, originals, [f"{x.user}, NCC {x.ncc:.3f}" for x in p.pairs])
    render.plot_grid(folder / "sheet.png", p.sheet, p.zero_doppler, every=p.num_users)
    if p.spectra:
        plots.plot_spectra(folder / "spectra.png", *p.spectra)
        names.append("spectra.png")
    if p.points:
        plots.plot_curves(folder / "curves.png", curve_panels(p.points))
        names.append("curves.png")
    return names


def make_sheet(
    users: Mapping[str, tuple[np.ndarray, np.ndarray]], colormap: str
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns images (n, F, T, 3) uint8 of some of the real and of the generated windows (N, F, T) of each user."""

    def show(windows: np.ndarray) -> np.ndarray:
        return to_images(render.spread_windows(windows, WINDOWS_PER_USER), colormap)

    return {user: (show(real), show(generated)) for user, (real, generated) in users.items()}


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
