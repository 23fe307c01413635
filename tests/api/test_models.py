"""Laws of a model as users of Python have it: what it draws in memory is what the commands draw from files."""

import shutil
import time

import numpy as np
import pytest

import mdiff_jax
from mdiff_jax.data import export
from mdiff_jax.inference import exported, sampling_jobs, user_windows
from mdiff_jax.inference.drawn_windows import from_image_axes, to_image_axes
from mdiff_jax.runtime.errors import InputError

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def model(root):
    return mdiff_jax.load(root)


def test_one_user_needs_no_list_and_a_model_stays_one_of_these(model):
    np.testing.assert_array_equal(model.sample("walker_01", 2), model.sample(["walker_01"], n=2, seed=0))
    assert type(model.with_steps(1)) is type(model.with_users({})) is mdiff_jax.Model
    for n, seed in ((0, 0), (1, -1)):
        with pytest.raises(InputError):
            model.sample("walker_01", n, seed)
        with pytest.raises(InputError):
            model.interpolate(*model.users, n=n, seed=seed)


@pytest.mark.parametrize("which", ["root", "native"])
def test_windows_in_memory_are_taken_as_their_files_are_read(which, request, tmp_path):
    """Also those of a model whose windows keep their own frames, in whose images each is a block of columns."""
    model = request.getfixturevalue("trained" if which == "root" else "native")
    x = model.sample(model.users[:1], 3)
    taken = user_windows.take_user_windows(model, {model.users[0]: x})
    assert taken.windows.shape[1:3] == model.dataset.image_size
    again = from_image_axes(x, model.dataset.metadata, model.dataset.image_size)
    np.testing.assert_allclose(to_image_axes(again, model.dataset.metadata), x, atol=1e-6)
    for i, (window, frames) in enumerate(zip(taken.windows, taken.frames, strict=True)):
        export.write_window(tmp_path / "given" / f"w_{i}.png", window, int(frames), model.dataset.metadata)
    read = user_windows.read_user_windows(model, tmp_path / "given", model.users[0])
    np.testing.assert_array_equal(read.frames, taken.frames)
    np.testing.assert_allclose(read.windows, taken.windows, atol=0.02)  # colors have 256 steps


def test_variations_follow_the_window_and_are_those_of_the_job(model, windows):
    x = model.sample("walker_01", 2)
    near = model.with_steps(10).vary(x, "walker_01", strength=0.1, n=2)
    assert near.shape == (4, 16, 16)
    distance = np.abs(near[:, None] - x[None]).mean((2, 3))
    assert (distance.argmin(1) == [0, 0, 1, 1]).all()
    given = user_windows.read_user_windows(model, windows, "walker_02")
    job = sampling_jobs.variations(model, given, 1.0, 1, 3)
    expected = np.concatenate([w.spectrograms for _, w in model.run([t.request for t in job.tasks], 3, job.function)])
    np.testing.assert_allclose(model.vary(windows, "walker_02", seed=3), expected, atol=1e-5)


def test_strips_lead_from_one_user_to_the_other(model):
    strips = model.interpolate("walker_01", "walker_02", steps=3, n=2)
    assert strips.shape == (2, 3, 16, 16) and np.abs(strips).max() <= 1
    assert np.abs(strips[:, 0] - strips[:, 2]).max() > 1e-3


def test_a_walk_is_longer_than_a_window(model):
    assert model.walk("walker_01", seconds=4, window_seconds=2).shape == (1, 16, 32)


@pytest.mark.parametrize(
    ("windows", "says"),
    [
        (np.zeros((2, 16, 8)), r"shape \(2, 16, 8\): give \(n, 16, 16\)"),
        (np.zeros((16, 16)), "shape"),
        (np.full((1, 16, 16), 2.0), r"not all in \[-1, 1\]"),
        (np.full((1, 16, 16), np.nan), r"not all in \[-1, 1\]"),
        (np.zeros((0, 16, 16)), "no windows"),
        (np.array([["a"]]), "no array of numbers"),
    ],
)
def test_arrays_that_are_no_windows_are_refused(model, windows, says):
    with pytest.raises(InputError, match=says):
        model.vary(windows, "walker_01")
    with pytest.raises(InputError, match=says):
        model.enroll("NEW", windows)


def test_an_array_says_not_whose_it_is(model):
    with pytest.raises(InputError, match="give user"):
        model.vary(np.zeros((1, 16, 16)))


# ----------------------------------------------------------------------------- new people


@pytest.mark.thorough
def test_a_person_is_enrolled_in_memory_and_kept_on_request(writable_root, windows):
    model = mdiff_jax.load(writable_root, {"enrollment.steps": 3})
    with pytest.raises(InputError, match="exists already"):
        model.enroll("walker_01", windows)
    known = model.enroll("NEW", windows)
    assert "NEW" in known.enrolled and not model.enrolled and not (writable_root / "enrolled").exists()
    kept = model.enroll("NEW", windows, save=True)
    np.testing.assert_array_equal(kept.sample("NEW", 1), known.sample("NEW", 1))
    np.testing.assert_allclose(mdiff_jax.load(writable_root).sample("NEW", 1), known.sample("NEW", 1), atol=1e-3)


def test_a_model_that_knows_nobody_takes_over_what_the_recordings_are_like(reference_root, windows):
    base = mdiff_jax.Model(*exported.without_users(mdiff_jax.load(reference_root)))._replace(root=None)
    metadata = base.dataset.metadata | {"original_size": [8, 8]}
    base.dataset.metadata.update(metadata)
    known = base.enroll("NEW", windows)
    assert known.image_size() == (256, 256) and base.image_size() == (8, 8)
    assert known.sample("NEW", 2).shape == (2, 16, 16)
    with pytest.raises(InputError, match="not loaded from a folder"):
        base.enroll("NEW", windows, save=True)
    with pytest.raises(InputError, match="give 5 to 20"):
        known.enroll("OTHER", known.sample("NEW", 2))


def test_a_model_is_saved_as_a_folder_or_a_file(model, tmp_path):
    for name in ("model", "model.safetensors"):
        model.save(tmp_path / name)
        again = mdiff_jax.load(tmp_path / name)
        assert again.users == model.users and again.root == tmp_path / name
        np.testing.assert_allclose(again.sample("walker_01", 1), model.sample("walker_01", 1), atol=0.02)


# ----------------------------------------------------------------------------- in a notebook


def test_a_model_shows_itself_at_once_with_escaped_names(model, root, tmp_path):
    began = time.perf_counter()
    page = model._repr_html_()
    assert time.perf_counter() - began < 1
    assert "walker_01, walker_02" in page and "16 Doppler rows" in page and str(root) in page and "<img" not in page
    shutil.copytree(root, tmp_path / "run")
    (tmp_path / "run" / "grid.png").write_bytes(b"picture")
    hostile = mdiff_jax.load(tmp_path / "run")._replace(users=(HOSTILE, *map(str, range(40))))
    page = hostile._repr_html_()
    assert 'src="data:image/png;base64,cGljdHVyZQ=="' in page
    assert HOSTILE not in page and "&lt;img src=x" in page and "41: " in page and "and 21 more" in page


def test_a_model_in_a_terminal_is_one_line(model):
    assert repr(model) == "<mdiff_jax.Model of 2 users>"
