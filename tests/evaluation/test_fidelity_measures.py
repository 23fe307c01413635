"""Laws of the figures that see fidelity, on walkers."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter1d
from walker_sets import ZERO_DOPPLER, walker_sets

from mdiff_jax.evaluation import fidelity_measures, report
from mdiff_jax.metrics import reference, spectra, two_sample_test
from mdiff_jax.metrics.reference import MeasuredSet, WindowSet

TOLD = fidelity_measures.TOLD_APART


@pytest.fixture(scope="module")
def judges():
    return reference.make_reference(walker_sets()[1], ZERO_DOPPLER, convolutional=False)


def measured(judges, windows: WindowSet) -> MeasuredSet:
    found = judges.measure(windows, overlaps=False)
    return found._replace(files=spectra.measure_files(windows.windows, ZERO_DOPPLER))


def judged(judges, change) -> dict:
    """Figures of real windows, changed, as if they were generated."""
    test = walker_sets()[0]  # the larger set
    made = WindowSet(np.ascontiguousarray(change(test.windows), np.float32), test.users)
    figures = fidelity_measures.fidelity_figures(judges, measured(judges, test), measured(judges, made))
    return {f.name: f for f in figures}


@pytest.fixture(scope="module")
def softened(judges):
    return judged(judges, lambda x: uniform_filter1d(x, 3, axis=1))


@pytest.mark.thorough
def test_smoothing_is_told_and_named(softened):
    told = [f for f in softened.values() if f.metric == TOLD]
    assert {f.judge for f in told} == set(two_sample_test.KINDS)
    assert softened[f"{TOLD}, gradients"].generated > 0.95 > 0.75 > softened[f"{TOLD}, gradients"].real_range[1]
    widest = softened["Doppler spectrum, widest deviation"]
    assert widest.generated > 3 * widest.real and "2.67 to 4 pixels" in widest.note
    distance = softened["kernel distance, linear judge"]
    assert "give them away most" in report.fidelity_sentence(told, distance)


@pytest.mark.thorough
def test_real_windows_as_samples_score_as_real(judges):
    f = judged(judges, lambda x: x)
    told = [figure for figure in f.values() if figure.metric == TOLD]
    assert all(figure.generated < 0.65 for figure in told)
    assert "do not give them away" in report.fidelity_sentence(told, f["kernel distance, linear judge"])
    for name in ("empty share", "highest return", "starts and stops"):
        assert f[name].generated == pytest.approx(f[name].real, abs=1e-6)
    for name in ("Doppler spectrum", "time spectrum", "levels"):
        widest = f[f"{name}, widest deviation"]
        assert widest.generated < 1.2 * widest.real + 0.02
    assert f["occupancy by row"].generated < 1.2 * f["occupancy by row"].real


@pytest.mark.thorough
def test_a_table_shows_the_widest_deviation_and_leaves_bands_to_the_file(softened):
    figures = list(softened.values())
    assert figures[0].metric == TOLD, "the section begins with what gives windows away"
    shown = "\n".join(report.format_table("?", figures))
    assert "levels, widest deviation" in shown and "levels, 0.00 to 0.06" not in shown
    assert "levels, 0.00 to 0.06" in softened


@pytest.mark.thorough
def test_too_few_windows_are_said(judges):
    test = measured(judges, walker_sets()[0])
    few = test.pick(np.arange(two_sample_test.MIN_WINDOWS - 1))
    for made in (few, few.pick(np.arange(0))):
        figures = list(fidelity_measures.fidelity_figures(judges, test, made))
        told = [f for f in figures if f.metric == TOLD]
        assert len(told) == 5 and all(f.generated is None and "needs 10 windows" in f.note for f in told)
        for figure in figures:
            assert None not in (figure.generated, figure.real) or figure.note.startswith("left out: needs"), figure
    alone = test.pick(np.flatnonzero(test.window_set.recordings == "walk_01/1"))
    alone = alone.pick(np.flatnonzero(alone.window_set.users == 0))
    many = alone._replace(window_set=alone.window_set._replace(gap=0)).pick(np.tile(np.arange(alone.count()), 20))
    times = many.window_set._replace(indices=np.arange(many.count()))
    figures = fidelity_measures.two_sample_figures(many._replace(window_set=times), many)
    assert all("2 recordings of a user" in f.note for f in figures)
