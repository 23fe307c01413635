"""Windows of native frames, from the networks to files and back."""

import numpy as np
import pytest
from PIL import Image

from mdiff_jax.data import native_grid, sources
from mdiff_jax.data.examples import read_examples
from mdiff_jax.inference import denoisers, sample_writer, sampling_jobs, user_windows
from mdiff_jax.training import enrollment


def test_numbers_of_frames_are_told_and_read_back_exactly():
    frames = np.arange(denoisers.MIN_FRAMES, 81)
    told = denoisers.append_frames(np.zeros((len(frames), 3)), frames, 80)
    np.testing.assert_array_equal(denoisers.decode_frames(told[:, -1], 80), frames)
    np.testing.assert_array_equal(denoisers.decode_frames(np.array([-99.0, 99.0]), 80), [denoisers.MIN_FRAMES, 80])


def test_a_sample_is_written_at_the_size_of_recordings_and_read_with_its_frames(native, tmp_path):
    files = sample_writer.write_samples(native, native.users, 3, 0, tmp_path, sample_writer.SaveOptions(npz=True))
    requests = native.requests(native.users, range(3))
    drawn = [w for _, windows in native.run(requests, 0) for w in windows.split()]
    options = user_windows.read_options(native)
    items = [item for user in native.users for item in sources.scan_user(tmp_path, tmp_path / user, options.stft)]
    with np.load(tmp_path / "samples.npz") as npz:
        assert npz["spectrogram"].shape == (6, 256, 256) and len(npz["velocity"]) == 256
        on_axes = npz["spectrogram"]
    np.testing.assert_allclose(native.sample(native.users, 3, 0), on_axes, atol=1e-6)
    for file, window, example, x in zip(files, drawn, read_examples(tmp_path, items, options), on_axes, strict=True):
        own = int(window.frames[0])
        with Image.open(file) as image:
            assert image.size == (256, 256) and image.format == "PNG"
        np.testing.assert_array_equal(x, native_grid.to_data_axes(window.spectrograms[0], own, (256, 256)))
        if example.frames == own:  # in a window of noise neighbors can be alike
            levels = example.window[:, :own, 0]
            np.testing.assert_allclose(levels, window.spectrograms[0][:, :own], atol=1 / 255)


def test_given_windows_keep_their_frames_when_varied(native):
    rows = np.arange(4)
    windows, frames = native.dataset.load(rows), native.dataset.frames[rows]
    assert len(set(frames.tolist())) > 1 or frames.max() < 64
    z = native.embed(windows, frames)
    assert z.shape == (4, 5)
    given = user_windows.UserWindows(tuple("abcd"), (native.users[0],) * 4, windows, frames, "digest", {})
    job = sampling_jobs.variations(native, given, 0.5, 1, 0)
    drawn = [w for _, w in native.run([task.request for task in job.tasks], 0, job.function)]
    np.testing.assert_array_equal(np.concatenate([w.frames for w in drawn]), frames)


def test_strips_go_from_one_number_of_frames_to_the_other(native):
    job = sampling_jobs.interpolate(native, native.users, 5, 1, 0)
    drawn = [w for _, w in job.model.run([task.request for task in job.tasks], 0, job.function)]
    frames = np.concatenate([w.frames for w in drawn])
    assert (np.diff(frames) * (frames[-1] - frames[0]) >= 0).all()


def test_a_longer_walk_has_as_many_frames_as_its_length_asks_for(native, tmp_path):
    lasts = native.dataset.metadata["window_seconds"]
    job = sampling_jobs.long_walks(native, [native.users[0]], 1, 0, 2.3 * lasts, None)
    (_, walk), *_ = native.run([job.tasks[0].request], 0, job.function)
    (_, window), *_ = native.run([job.tasks[0].request], 0)
    assert walk.frames[0] == round(2.3 * window.frames[0]) <= walk.spectrograms.shape[2]
    (file,) = sample_writer.write_job(job, 0, tmp_path)
    with Image.open(file) as image:
        assert image.size == (round(256 * round(2.3 * 64) / 64), 256)


@pytest.mark.slow
def test_a_person_is_enrolled_with_the_frames_of_the_windows(native):
    windows, frames = native.dataset.load(np.arange(5)), native.dataset.frames[:5]
    adapter = enrollment.fit_adapter(native, windows, frames)
    np.testing.assert_array_equal(adapter.frames, frames[: len(adapter.windows)])
