"""Laws of the folder that samples are written to: images, arrays, resuming, filters, several processes."""

import errno
import functools
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from mdiff_jax import load
from mdiff_jax.data import arrays, builders, export, render, sources
from mdiff_jax.inference import provenance, rejection, sample_arrays, sample_writer
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import atomic_write

PHYSICS = sample_writer.SaveOptions(filters=["physics"])


def test_images_arrays_and_data_set_say_the_same(trained, tmp_path):
    output = sample_writer.SaveOptions("png", tfds=True)
    files = sample_writer.write_samples(trained, trained.users, 2, 0, tmp_path / "s", output)
    with np.load(tmp_path / "s" / "samples.npz", allow_pickle=False) as npz:
        written = {name: npz[name] for name in npz.files}
    assert written["user"].tolist() == ["walker_01"] * 2 + ["walker_02"] * 2 and written["sample_id"].tolist() == [
        0,
        1,
        0,
        1,
    ]
    np.testing.assert_array_equal(written["spectrogram"], trained.sample(trained.users, 2, 0))
    assert written["velocity"].shape == (16,) and written["time"][-1] < trained.dataset.metadata["window_seconds"]
    prepared = builders.open_prepared(tmp_path / "s_tfds")
    np.testing.assert_allclose(prepared.load(np.arange(4))[..., 0], written["spectrogram"], atol=1e-4)
    assert prepared.users == trained.users
    drawn = np.asarray(Image.open(files[3]))[8::16, 8::16]
    np.testing.assert_array_equal(drawn, trained.to_image(written["spectrogram"][3]))
    assert {i.user for i in sources.scan_windows(tmp_path / "s")} == set(trained.users)
    assert not (tmp_path / "s" / ".windows").exists()


def test_what_is_written_beside_images_does_not_grow_with_the_batches(trained, tmp_path, monkeypatch):
    calls, write = [], provenance.write_provenance
    monkeypatch.setattr(sample_writer, "write_provenance", lambda *a, **k: calls.append(k) or write(*a, **k))
    sample_writer.write_samples(trained, trained.users, 2 * trained.config.sample.batch_size, 0, tmp_path / "s")
    assert calls == [{"complete": False}, {"complete": True}]


def test_windows_of_several_sizes_are_no_array(tmp_path):
    for i, size in enumerate([(4, 4), (4, 5)]):
        sample_arrays.write_array(tmp_path / f"{i}.npy", np.zeros(size))
    with pytest.raises(InputError, match=r"another size than 0\.npy"):
        sample_arrays.append_windows(tmp_path / "s.npz", sorted(tmp_path.glob("*.npy")), (4, 4))


def test_matlab_gets_the_same_windows_with_their_axes(trained, tmp_path):
    """And the file is a data set: read again, it holds the windows that were drawn."""
    sample_writer.write_samples(trained, trained.users, 2, 0, tmp_path / "s", sample_writer.SaveOptions(mat=True))
    mat = scipy.io.loadmat(tmp_path / "s" / "samples.mat", squeeze_me=True)
    with np.load(tmp_path / "s" / "samples.npz", allow_pickle=False) as npz:
        for name in npz.files:
            assert mat[name].tolist() == npz[name].tolist(), name
        np.testing.assert_array_equal(
            arrays.read_windows(tmp_path / "s" / "samples.mat").spectrograms, npz["spectrogram"]
        )
    assert mat["axes"].startswith("window, Doppler") and (mat["velocity_unit"], mat["time_unit"]) == ("m/s", "s")
    assert [i.user for i in sources.scan_windows(tmp_path / "s" / "samples.mat")] == [
        user for user in trained.users for _ in range(2)
    ]


