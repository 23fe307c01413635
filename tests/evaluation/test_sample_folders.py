"""Which folder of samples is judged, and what is refused before anything is trained."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from mdiff_jax.data import colormap, export
from mdiff_jax.evaluation import run, sample_folders
from mdiff_jax.inference import sample_writer
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir

WINDOW = np.linspace(-1, 1, 256).reshape(16, 16, 1)


@pytest.fixture(scope="module")
def samples(trained, tmp_path_factory):
    """Finished plain samples, one of each user."""
    folder = tmp_path_factory.mktemp("samples") / "plain"
    sample_writer.write_samples(trained, trained.users, 1, 0, folder)
    return folder


def copy_with(samples, target, **changes) -> None:
    """A copy of the samples with other contents of provenance.json, newer than all before."""
    shutil.copytree(samples, target)
    path = target / "provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    newest = max(p.stat().st_mtime for p in target.parent.glob("*/provenance.json"))
    os.utime(path, (newest + 10, newest + 10))


def test_the_newest_finished_plain_samples_are_judged(samples, tmp_path):
    with pytest.raises(InputError, match="holds no finished plain samples: run"):
        sample_folders.find_newest_samples(tmp_path)
    copy_with(samples, tmp_path / "plain")
    others = {"unfinished": {"complete": False}, "strip": {"interpolate": ["a", "b"]}, "walk": {"seconds": 10.0}}
    for name, changes in (others | {"varied": {"like": []}, "filtered": {"filter": ["physics"]}}).items():
        copy_with(samples, tmp_path / name, **changes)
    assert sample_folders.find_newest_samples(tmp_path) == tmp_path / "plain"
    shutil.rmtree(tmp_path / "plain")
    with pytest.raises(InputError, match="or unfinished: 5"):
        sample_folders.find_newest_samples(tmp_path)


def test_noise_that_jpeg_took_off_the_colormap_is_judged_where_samples_say_what_they_are(trained, samples, tmp_path):
    """So is what a model draws that has learnt nothing yet; images of unknown origin are refused."""
    folder, rng = tmp_path / "noise", np.random.default_rng(0)
    copy_with(samples, folder)
    for path in list(folder.glob("*/*.png")):
        noise = colormap.to_rgb(rng.uniform(size=(256, 256)), "jet")
        Image.fromarray(noise).save(path.with_suffix(".jpg"), quality=75, subsampling="4:2:0")
        path.unlink()
    assert len(sample_folders.read_sample_set(trained, folder).windows)
    (folder / "provenance.json").unlink()
    with pytest.raises(InputError, match="colormap"):
        sample_folders.read_sample_set(trained, folder)


def test_only_finished_samples_of_the_model_are_its_own(trained, samples, tmp_path):
    def is_own(folder) -> bool:
        return sample_folders.is_own(trained, folder, sample_folders.read_sample_set(trained, folder).files.tolist())

    assert is_own(samples)
    foreign = {"unfinished": {"complete": False}, "other": {"data_fingerprint": "?"}, "more": {}, "images": {}}
    for name, changes in foreign.items():
        copy_with(samples, tmp_path / name, **changes)
    image = next((tmp_path / "more").glob("walker_01/*.png"))
    shutil.copy(image, image.with_name("added_1.png"))
    (tmp_path / "images" / "provenance.json").unlink()
    assert not any(is_own(tmp_path / name) for name in foreign)


def test_folders_that_cannot_be_judged_are_refused_before_anything_is_trained(trained, samples, tmp_path, monkeypatch):
    monkeypatch.setattr(sample_folders, "real_window_set", lambda *_: pytest.fail("too late"))
    root, refused = tmp_path / "root", {}
    monkeypatch.setattr(run, "load", lambda root: trained)
    for name, changes in {"strip": {"interpolate": ["a", "b"]}, "walk": {"seconds": 10.0}, "stranger": {}}.items():
        copy_with(samples, tmp_path / name, **changes)
    shutil.copytree(tmp_path / "stranger" / "walker_01", tmp_path / "stranger" / "nobody")
    refused |= {"strip": "--interpolate", "walk": "--seconds", "stranger": "'nobody', which is no user"}
    (tmp_path / "empty").mkdir()
    refused |= {"empty": "no windows of a user", "absent": "is no folder"}
    copy_with(samples, tmp_path / "damaged")
    next((tmp_path / "damaged").glob("walker_01/*.png")).write_bytes(b"\x89PNG damaged")
    refused["damaged"] = "cannot be read as an image"
    export.write_image(
        tmp_path / "colors" / "walker_01" / "a_1.png", export.to_image(WINDOW, "viridis"), trained.image_size()
    )
    export.write_image(tmp_path / "size" / "walker_01" / "a_1.png", export.to_image(WINDOW, "jet"), (64, 99))
    refused["size"] = "99x64"
    refused["colors"] = "a_1.png' does not use jet"
    for name, says in refused.items():
        with pytest.raises(InputError, match=says) as caught:
            run.judge_samples(root, tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not root.exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"complete": 1, "files": {}, "rejected": []}', "\x00" * 9, "null"]
)
def test_a_damaged_record_is_named(trained, samples, tmp_path, text):
    copy_with(samples, tmp_path / "s")
    (tmp_path / "s" / "provenance.json").write_text(text)
    for use in (
        lambda: sample_folders.find_newest_samples(tmp_path),
        lambda: sample_writer.write_samples(trained, trained.users, 1, 0, tmp_path / "s"),
    ):
        with pytest.raises(InputError, match=r"s/provenance.json cannot be read .*: remove") as caught:
            use()
        assert "\n" not in str(caught.value)


def test_a_place_that_takes_no_report_is_refused(trained, samples, tmp_path, monkeypatch):
    assert run.report_folder(Workdir(tmp_path), trained, samples) == tmp_path
    (tmp_path / "reports").write_text("mine")
    monkeypatch.setattr(sample_folders, "is_own", lambda *_: False)
    with pytest.raises(InputError, match=r"cannot be written into '.*reports'"):
        run.report_folder(Workdir(tmp_path), trained, samples)
