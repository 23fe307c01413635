"""Spectrograms of whole recordings: the axis of time is found or told, and windows are cut like those of I/Q."""

import numpy as np
import pytest
from recordings import STFT, prepare, save

from mdiff_jax.data import arrays, inspect, sources, splits
from mdiff_jax.runtime.errors import InputError

ROWS, FRAMES = 32, 600
WALK = (60 * np.random.default_rng(0).uniform(size=(4, ROWS, FRAMES)) - 80).astype(np.float32)
STFT_SHORT = arrays.DEFAULT_STFT._replace(frames=40, hop_frames=10)


@pytest.fixture
def folder(tmp_path):
    """Two users, two recordings each, one array a file, time first."""
    for k, walk in enumerate(WALK):
        path = tmp_path / "in" / "ab"[k % 2] / f"day{k}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, mDoppler=walk[:, : FRAMES - 50 * k].T)
    return tmp_path / "in"


def test_a_long_array_is_cut_like_samples(folder):
    """Window i begins at frame i · hop; the top is that of the whole recording, and the axis of time is found."""
    read = arrays.read_windows(folder / "a" / "day0.h5", STFT_SHORT)
    whole = np.clip((WALK[0] - np.percentile(WALK[0], 99.7)) / 45 + 1, 0, 1) * 2 - 1
    assert read.spectrograms.shape == (57, ROWS, 40)
    for i in (0, 7, 56):
        np.testing.assert_allclose(read.spectrograms[i], whole[:, 10 * i : 10 * i + 40], atol=1e-5)
    assert "(time, Doppler)" in read.reading and "40 frames, one every 10" in read.reading


def test_windows_of_a_file_are_one_recording(folder):
    items = sources.scan_windows(folder, STFT_SHORT)
    walks = {item.file.partition("#")[0]: item.recording for item in items}
    assert {item.recording for item in items if item.user == "a"} == {"day0/1", "day2/1"}
    assert walks["a/day2.h5"] == "day2/1"
    assert [i.index for i in items if i.file.startswith("a/day2")] == list(range(47))


def test_a_split_keeps_windows_that_share_frames_apart(folder, tmp_path):
    data = prepare(folder, tmp_path / "data", stft=STFT_SHORT._asdict())
    split = splits.make_split(data, fractions=(0.5, 0.25, 0.25), by="block", gap=3, seed=0)
    assert splits.leaking_share(data, split, 3) == 0


@pytest.mark.parametrize(
    ("shape", "known", "turned", "count"),
    [
        ((600, 32), {}, True, 57),
        ((32, 600), {}, False, 57),
        ((100, 32), {"velocity": 32}, True, 1),  # told by the length of its axes, too short to be cut
        ((100, 32), {"time": 100}, True, 1),
        ((600, 32), {"velocity": 600}, False, 1),
        ((32, 100), {}, False, 1),
        ((120, 600), {}, False, 57),
        ((160, 600), {}, False, 1),  # a large window
    ],
)
def test_the_axis_of_time_is_found(tmp_path, shape, known, turned, count):
    values = np.resize(WALK, shape)
    save(tmp_path / "x.npz", db=values, **{name: np.arange(length, 0.0, -1) for name, length in known.items()})
    read = arrays.read_windows(tmp_path / "x.npz", STFT_SHORT)
    assert len(read.spectrograms) == count
    assert read.spectrograms.shape[1] == shape[turned]


def test_the_axis_of_time_is_told(tmp_path):
    """Then every array longer than a window is cut, however short; stacks of windows are turned."""
    save(tmp_path / "x.npz", db=WALK[0, :, :50].T)
    save(tmp_path / "stack.npz", db=WALK[:, :, :50].swapaxes(1, 2))
    told = STFT_SHORT._replace(array_axes="time_frequency")
    assert arrays.read_windows(tmp_path / "x.npz", told).spectrograms.shape == (2, ROWS, 40)
    assert arrays.read_windows(tmp_path / "stack.npz", told).spectrograms.shape == (4, ROWS, 50)
    other = told._replace(array_axes="frequency_time")
    assert arrays.read_windows(tmp_path / "x.npz", other).spectrograms.shape == (1, 50, ROWS)
    with pytest.raises(InputError, match=r"data\.stft\.array_axes is 'sideways': give one of auto"):
        arrays.make_stft(STFT | {"array_axes": "sideways"})


def test_windows_take_no_more_memory_than_the_recording(tmp_path):
    save(tmp_path / "x.npz", db=WALK[0])
    windows = arrays.read_windows(tmp_path / "x.npz", STFT_SHORT._replace(hop_frames=1)).spectrograms
    assert len(windows) == 561 and np.shares_memory(windows[0], windows[1])


def test_what_was_done_is_said_in_one_line(folder, tmp_path):
    lines = []
    prepare(folder, tmp_path / "data", stft=STFT_SHORT._asdict(), log=lines.append)
    wanted = "arrays of (time, Doppler), one a recording, cut into windows of 40 frames, one every 10: 4 files"
    assert lines == [wanted]
    assert wanted in inspect.format_report(inspect.inspect(folder, STFT_SHORT)[0])


def test_data_prepared_before_the_key_stay_as_they_are(tmp_path):
    """A key that came later and changes nothing does not make them other data."""
    for user in "ab":
        (tmp_path / "in" / user).mkdir(parents=True)
        save(tmp_path / "in" / user / "walk.npz", db=WALK[:, :, :40])
    older = {key: value for key, value in STFT.items() if key != "array_axes"}
    first = prepare(tmp_path / "in", tmp_path / "data", stft=older)
    assert prepare(tmp_path / "in", tmp_path / "data", stft=STFT).fingerprint == first.fingerprint
    with pytest.raises(InputError, match="have changed since"):
        prepare(tmp_path / "in", tmp_path / "data", stft=STFT | {"array_axes": "time_frequency"})
