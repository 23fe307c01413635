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
    for _, window, metadata in read:
        assert metadata["original_size"] == [32, 40] and metadata["colormap"] == "gray"
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
    [(_, read, _)] = examples.read_examples(tmp_path, [item], examples.ReadOptions((50, 64)))
    assert ((read + 1) / 2).mean() == pytest.approx(1 / 200, rel=1e-4)
    assert ((read + 1) / 2)[row // 4] == pytest.approx(1 / 4)
