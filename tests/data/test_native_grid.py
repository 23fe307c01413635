"""The native grid: windows written as image files come back with their frames, and what was not seen is not made up."""

import itertools
import json

import numpy as np
import pytest
from PIL import Image
from recordings import prepare
from scipy.ndimage import gaussian_filter

from mdiff_jax.data import builders, colormap, examples, export, images, native_grid, sources, spectrogram
from mdiff_jax.data.native_grid import FileFormat
from mdiff_jax.runtime.errors import InputError

SIZE = (128, 256)
SHARP, SOFT = FileFormat(), FileFormat(soft_edges=True, row_blocks=False)
TABLES = tuple(tuple(int(n) for n in np.clip(np.arange(1, 65) * k // 2, 1, 255)) for k in (1, 2))


def make_levels(frames: int, rows: int = 128) -> np.ndarray:
    """A window in 256 levels: returns that change from frame to frame, on an empty ground."""
    noise = np.random.default_rng(frames).normal(size=(rows, frames))
    smooth = gaussian_filter(noise, (2, 0.6))
    return (np.round((smooth / smooth.max()).clip(0, 1) * 255) / 255).astype(np.float32)


def metadata_of(file_format: FileFormat, size: tuple[int, int] = SIZE) -> dict:
    values = json.loads(json.dumps(file_format.to_json()))
    return {"native": True, "original_size": list(size), "colormap": "jet", "file_format": values}


def write(path, levels: np.ndarray, file_format: FileFormat, columns: int = 128) -> None:
    """Writes a window on a canvas."""
    canvas, frames = native_grid.place_on_canvas(levels * 2 - 1, (len(levels), columns))
    export.write_window(path, canvas[..., None], frames, metadata_of(file_format))


def read(path, rows: int = 128, columns: int = 128) -> tuple[np.ndarray, int]:
    """Reads a window back from nothing but its file."""
    item = sources.WindowSource(path.name, "a", "w/1", 1)
    options = examples.ReadOptions((rows, columns), native_frames=True)
    [example] = examples.read_examples(path.parent, [item], options)
    assert example.metadata["native"]
    assert (example.window[:, example.frames :] == -1).all(), "padding"
    return (example.window[:, : example.frames, 0] + 1) / 2, example.frames


FRAMES = [30, 49, 57, 64, 82, 96, 110]


@pytest.mark.parametrize("frames", FRAMES)
def test_lossless_files_with_sharp_edges_come_back_as_they_were(tmp_path, frames):
    levels = make_levels(frames)
    write(tmp_path / "w.png", levels, SHARP)
    back, count = read(tmp_path / "w.png")
    assert count == frames
    np.testing.assert_array_equal(np.round(back * 255), np.round(levels * 255))


@pytest.mark.parametrize("frames", FRAMES)
@pytest.mark.parametrize(
    ("suffix", "file_format", "error"), [("png", SOFT, 0.5), ("jpg", SOFT, 2.5), ("jpg", SHARP, 2.5)]
)
def test_other_files_come_back_but_for_the_compression(tmp_path, frames, suffix, file_format, error):
    levels = make_levels(frames)
    write(tmp_path / f"w.{suffix}", levels, file_format)
    back, count = read(tmp_path / f"w.{suffix}")
    assert count == frames
    assert abs(back - levels).mean() * 255 < error


@pytest.mark.parametrize("file_format", [SOFT, SHARP])
def test_jpeg_is_read_better_than_by_its_blocks_and_written_again_the_same(tmp_path, file_format):
    levels, path = make_levels(64), tmp_path / "w.jpg"
    write(path, levels, file_format)
    image = images.read_image(path)
    pixels = colormap.to_scalar(image, "jet")
    blocks = native_grid.average_blocks(pixels, 64, file_format.soft_edges)
    found = native_grid.read_file_format(path)._replace(soft_edges=file_format.soft_edges)
    back = native_grid.read_levels(image, pixels, 64, found, "jet")
    assert abs(back - levels).mean() < 0.7 * abs(blocks - levels).mean()

    def off(read):
        again = native_grid.compress(native_grid.render(read, pixels.shape, found, "jet"), found)
        return abs(again.astype(float) - image).mean()

    assert off(back) < 0.9 * off(blocks)
    assert (back[levels == 0] == 0).mean() > 0.9, "the noise floor is empty again"


def test_soft_edges_are_those_of_a_picture_that_is_drawn_larger_and_resized():
    levels = make_levels(57)
    large = colormap.to_rgb(spectrogram.stretch(levels, 1024), "jet")
    resized = np.asarray(Image.fromarray(large).resize((256, 128), Image.Resampling.BICUBIC)).astype(int)
    assert abs(native_grid.render(levels, SIZE, SOFT, "jet") - resized).max() <= 1


@pytest.mark.parametrize(("rows_of_model", "file_format"), [(64, SHARP), (64, SOFT), (128, SOFT)])
def test_rows_are_repeated_where_those_of_the_data_set_are(tmp_path, rows_of_model, file_format):
    levels = make_levels(57, rows=rows_of_model)
    write(tmp_path / "w.png", levels, file_format)
    drawn = np.asarray(Image.open(tmp_path / "w.png")).astype(int)
    equal = bool((drawn[0::2] == drawn[1::2]).all())
    assert drawn.shape == (*SIZE, 3) and equal == file_format.row_blocks
    assert native_grid.survey_files([tmp_path / "w.png"], "jet").file_format == file_format
    between = np.asarray(Image.fromarray(levels).resize((57, 128), Image.Resampling.BICUBIC)).clip(0, 1)
    if not file_format.row_blocks:
        np.testing.assert_allclose(read(tmp_path / "w.png")[0], between, atol=0.02)


# ----------------------------------------------------------------------------- formats


@pytest.mark.parametrize("subsampling", native_grid.SUBSAMPLINGS)
@pytest.mark.parametrize("tables", [TABLES, TABLES[:1]])
def test_tables_and_sampling_of_jpeg_files_are_kept(tmp_path, subsampling, tables):
    file_format = FileFormat("jpg", tables, subsampling, soft_edges=True, row_blocks=False)
    assert FileFormat.from_json(json.loads(json.dumps(file_format.to_json()))) == file_format
    for k in range(2):
        write(tmp_path / f"w_{k}.jpg", make_levels(57, rows=256), file_format)
    survey = native_grid.survey_files(sorted(tmp_path.iterdir()), "jet")
    assert survey.frames == (57, 57) and survey.is_native and survey.usual_frames == 57
    assert survey.file_format._replace(quantization=tables) == file_format
    assert set(survey.file_format.quantization) == set(tables)


def test_jpeg_of_a_data_set_that_is_none_is_as_recordings_are(tmp_path):
    write(tmp_path / "w.jpg", make_levels(57), SHARP)
    Image.new("RGB", (16, 16)).save(tmp_path / "as.jpg", quality=75, subsampling="4:2:0")
    assert native_grid.read_file_format(tmp_path / "w.jpg") == native_grid.read_file_format(tmp_path / "as.jpg")
    assert export.image_suffix(metadata_of(SHARP), None) == "png"
    assert export.image_suffix(metadata_of(SHARP), "jpg") == "jpg"
    with pytest.raises(InputError, match="image format 'gif'"):
        export.image_suffix(metadata_of(SHARP), "gif")


@pytest.mark.parametrize(
    "change",
    [
        {"suffix": "gif"},
        {"quantization": [[1] * 63], "subsampling": "4:2:0"},
        {"quantization": [[0] * 64], "subsampling": "4:2:0"},
        {"quantization": [[1.5] * 64], "subsampling": "4:2:0"},
        {"quantization": [[1] * 64]},
        {"subsampling": "4:2:0"},
        {"soft_edges": 1},
        {"more": 1},
    ],
)
def test_formats_that_no_file_has_are_refused(change):
    with pytest.raises((ValueError, TypeError)):
        FileFormat.from_json(SHARP.to_json() | change)


# ----------------------------------------------------------------------------- grids


def test_only_more_frames_than_columns_are_reduced():
    levels = make_levels(40)
    canvas, frames = native_grid.place_on_canvas(levels, (128, 48))
    assert frames == 40 and canvas.shape == (128, 48) and (canvas[:, 40:] == -1).all()
    np.testing.assert_array_equal(canvas[:, :40], levels)
    canvas, frames = native_grid.place_on_canvas(levels, (64, 20))
    assert frames == 20
    np.testing.assert_allclose(canvas, levels.reshape(64, 2, 20, 2).mean((1, 3)), atol=1e-6)


def test_a_fixed_grid_repeats_frames_and_mixes_none():
    canvases = [native_grid.place_on_canvas(make_levels(n), (128, 80)) for n in (40, 64, 80)]
    windows, frames = np.stack([c for c, _ in canvases]), np.array([n for _, n in canvases])
    fixed = native_grid.to_fixed_grid(windows, frames, (128, 64))
    for here, window, n in zip(fixed[:2], windows, frames, strict=False):
        np.testing.assert_array_equal(here, spectrogram.stretch(window[:, :n], 64))
    np.testing.assert_array_equal(fixed[2], spectrogram.resize(windows[2], (128, 64)))
    colored = native_grid.to_fixed_grid(windows[..., None].repeat(3, -1), frames, (128, 64))
    np.testing.assert_array_equal(colored[..., 1], fixed)


def test_on_the_axes_of_the_data_set_frames_are_blocks_of_columns():
    levels = make_levels(57)
    canvas, frames = native_grid.place_on_canvas(levels, (128, 80))
    drawn = native_grid.to_data_axes(canvas, frames, (256, 256))
    assert drawn.shape == (256, 256) and spectrogram.native_frames(drawn) == 57
    np.testing.assert_allclose(native_grid.average_blocks(drawn[::2], 57, soft_edges=False), levels, rtol=1e-6)


# ----------------------------------------------------------------------------- data sets


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A folder of JPEG files with soft edges, of another quality than Pillow's."""
    root = tmp_path_factory.mktemp("recorded")
    file_format = FileFormat("jpg", TABLES, "4:2:2", soft_edges=True, row_blocks=False)
    for user, first in (("a", 50), ("b", 70)):
        for k in range(3):
            write(root / user / f"walk_{k}.jpg", make_levels(first + k), file_format)
    return root


@pytest.fixture(scope="module")
def native(recorded, tmp_path_factory) -> builders.Dataset:
    cache = tmp_path_factory.mktemp("native") / "data"
    return prepare(recorded, cache, image_size=(128, 80), native_frames=True)


@pytest.mark.parametrize("layout", export.LAYOUTS)
def test_windows_with_their_own_frames_are_written_out_and_read_back(native, tmp_path, layout):
    assert native.metadata["native"] and native.frames.tolist() == [50, 51, 52, 70, 71, 72]
    target = tmp_path / ("out.npz" if layout == "npz" else "out")
    export.export_windows(native, np.arange(6), target, layout)
    if layout == "npz":
        with np.load(target) as file:
            assert file["spectrogram"].shape == (6, 128, 256) and file["frames"].tolist() == native.frames.tolist()
            assert [spectrogram.native_frames(x) for x in file["spectrogram"]] == native.frames.tolist()
        return
    options = dict(image_size=(128, 80), native_frames=True)
    back = builders.open_prepared(target) if layout == "tfds" else prepare(target, tmp_path / "again", **options)
    assert back.frames.tolist() == native.frames.tolist()
    assert back.metadata["native"] and back.metadata["file_format"] == native.metadata["file_format"]
    error = abs(back.load(np.arange(6)) - native.load(np.arange(6))).mean() / 2 * 255
    assert error == 0 if layout == "tfds" else error < 2


def test_files_that_are_written_are_of_the_kind_of_the_data_set_or_as_asked(native, recorded, tmp_path):
    export.export_windows(native, np.arange(6), tmp_path / "out", "images")
    files = sorted((tmp_path / "out").glob("*/*"))
    assert {path.suffix for path in files} == {".jpg"}
    given = native_grid.read_file_format(recorded / "a" / "walk_0.jpg")
    assert {native_grid.read_file_format(path) for path in files} == {given}
    export.export_windows(native, np.arange(6), tmp_path / "png", "images", "png")
    assert {path.suffix for path in (tmp_path / "png").glob("*/*")} == {".png"}


def test_other_files_are_read_as_those_of_the_data_set(native, tmp_path):
    """A single window that shows no frames has the usual number of the data set, and no canvas is stretched."""
    smooth = np.tile(np.linspace(0, 1, 256), (128, 1))
    Image.fromarray(colormap.to_rgb(smooth, "jet")).save(tmp_path / "w_1.png")
    item = sources.WindowSource("w_1.png", "a", "w/1", 1)
    options = examples.ReadOptions((128, 80), colormap="jet", native_frames=True, grid=native.grid)
    [example] = examples.read_examples(tmp_path, [item], options)
    assert example.frames == native.grid.usual_frames == 61
    assert example.metadata["native"] and example.metadata["notes"] == ["windows that show no frames, resized to 61: 1"]


def test_gap_above_the_noise_floor_is_seen_and_closed(tmp_path):
    """Levels that start at a threshold come back as such, though JPEG fills the gap; others have no gap."""
    for lowest, file_format in itertools.product((0.0, 0.14, 0.2), (SOFT, SHARP)):
        for i in range(6):
            levels = make_levels(60 + i)
            levels = np.where(levels > 0.05, lowest + (1 - lowest) * levels, 0).astype(np.float32)
            write(tmp_path / f"{i}.jpg", levels, file_format)
        survey = native_grid.survey_files(sorted(tmp_path.glob("*.jpg")), "jet")
        assert abs(survey.file_format.lowest_level - lowest) <= 0.041 and (
            lowest > 0 or not survey.file_format.lowest_level
        )
        back, _ = read(tmp_path / "5.jpg")
        assert not ((back > 1e-4) & (back < survey.file_format.lowest_level - 1e-4)).any()
        if lowest:
            assert ((back > 0) == (levels > 0)).mean() > 0.98


def test_levels_in_the_gap_go_to_its_nearer_end():
    levels = np.array([0, 0.05, 0.069, 0.071, 0.13, 0.14, 0.5, 1], np.float32)
    expected = np.array([0, 0, 0, 0.14, 0.14, 0.14, 0.5, 1], np.float32)
    np.testing.assert_array_equal(native_grid.close_gap(levels, 0.14), expected)
    np.testing.assert_array_equal(native_grid.close_gap(levels, 0.0), levels)
    lowered = np.array([0, 0.14, 0.14, 0.14, 0.14, 0.14, 0.5, 1], np.float32)
    np.testing.assert_array_equal(native_grid.close_gap(levels, 0.14, floor=-0.125), lowered)
