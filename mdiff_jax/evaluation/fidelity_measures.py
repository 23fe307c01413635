"""Figures of how far generated windows are from recorded ones: as files hold them, then in the features of judges."""

from collections.abc import Iterator

import numpy as np

from mdiff_jax.metrics import bootstrap, distances, kinematics, spectra, two_sample_test
from mdiff_jax.metrics.comparison import (
    FIDELITY,
    Figure,
    compare_means,
    compare_values,
    compare_with_halves,
    leave_out,
    mean_over_draws,
    paired_draws,
    smallest_draw,
)
from mdiff_jax.metrics.reference import OWN_FEATURES, MeasuredSet, Reference

TOLD_APART = "told from recorded ones"


def fidelity_figures(reference: Reference, test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Yields figures of windows as files hold them, where these are measured, then distances."""
    if test.files:
        yield from two_sample_figures(test, generated)
        yield from spectrum_figures(test, generated)
        yield from pixel_figures(test, generated)
    yield from distance_figures(reference, test, generated)


def two_sample_figures(test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Yields the AUC of telling generated windows from recorded ones, by each kind of features; beside it that of
    telling two halves of the recorded ones apart.
    """
    needed, found, kinds = two_sample_test.MIN_WINDOWS, smallest_draw(test, generated), two_sample_test.KINDS
    if found < needed:
        yield from (f for kind in kinds for f in leave_out(FIDELITY, [TOLD_APART], needed, found, kind))
        return
    told = two_sample_test.tell_from_recorded(test, generated)
    for kind in kinds:
        if told is None:
            note = "left out: needs 2 recordings of a user in each half of the real windows, or more users"
            yield Figure(FIDELITY, TOLD_APART, None, None, note, judge=kind)
            continue
        note = "AUC, 0.5: cannot be told; real: two halves"
        if (again := told[kind].rewritten) is not None:
            low, high = bootstrap.percentile_interval(again)
            note += f"; rewritten {again.mean():.3f} ({low:.3f} to {high:.3f})"
        columns = (values[:, None] for values in told[kind][:2])
        for figure in mean_over_draws(FIDELITY, {TOLD_APART: note}, *columns):
            yield figure._replace(judge=kind)


def spectrum_figures(test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Yields, of spectra along both axes and of levels, the widest deviation from recorded windows, then the ratio to
    them in each band.
    """
    for kind, of_what in spectra.RATIOS.items():
        if (found := smallest_draw(test, generated)) < 1:
            yield from leave_out(FIDELITY, [f"{kind}, widest deviation"], 1, found)
            continue
        bands, ratios = spectra.compare_bands(kind, test, generated)
        if not bands:
            note = "left out: needs windows that are not empty"
            yield Figure(FIDELITY, f"{kind}, widest deviation", None, None, note)
            continue
        mean = ratios[0].mean(0)
        widest = int(np.abs(mean - 1).argmax())
        note = f"of the ratio of {of_what} to 1; here {mean[widest]:.3f} at {bands[widest]}"
        notes = {f"{kind}, widest deviation": note}
        yield from mean_over_draws(FIDELITY, notes, *(np.abs(r - 1).max(1, keepdims=True) for r in ratios))
        notes = {f"{kind}, {band}": f"ratio of {of_what}, generated to recorded" for band in bands}
        yield from (f._replace(detail=True) for f in mean_over_draws(FIDELITY, notes, *ratios))


def pixel_figures(test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Yields figures of what is empty, of the highest return, and of starts and stops."""
    sets = (generated, test)
    notes = {"occupancy by row": "mean difference, over rows, of the share of pixels that are not empty"}
    if found := smallest_draw(test, generated):
        yield from mean_over_draws(FIDELITY, notes, *compare_with_halves(spectra.occupancy_difference, test, generated))
    else:
        yield from leave_out(FIDELITY, notes, 1, found)
    empty = [1 - s.files[spectra.OCCUPANCY].mean(1) for s in sets]
    yield compare_means(FIDELITY, "empty share", "pixels of a file at the floor", empty, sets)
    note = "median, pixels of a file above zero Doppler"
    yield compare_values(FIDELITY, "highest return", note, lambda s: float(np.median(s.files[spectra.HIGHEST])), sets)
    note = "windows whose torso, averaged over a step, changes its speed by more than a third"
    yield compare_means(
        FIDELITY, "starts and stops", note, [kinematics.is_start_or_stop(s.physics) for s in sets], sets
    )


def distance_figures(reference: Reference, test: MeasuredSet, generated: MeasuredSet) -> Iterator[Figure]:
    """Yields distances to halves of the test windows; beside them those of the other halves, and those of training
    windows, the best that a model could learn. All metrics in the features of the judge whose verdict counts and of the
    caller's own function; the kernel distance in all features.
    """
    full, found = (generated.verdict_judge, OWN_FEATURES), smallest_draw(test, generated)
    rows = bootstrap.pair_rows_by_user(test.window_set.users, reference.train.users, np.random.default_rng(0))
    for name, extract in reference.extractors.items():
        measure, notes, lacking = distances.make_distance_measure(name in full, found)
        if notes:
            real, learnt = test.features[name], extract(reference.train.windows)[rows]
            values = [
                [measure(x, real[half]) for x in (generated.features[name][chosen], real[other], learnt[other])]
                for chosen, half, other in paired_draws(test, generated)
            ]
            of_generated, of_real, of_training = (np.array(v) for v in zip(*values, strict=True))
            notes = {
                metric: f"{note}; of training windows {v:.3f}"
                for (metric, note), v in zip(notes.items(), of_training.mean(0), strict=True)
            }
            for figure in mean_over_draws(FIDELITY, notes, of_generated, of_real):
                yield figure._replace(judge=name)
        for metric, needed in lacking.items():
            yield from leave_out(FIDELITY, [metric], needed, found, name)