def test_more_than_matlab_v5_holds_is_refused_and_nothing_is_lost(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(sample_arrays, "MAT_BYTES", 100)
    with pytest.raises(InputError, match=r"MATLAB v5 holds below 2: use samples\.npz"):
        sample_writer.write_samples(trained, ["walker_01"], 1, 0, tmp_path, sample_writer.SaveOptions(mat=True))
    assert (tmp_path / "samples.npz").is_file() and not (tmp_path / "samples.mat").exists()


def test_metadata_names_each_image_and_its_user(trained, tmp_path):
    """As Hugging Face `datasets` reads a folder of images: a line for each, and no other file named."""
    files = sample_writer.write_samples(trained, trained.users, 2, 0, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metadata.jsonl").read_text().splitlines()]
    assert [tmp_path / line["file_name"] for line in lines] == files
    for line in lines:
        user = line["file_name"].partition("/")[0]
        assert line == {
            "file_name": line["file_name"],
            "user": user,
            "split": "train",
            "generated": True,
            "weight": 1.0,
            "soft_label": f"{user}:1",
            "source": [],
        }


@pytest.mark.thorough
def test_two_processes_write_what_one_writes(root, tmp_path):
    model = load(root, {"sample.cond_scale": 2.0, "sample.guidance_interval": (-3.0, 3.0)})
    sample_writer.write_samples(model, model.users, 3, 0, tmp_path / "one", sample_writer.SaveOptions(npz=True))

    with socket.socket() as s:
        s.bind(("localhost", 0))
        address = f"localhost:{s.getsockname()[1]}"
    script, pipe = Path(__file__).parents[2] / "sample.py", subprocess.PIPE
    flags = [f"--workdir={root}", f"--output_dir={tmp_path / 'two'}", "--num_samples_per_user=3", "--npz"]
    flags += ["--cond_scale=2", "--guidance_interval=-3,3", f"--coordinator_address={address}", "--num_processes=2"]
    both = [
        subprocess.Popen([sys.executable, script, *flags, f"--process_id={i}"], stdout=pipe, stderr=pipe)
        for i in (0, 1)
    ]
    (out, said), (silent, also) = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], said + also
    assert b"6 images in" in out and b"images" not in silent

    one, two = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("one", "two")
    )
    assert one.keys() == two.keys() and len(one) == 6 + 4
    assert [path.name for path in one if one[path] != two[path]] in ([], ["samples.npz"])
    with np.load(tmp_path / "one" / "samples.npz") as a, np.load(tmp_path / "two" / "samples.npz") as b:
        np.testing.assert_array_equal(a["name"], b["name"])
        np.testing.assert_allclose(a["spectrogram"], b["spectrogram"], atol=1e-4)  # rounding, which images do not show


def test_jpg_and_another_format_in_the_same_folder_is_refused(trained, tmp_path):
    files = sample_writer.write_samples(trained, ["walker_01"], 2, 0, tmp_path, sample_writer.SaveOptions("jpg"))
    with Image.open(files[0]) as image:
        assert files[0].suffix == ".jpg" and image.format == "JPEG"
    with pytest.raises(InputError, match="format='jpg', now it is 'png'"):
        sample_writer.write_samples(trained, ["walker_01"], 1, 0, tmp_path)
    with pytest.raises(InputError, match="format 'gif' is not known"):
        sample_writer.write_samples(trained, ["walker_01"], 1, 0, tmp_path / "gif", sample_writer.SaveOptions("gif"))


def test_an_interrupted_call_goes_on_and_ends_as_if_it_had_not_been(trained, tmp_path, monkeypatch):
    """Killed after the first chunk, between image and provenance: the rest is drawn, what is there is left alone."""
    output, calls = sample_writer.SaveOptions(npz=True), []
    whole = sample_writer.write_samples(trained, trained.users, 2, 0, tmp_path / "whole", output)

    def dies(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return write_window(*args)

    write_window = export.write_window
    monkeypatch.setattr(export, "write_window", dies)
    with pytest.raises(KeyboardInterrupt):
        sample_writer.write_samples(trained, trained.users, 2, 0, tmp_path / "cut", output)
    assert not json.loads((tmp_path / "cut" / "provenance.json").read_text())["complete"]
    monkeypatch.setattr(export, "write_window", write_window)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "cut").rglob("*.png")}
    again = sample_writer.write_samples(trained, trained.users, 2, 0, tmp_path / "cut", output)
    assert len(before) == 2 and all(p.stat().st_mtime_ns == t for p, t in before.items())
    assert [a.read_bytes() for a in again] == [w.read_bytes() for w in whole]
    texts = [(tmp_path / name / "provenance.json").read_text() for name in ("whole", "cut")]
    assert texts[0] == texts[1]
    with np.load(tmp_path / "whole" / "samples.npz") as a, np.load(tmp_path / "cut" / "samples.npz") as b:
        np.testing.assert_array_equal(a["spectrogram"], b["spectrogram"])


def test_a_filter_keeps_the_first_that_pass_whatever_the_batch(trained, tmp_path, monkeypatch):
    """A check by a property of the window alone: kept are the lowest ids that have it, the rest is counted."""
    filter_ = rejection.WindowFilter(1, lambda x, users: x.spectrograms.mean((1, 2)) > level)
    monkeypatch.setattr(rejection, "make_filter", lambda *_: filter_)
    means = trained.sample(["walker_01"], 12, 0).mean((1, 2))
    level = float(np.sort(means)[7])  # four of twelve pass
    right = np.flatnonzero(means > level)[:3].tolist()
    for batch in (2, 3):
        model = trained._replace(config=trained.config.copy_and_resolve_references())
        model.config.sample.batch_size = batch
        folder = tmp_path / f"{batch}"
        files = sample_writer.write_samples(model, ["walker_01"], 3, 0, folder, PHYSICS)
        assert [int(f.stem[-4:]) for f in files] == right
        provenance = json.loads((folder / "provenance.json").read_text())
        assert {f["sample_id"] for f in provenance["files"].values()} == set(right)
        assert provenance["filter"] == ["physics"]
        assert len(provenance["rejected"]) == right[-1] + 1 - 3
        assert provenance["share_rejected"] == pytest.approx(1 - 3 / (right[-1] + 1), abs=1e-3)


