"""Reading windows: files of another size than the others, or than is expected, are refused by name."""

import numpy as np
import pytest
from PIL import Image

from mdiff_jax.data import examples, sources
from mdiff_jax.runtime.errors import InputError


def write_images(root, *shapes):
    """A gray image of each shape (rows, columns)."""
    items = []
    for k, shape in enumerate(shapes):
        Image.fromarray(np.full(shape, 128, np.uint8)).save(root / f"w_{k}.png")
        items.append(sources.WindowSource(f"w_{k}.png", "a", "w/1", k))
    return items


@pytest.mark.parametrize("expected", [(), ((32, 40),), ((64, 64), (32, 40))])
def test_windows_of_an_expected_size_are_read(tmp_path, expected):
    options = examples.ReadOptions((16, 8), expected_sizes=expected)
    read = list(examples.read_examples(tmp_path, write_images(tmp_path, (32, 40), (32, 40)), options))
    for _, window, frames, metadata in read:
        assert frames == 8 and metadata["original_size"] == [32, 40] and metadata["colormap"] == "gray"
        np.testing.assert_allclose(window, np.full((16, 8, 1), 128 / 255 * 2 - 1), atol=1e-6)


@pytest.mark.parametrize(
    ("shapes", "expected", "message"),
    [
        (((32, 40), (32, 41)), (), r"w_1\.png' is 41x32, 'w_0\.png' is 40x32: one size"),
        (((32, 40),), ((64, 48), (16, 8)), r"w_0\.png' is 40x32, the model's recordings are 48x64: "),
        (((64, 48), (16, 8)), ((64, 48), (16, 8)), r"w_1\.png' is 8x16, 'w_0\.png' is 48x64: one size"),
    ],
)
def test_other_sizes_are_refused_by_name(tmp_path, shapes, expected, message):
    options = examples.ReadOptions((16, 8), expected_sizes=expected)
    with pytest.raises(InputError, match=message):
        list(examples.read_examples(tmp_path, write_images(tmp_path, *shapes), options))


@pytest.mark.parametrize("row", [0, 1, 2, 77])
def test_every_doppler_row_of_a_narrow_window_counts(tmp_path, row):
    """56 frames read at 64 columns and fewer rows: the energy of a single row is kept, wherever it lies."""
    window = np.full((200, 56), -1, np.float32)
    window[row] = 1
    np.savez(tmp_path / "walk.npz", spectrogram=window)
    item = sources.WindowSource("walk.npz#0", "a", "walk/1", -1, 0)
    [(_, read, _, _)] = examples.read_examples(tmp_path, [item], examples.ReadOptions((50, 64)))
    assert ((read + 1) / 2).mean() == pytest.approx(1 / 200, rel=1e-4)
    assert ((read + 1) / 2)[row // 4] == pytest.approx(1 / 4)


UP = np.linspace(-2.0, 4.0, 16)


def write_arrays(root, *files):
    """A file of one window for each dict of its other arrays."""
    items = []
    for k, more in enumerate(files):
        window = np.random.default_rng(k).uniform(-1, 1, (16, 20)).astype(np.float32)
        np.savez(root / f"w_{k}.npz", spectrogram=window, **more)
        items.append(sources.WindowSource(f"w_{k}.npz#0", "a", "w/1", k, 0))
    return items


def write_samples(root, *settings):
    """A file of I/Q samples for each (prf, carrier)."""
    items = []
    for k, (prf, carrier) in enumerate(settings):
        iq = np.random.default_rng(k).normal(size=(round(3 * prf), 2)) @ np.array([1, 1j])
        np.savez(root / f"w_{k}.npz", iq=iq, prf=prf, carrier=carrier)
        items += [sources.WindowSource(f"w_{k}.npz#0", "a", "w/1", k, 0)]
    return items


def read(root, items, **options):
    return list(examples.read_examples(root, items, examples.ReadOptions((16, 8), **options)))


def test_axes_that_are_alike_are_one(tmp_path):
    step = UP[1] - UP[0]
    items = write_arrays(tmp_path, {"velocity": UP}, {"velocity": UP + 0.4 * step}, {"velocity": UP})
    assert read(tmp_path, items)[-1].metadata["velocity"][0] == 4.0
    assert len(read(tmp_path, write_samples(tmp_path, (2000.0, 77e9), (2002.0, 77.1e9)))) == 2


@pytest.mark.parametrize("other", [{"velocity": UP * 1.2}, {"velocity": UP + 1}, {}])
def test_rows_of_other_velocities_are_refused(tmp_path, other):
    for files in (({"velocity": UP}, other), (other, {"velocity": UP})):
        with pytest.raises(InputError, match=r"w_1.*w_0|w_0.*w_1"):
            read(tmp_path, write_arrays(tmp_path, *files))


@pytest.mark.parametrize("other", [(2000.0, 24e9), (2009.0, 77e9)])
def test_other_carriers_and_rates_are_refused(tmp_path, other):
    """At 2009 Hz there are as many rows as at 2000, and frames as long, to 1 %; at other rates there are not."""
    with pytest.raises(InputError, match=r"w_1\.npz"):
        read(tmp_path, write_samples(tmp_path, (2000.0, 77e9), (2040.0, 77e9) if other[0] > 2000 else other))


def test_windows_that_last_longer_are_refused(tmp_path):
    first, longer = examples.Axes(UP[::-1], 2.0), examples.Axes(UP[::-1], 2.1)
    with pytest.raises(InputError, match=r"last 2\.1 s, those of 'first' 2 s"):
        examples.check_axes(tmp_path, longer, "first", first)


def test_axes_of_given_windows_are_those_of_the_model(tmp_path):
    items = write_arrays(tmp_path, {"velocity": UP})
    assert read(tmp_path, items, expected_velocities=tuple(UP[::-1] + 0.1))
    with pytest.raises(InputError, match="those of the model 8 to -4"):
        read(tmp_path, items, expected_velocities=tuple(2 * UP[::-1]))