HARD = sample_writer.SaveOptions(filters=["physics", "novelty", "hard"])


def darkest_of_four(windows, users):
    """As 'hard', of windows whose mean is no higher than -0.1."""
    means = windows.spectrograms.mean((1, 2))
    return rejection.keep_lowest(means < LEVEL, means)


LEVEL = 0.0


@pytest.mark.parametrize("batch", [3, 8])
def test_of_every_four_draws_one_is_kept_whatever_the_batch_and_the_interruption(trained, tmp_path, monkeypatch, batch):
    means = trained.sample(["walker_01"], 12, 0).mean((1, 2))
    monkeypatch.setattr(sys.modules[__name__], "LEVEL", float(np.median(means)))
    monkeypatch.setattr(rejection, "make_filter", lambda *_: rejection.WindowFilter(4, darkest_of_four))
    darkest = [4 * i + int(group.argmin()) for i, group in enumerate(means.reshape(3, 4)) if group.min() < LEVEL]
    model = trained._replace(config=trained.config.copy_and_resolve_references())
    model.config.sample.batch_size = batch

    def write(folder: str, count: int = len(darkest)) -> list[int]:
        files = sample_writer.write_samples(model, ["walker_01"], count, 0, tmp_path / folder, HARD)
        return [int(f.stem[-4:]) for f in files]

    assert len(darkest) > 1 and write("whole") == darkest
    with monkeypatch.context() as patch:
        patch.setattr(export, "write_window", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write("cut")
    assert write("cut", 1) == darkest[:1] and write("cut") == darkest
    records = [json.loads((tmp_path / name / "provenance.json").read_text()) for name in ("whole", "cut")]
    assert records[0] == records[1] and records[0]["filter"] == ["hard", "novelty", "physics"]
    assert len(records[0]["rejected"]) == (darkest[-1] // 4 + 1) * 4 - len(darkest)


def test_a_filter_that_nothing_passes_gives_up(trained, tmp_path, monkeypatch):
    filter_ = rejection.WindowFilter(1, lambda x, users: np.zeros(len(x.frames), bool))
    monkeypatch.setattr(rejection, "make_filter", lambda *_: filter_)
    with pytest.raises(InputError, match="only 0 of 20 samples of 'walker_01' pass --filter=physics"):
        sample_writer.write_samples(trained, ["walker_01"], 2, 0, tmp_path, PHYSICS)


def test_samples_of_a_person_enrolled_anew_do_not_join_the_old_ones(enrolled, tmp_path):
    person = enrolled.enrolled["NEW"]
    anew = enrolled._replace(enrolled={"NEW": person._replace(prior=person.prior + 1)})
    sample_writer.write_samples(enrolled, ["NEW"], 1, 0, tmp_path)
    sample_writer.write_samples(anew, ["walker_01"], 1, 0, tmp_path)
    sample_writer.write_samples(enrolled, ["NEW"], 2, 0, tmp_path)
    with pytest.raises(InputError, match="'NEW' as enrolled before"):
        sample_writer.write_samples(anew, ["NEW"], 2, 0, tmp_path)


def test_samples_are_a_data_set_and_say_where_they_came_from(trained, tmp_path):
    files = sample_writer.write_samples(trained, trained.users, 2, 0, tmp_path)
    items = sources.scan_windows(tmp_path)
    assert {item.user for item in items} == set(trained.users) and len(items) == len(files) == 4
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert provenance["complete"] and set(provenance["files"]) == {item.file for item in items}
    assert (tmp_path / "grid.png").stat().st_size > 1000
    # a second call draws nothing, a larger one adds, other settings are refused
    before = {f: f.stat().st_mtime_ns for f in files}
    more = sample_writer.write_samples(trained, trained.users, 3, 0, tmp_path)
    assert len(more) == 6 and all(f.stat().st_mtime_ns == t for f, t in before.items())
    with pytest.raises(InputError, match="seed=0, now it is 1"):
        sample_writer.write_samples(trained, trained.users, 2, 1, tmp_path)


@pytest.mark.parametrize(
    ("users", "n", "says"),
    [(["walker_3"], 1, "did you mean"), (["walker_01", "walker_01"], 1, "twice"), (["walker_01"], 0, "at least 1")],
)
def test_bad_requests_are_refused(trained, tmp_path, users, n, says):
    with pytest.raises(InputError, match=says):
        sample_writer.write_samples(trained, users, n, 0, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_ends_in_one_line_and_the_next_call_goes_on(trained, tmp_path, monkeypatch):
    """The limit on the size of files stands for a full disk: the sheet is larger, the images are smaller."""
    options = sample_writer.SaveOptions(npz=True)

    def write() -> list[Path]:
        return sample_writer.write_samples(trained, trained.users, 2, 0, tmp_path / "s", options)

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    monkeypatch.setattr(render, "save_figure", save_large_file)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
        with pytest.raises(InputError, match=r"cannot be written \(.*\): 4 samples are there; .* goes on") as caught:
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "\n" not in str(caught.value) and not (tmp_path / "s" / "grid.png").exists()
    assert not [path for path in (tmp_path / "s").rglob(".*") if path.is_file()], "nothing is half-written"
    assert not json.loads((tmp_path / "s" / "provenance.json").read_text())["complete"]
    monkeypatch.undo()
    images = {p: p.stat().st_mtime_ns for p in (tmp_path / "s").rglob("walker*.png")}
    assert len(write()) == len(images) == 4 and all(p.stat().st_mtime_ns == t for p, t in images.items())
    assert (tmp_path / "s" / "grid.png").is_file() and (tmp_path / "s" / "samples.npz").is_file()


def save_large_file(figure, path) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(bytes(2**21))


def test_a_disk_that_is_full_after_some_images(trained, tmp_path, monkeypatch):
    write_image, calls = export.write_image, []

    def fill(*args) -> None:
        calls.append(args)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_image(*args)

    monkeypatch.setattr(export, "write_image", fill)
    with pytest.raises(InputError, match=r"No space left on device.*2 samples are there"):
        sample_writer.write_samples(trained, trained.users, 2, 0, tmp_path / "s")
    assert len(sample_writer.write_samples(trained, trained.users, 2, 0, tmp_path / "s")) == 4 and len(calls) == 3 + 2


def test_folders_of_other_things_are_refused(trained, root, tmp_path):
    """A folder of recordings, the working directory itself, a file, a data set's place that is taken."""
    config = trained.config.copy_and_resolve_references()
    config.data.path = str(tmp_path / "recordings")
    model = trained._replace(config=config)
    (tmp_path / "recordings" / "walker_01").mkdir(parents=True)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "s_tfds").mkdir()
    (tmp_path / "s_tfds" / "mine").write_text("mine")
    tfds = sample_writer.SaveOptions(tfds=True)
    for folder, says in (
        (tmp_path / "recordings", "folder of the recordings"),
        (tmp_path / "recordings" / "new", "folder of the recordings"),
        (root, "holds other files"),
        (tmp_path / "file", "is a file"),
        (tmp_path / "s", "where --tfds writes"),
    ):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(InputError, match=says):
            sample_writer.write_samples(model, model.users, 1, 0, folder, tfds)
        assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_image_or_array_is_named(trained, tmp_path):
    files = sample_writer.write_samples(trained, trained.users, 1, 0, tmp_path, sample_writer.SaveOptions(npz=True))
    good = files[0].read_bytes()
    files[0].write_bytes(good[:60])
    with pytest.raises(InputError, match=f"{files[0].name}' cannot be read.*remove it"):
        sample_writer.write_samples(trained, trained.users, 1, 0, tmp_path)
    Image.new("RGB", (8, 8)).save(files[0])
    write_more = functools.partial(sample_writer.write_samples, trained, trained.users, 2, 0, tmp_path)
    with pytest.raises(InputError, match="has another size than"):
        write_more()
    files[0].unlink()
    assert len(write_more()) == 4 and files[0].read_bytes() == good
    (tmp_path / "samples.npz").write_bytes((tmp_path / "samples.npz").read_bytes()[:99])
    with pytest.raises(InputError, match=r"samples.npz' is damaged .* remove it"):
        write_more(sample_writer.SaveOptions(npz=True))


def test_packed_names_of_other_places_are_refused(tmp_path):
    np.savez(tmp_path / "samples.npz", name=np.array(["../../escaped"]), spectrogram=np.zeros((1, 4, 4)))
    with pytest.raises(InputError, match="names of other files"):
        sample_arrays.unpack_arrays(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["samples.npz"]


@pytest.mark.parametrize("suffix", ["_like_.._strength1.0", "_like_" + "é" * 300, "_like_a\nb/../c\udcff"])
def test_any_file_gives_a_folder_a_name(trained, tmp_path, suffix):
    folder = provenance.default_folder(trained, tmp_path, 0, suffix)
    assert folder.parent == tmp_path and folder.name.isprintable()
    folder.mkdir()
