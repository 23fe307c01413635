"""Laws of sampling as people use it: modes, outputs, filters, enrolment. On networks whose parameters are random."""

import dataclasses
import itertools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from configs import tiny
from mdiff_jax import load
from mdiff_jax.config import STAGES, apply_function, build_decoder, parameter_shapes, to_plain_dict
from mdiff_jax.data import builders, export, sources, splits
from mdiff_jax.diffusion import editing, samplers, schedules
from mdiff_jax.inference import denoisers, rejection, sample_writer, sampling_jobs, user_adapters, user_windows
from mdiff_jax.runtime import parallel
from mdiff_jax.runtime.checkpointing import Checkpoints
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir, write_json
from mdiff_jax.training import enrollment

STEPS = 2


@pytest.fixture(scope="module", autouse=True)
def cheap_compilation(tmp_path_factory):
    jax.config.update("jax_disable_most_optimizations", True)
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("programs")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.config.update("jax_compilation_cache_dir", None)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A working directory whose stages look finished: parameters are random, heads too."""
    workdir = Workdir(tmp_path_factory.mktemp("run"))
    config = tiny.get_config()
    config.data.image_size = (16, 16)
    config.data.walkers.update(num_users=2, recordings_per_user=6, windows_per_recording=2)
    config.encoder.update(embedding_dim=4, channels=(8, 8), patch=2)
    config.prior.update(width=8, depth=1, heads=2, sample_timesteps=STEPS)
    config.decoder.update(channels=(8, 8), patch=2, cond_width=8, head_width=8, sample_timesteps=STEPS)
    config.sample.update(num_samples_per_user=2, batch_size=2)
    c = config.data
    dataset = builders.prepare_dataset(
        kind="walkers",
        path="",
        image_size=c.image_size,
        cache_dir=workdir.data,
        channels=c.channels,
        colormap_name=c.colormap,
        native_frames=False,
        stft=dict(c.stft),
        walkers=dict(c.walkers),
    )
    splits.write_split(
        workdir.split, splits.make_split(dataset, fractions=c.fractions, by=c.split_by, gap=c.gap, seed=0)
    )
    write_json(workdir.config, to_plain_dict(config))
    constants = {"embedding_mean": np.full(4, 0.1, np.float32), "embedding_deviation": np.float32(0.4)}
    meta = {"users": dataset.users, "finished": True, "total_steps": 3, "depends": "one encoder"}
    rng = np.random.default_rng(0)
    for name in STAGES:
        shapes = parameter_shapes(config, name, 2)
        params = jax.tree_util.tree_map_with_path(
            lambda path, x: 0.2 * rng.normal(size=x.shape).astype(np.float32) + (path[-1].key == "scale"), shapes
        )
        ema = {str(config.sample.ema_decay): params}
        with Checkpoints(workdir.checkpoints(name)) as checkpoints:
            checkpoints.save(3, {"ema": ema} | ({} if name == "encoder" else {"constants": constants}), meta)
    return workdir.root


@pytest.fixture(scope="module")
def trained(root):
    return load(root)


@pytest.fixture(scope="module")
def windows(trained, tmp_path_factory):
    """A folder of six windows of a stranger."""
    folder = tmp_path_factory.mktemp("given") / "stranger"
    for i, x in enumerate(trained.dataset.load(np.arange(6))):
        export.write_image(folder / f"walk_{i}.png", export.to_image(x, "jet"), trained.image_size())
    return folder


def test_the_package_is_cheap_to_import_and_gives_load_on_request():
    program = "import sys, mdiff_jax; assert 'jax' not in sys.modules; assert not hasattr(mdiff_jax, 'lood')"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])


def test_three_lines_of_python(trained):
    x = trained.sample(users=["walker_01"], n=3, seed=0)
    assert x.shape == (3, 16, 16) and np.abs(x).max() <= 1 and np.std(x) > 0.01
    assert trained.to_image(x).shape == (3, 16, 16, 3)


def test_a_second_call_compiles_nothing(root, trained, monkeypatch):
    trained.sample(["walker_01"], 2, 0)
    monkeypatch.setattr(parallel, "compile_map", None)
    monkeypatch.setattr(denoisers, "make_window_sampler", None)
    load(root).sample(["walker_02"], 2, 1)


def test_settings_go_over_those_of_the_working_directory(root, trained):
    assert load(root, {"decoder.sample_timesteps": 5}).config.decoder.sample_timesteps == 5
    with pytest.raises(InputError, match="is not among ema_decays"):
        load(root, {"sample.ema_decay": 0.5})


def test_given_windows_are_embedded_as_training_standardised_them(trained):
    x = trained.dataset.load(np.arange(2))
    unit = trained.embed(x) * 0.4 + 0.1
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1.0, atol=1e-5)


# --- outputs


def test_images_arrays_and_data_set_say_the_same(trained, tmp_path):
    output = sample_writer.OutputFormats("png", tfds=True)
    files = sample_writer.write_samples(trained, trained.users, 2, 0, tmp_path / "s", output)
    with np.load(tmp_path / "s" / "samples.npz", allow_pickle=False) as npz:
        arrays = {name: npz[name] for name in npz.files}
    assert arrays["user"].tolist() == ["walker_01"] * 2 + ["walker_02"] * 2 and arrays["sample_id"].tolist() == [
        0,
        1,
        0,
        1,
    ]
    np.testing.assert_array_equal(arrays["spectrogram"], trained.sample(trained.users, 2, 0))
    assert arrays["velocity"].shape == (16,) and arrays["time"][-1] < trained.dataset.metadata["window_seconds"]
    prepared = builders.open_prepared(tmp_path / "s_tfds")
    np.testing.assert_allclose(prepared.load(np.arange(4))[..., 0], arrays["spectrogram"], atol=1e-4)
    assert prepared.users == trained.users
    drawn = np.asarray(Image.open(files[3]))[8::16, 8::16]
    np.testing.assert_array_equal(drawn, trained.to_image(arrays["spectrogram"][3]))
    assert {i.user for i in sources.scan_windows(tmp_path / "s")} == set(trained.users)
    assert not (tmp_path / "s" / ".windows").exists()


def test_two_processes_write_what_one_writes(root, tmp_path):
    model = load(root, {"sample.cond_scale": 2.0, "sample.guidance_interval": (-3.0, 3.0)})
    sample_writer.write_samples(model, model.users, 3, 0, tmp_path / "one", sample_writer.OutputFormats(npz=True))

    with socket.socket() as s:
        s.bind(("localhost", 0))
        address = f"localhost:{s.getsockname()[1]}"
    script, pipe = Path(__file__).parents[2] / "sample.py", subprocess.PIPE
    flags = [f"--workdir={root}", f"--output_dir={tmp_path / 'two'}", "--num_samples_per_user=3", "--npz"]
    flags += ["--cond_scale=2", "--guidance_interval=-3,3", f"--coordinator_address={address}", "--num_processes=2"]
    env = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    both = [
        subprocess.Popen([sys.executable, script, *flags, f"--process_id={i}"], env=env, stdout=pipe, stderr=pipe)
        for i in (0, 1)
    ]
    (out, said), (silent, also) = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], said + also
    assert b"6 images in" in out and b"images" not in silent

    one, two = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("one", "two")
    )
    assert one.keys() == two.keys() and len(one) == 6 + 3
    assert [path.name for path in one if one[path] != two[path]] in ([], ["samples.npz"])
    with np.load(tmp_path / "one" / "samples.npz") as a, np.load(tmp_path / "two" / "samples.npz") as b:
        np.testing.assert_array_equal(a["name"], b["name"])
        np.testing.assert_allclose(a["spectrogram"], b["spectrogram"], atol=1e-5)


def test_jpg_and_another_format_in_the_same_folder_is_refused(trained, tmp_path):
    files = sample_writer.write_samples(trained, ["walker_01"], 2, 0, tmp_path, sample_writer.OutputFormats("jpg"))
    with Image.open(files[0]) as image:
        assert files[0].suffix == ".jpg" and image.format == "JPEG"
    with pytest.raises(InputError, match="format='jpg', now it is 'png'"):
        sample_writer.write_samples(trained, ["walker_01"], 1, 0, tmp_path)
    with pytest.raises(InputError, match="format 'gif' is not known"):
        sample_writer.write_samples(trained, ["walker_01"], 1, 0, tmp_path / "gif", sample_writer.OutputFormats("gif"))


def test_an_interrupted_call_goes_on_and_ends_as_if_it_had_not_been(trained, tmp_path, monkeypatch):
    """Killed after the first chunk, between image and provenance: the rest is drawn, what is there is left alone."""
    output, calls = sample_writer.OutputFormats(npz=True), []
    whole = sample_writer.write_samples(trained, trained.users, 2, 0, tmp_path / "whole", output)

    def dies(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return write_image(*args)

    write_image = export.write_image
    monkeypatch.setattr(export, "write_image", dies)
    with pytest.raises(KeyboardInterrupt):
        sample_writer.write_samples(trained, trained.users, 2, 0, tmp_path / "cut", output)
    assert not json.loads((tmp_path / "cut" / "provenance.json").read_text())["complete"]
    monkeypatch.setattr(export, "write_image", write_image)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "cut").rglob("*.png")}
    again = sample_writer.write_samples(trained, trained.users, 2, 0, tmp_path / "cut", output)
    assert len(before) == 2 and all(p.stat().st_mtime_ns == t for p, t in before.items())
    assert [a.read_bytes() for a in again] == [w.read_bytes() for w in whole]
    texts = [(tmp_path / name / "provenance.json").read_text() for name in ("whole", "cut")]
    assert texts[0] == texts[1]
    with np.load(tmp_path / "whole" / "samples.npz") as a, np.load(tmp_path / "cut" / "samples.npz") as b:
        np.testing.assert_array_equal(a["spectrogram"], b["spectrogram"])


# --- filters


def test_a_filter_keeps_the_first_that_pass_whatever_the_batch(trained, tmp_path, monkeypatch):
    """A check by a property of the window alone: kept are the lowest ids that have it, the rest is counted."""
    monkeypatch.setattr(rejection, "make_filter", lambda model, names: lambda x: x.mean((1, 2)) > level)
    means = trained.sample(["walker_01"], 12, 0).mean((1, 2))
    level = float(np.sort(means)[7])  # four of twelve pass
    right = np.flatnonzero(means > level)[:3].tolist()
    for batch in (2, 3):
        model = trained._replace(config=trained.config.copy_and_resolve_references())
        model.config.sample.batch_size = batch
        folder = tmp_path / f"{batch}"
        files = sample_writer.write_samples(model, ["walker_01"], 3, 0, folder, filters=["physics"])
        assert [int(f.stem[-4:]) for f in files] == right
        provenance = json.loads((folder / "provenance.json").read_text())
        assert {f["sample_id"] for f in provenance["files"].values()} == set(right)
        assert provenance["filter"] == ["physics"]
        assert len(provenance["rejected"]) == right[-1] + 1 - 3
        assert provenance["share_rejected"] == pytest.approx(1 - 3 / (right[-1] + 1), abs=1e-3)


def test_a_filter_that_nothing_passes_gives_up(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(rejection, "make_filter", lambda model, names: lambda x: np.zeros(len(x), bool))
    with pytest.raises(InputError, match="only 0 of 20 samples of 'walker_01' pass --filter=physics"):
        sample_writer.write_samples(trained, ["walker_01"], 2, 0, tmp_path, filters=["physics"])


def test_checks_pass_real_windows_and_refuse_copies_and_noise(trained):
    validation, train = (trained.windows(name)[0] for name in ("validation", "train"))
    passes = rejection.make_filter(trained, ["novelty"])
    assert passes(validation).all() and not passes(train).any()
    assert not rejection.make_filter(trained, ["physics"])(np.random.default_rng(0).uniform(-1, 1, (4, 16, 16))).any()
    with pytest.raises(InputError, match="filter 'identity' is not known"):
        rejection.make_filter(trained, ["identity"])


# --- between


def test_slerp_keeps_to_the_circle_and_to_its_ends():
    a, b = np.array([[2.0, 0.0]]), np.array([[0.0, 4.0]])
    np.testing.assert_allclose(sampling_jobs.slerp(a, b, 0.0), a, atol=1e-12)
    np.testing.assert_allclose(sampling_jobs.slerp(a, b, 1.0), b, atol=1e-12)
    np.testing.assert_allclose(sampling_jobs.slerp(a, b, 0.5), [[3 / np.sqrt(2), 3 / np.sqrt(2)]], atol=1e-12)
    np.testing.assert_allclose(sampling_jobs.slerp(a, a, 0.3), a, atol=1e-12)


def test_a_strip_goes_from_one_user_to_the_other_by_small_steps(trained, tmp_path):
    job = sampling_jobs.interpolate(trained, trained.users, 6, 1, 0)
    files = sample_writer.write_job(job, 0, tmp_path, sample_writer.OutputFormats(npz=True))
    assert len(files) == 6 and (tmp_path / "strip.png").stat().st_size > 1000
    with np.load(tmp_path / "samples.npz") as npz:
        x = npz["spectrogram"]
    steps = [np.abs(a - b).mean() for a, b in itertools.pairwise(x)]
    assert 0 < max(steps) < 0.5 * np.abs(x[0] - x[-1]).mean()
    back = sampling_jobs.interpolate(trained, trained.users, 2, 1, 0)  # the ends do not depend on what lies between
    ends = np.concatenate([w for _, w in back.model.draw([t.request for t in back.tasks], 0, back.function)])
    np.testing.assert_allclose(ends, x[[0, -1]], atol=1e-5)
    shares = [f["share_of_second"] for f in json.loads((tmp_path / "provenance.json").read_text())["files"].values()]
    assert shares[0] == 0 and shares[-1] == 1


# --- like


def test_variations_stay_the_nearer_the_weaker(trained, windows):
    distance = []
    for strength in (0.6, 1.0):
        config = trained.config.copy_and_resolve_references()
        config.decoder.sample_timesteps = 10
        job = sampling_jobs.variations(
            trained._replace(config=config),
            user_windows.read_user_windows(trained, windows, "walker_02"),
            strength,
            1,
            0,
        )
        x = np.concatenate([w for _, w in job.model.draw([t.request for t in job.tasks], 0, job.function)])
        distance.append(np.abs(x - np.stack([t.request.given["window"][..., 0] for t in job.tasks])).mean())
    assert distance[0] < distance[1]


def test_a_strength_that_cannot_be_leaves_nothing_behind(trained, windows, tmp_path):
    job = sampling_jobs.variations(
        trained, user_windows.read_user_windows(trained, next(windows.glob("*.png")), "walker_01"), 0.0, 1, 0
    )
    with pytest.raises(InputError, match="strength = 0"):
        sample_writer.write_job(job, 0, tmp_path, sample_writer.OutputFormats())
    assert not list(tmp_path.iterdir())


def test_given_windows_have_a_size_and_a_user(trained, windows, tmp_path):
    with pytest.raises(InputError, match="user 'stranger' is unknown"):
        sampling_jobs.variations(trained, user_windows.read_user_windows(trained, windows, None), 0.5, 1, 0)
    Image.new("RGB", (64, 32), (0, 0, 143)).save(tmp_path / "small.png")
    with pytest.raises(InputError, match=r"small\.png' is 64x32, the model's recordings are 256x256"):
        user_windows.read_user_windows(trained, tmp_path / "small.png", None)
    with pytest.raises(InputError, match="is not there"):
        user_windows.read_user_windows(trained, tmp_path / "none", None)


# --- longer walks

SCHEDULE = schedules.cosine(1000)


def correlated(x, t):
    """Exact denoiser of N(0, C) along time, C falling with the distance: windows of 8 frames."""
    where = jnp.arange(8)
    cov = 0.25 * jnp.exp(-jnp.abs(where[:, None] - where) / 2.0)
    abar = jnp.asarray(SCHEDULE.alphas_cumprod, jnp.float32)[t[0]]
    gain = jnp.sqrt(abar) * cov @ jnp.linalg.inv(abar * cov + (1 - abar) * jnp.eye(8))
    return jnp.einsum("st,bftc->bfsc", gain, x)


def test_longer_walks_have_no_seam():
    """Frames are as like their neighbours where a window begins as inside of windows, and as strong."""
    keys = jax.random.split(jax.random.key(0), 3000)
    joined = editing.overlapping_windows(correlated, 4, 8)
    x = samplers.sample(
        joined,
        samplers.initial_noise(keys, (1, 20, 1)),
        schedule=SCHEDULE,
        method="ddim",
        sample_timesteps=50,
        spacing="trailing",
    )
    x = np.asarray(x)[:, 0, :, 0]
    change = ((x[:, 1:] - x[:, :-1]) ** 2).mean(0)
    assert change.max() / change.min() < 1.5
    assert x.std(0).max() / x.std(0).min() < 1.25


def test_a_walk_of_one_window_is_that_window():
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 1)).astype(np.float32)
    t = np.array([500, 500])
    np.testing.assert_allclose(editing.overlapping_windows(correlated, 1, 8)(x, t), correlated(x, t), atol=1e-6)


def test_seconds_give_wider_images(trained, tmp_path):
    lasts = trained.dataset.metadata["window_seconds"]
    job = sampling_jobs.long_walks(trained, ["walker_01"], 1, 0, 2.6 * lasts, None)
    (file,) = sample_writer.write_job(job, 0, tmp_path, sample_writer.OutputFormats())
    frames = round(2.6 * 16)
    with Image.open(file) as image:
        assert image.size == (round(256 * frames / 16), 256)
    with pytest.raises(InputError, match="which one window lasts"):
        sampling_jobs.long_walks(trained, ["walker_01"], 1, 0, lasts, None)
    unknown = trained.dataset.metadata | {"window_seconds": None}
    blind = trained._replace(dataset=dataclasses.replace(trained.dataset, metadata=unknown))
    with pytest.raises(InputError, match="give --window_seconds"):
        sampling_jobs.long_walks(blind, ["walker_01"], 1, 0, 10.0, None)


# --- a new person


@pytest.fixture(scope="module")
def enrolled(root, windows):
    with pytest.MonkeyPatch.context() as quick:
        quick.setattr(enrollment, "STEPS", 20)
        enrollment.enroll(root, "NEW", windows)
    yield load(root)
    (root / "enrolled" / "NEW.npz").unlink()


def test_a_new_person_is_sampled_like_any_other_and_nobody_else_changes(trained, enrolled, tmp_path):
    both = enrolled.sample(["walker_02", "NEW"], 2, 0)
    np.testing.assert_allclose(both[:2], trained.sample(["walker_02"], 2, 0), atol=1e-4)
    assert np.abs(both[2:] - both[:2]).max() > 1e-3
    files = sample_writer.write_samples(enrolled, ["NEW"], 2, 0, tmp_path)
    assert files[0].parent.name == "NEW" and (tmp_path / "grid.png").is_file()
    assert enrolled.users == trained.users


def test_what_is_told_of_a_person_is_found_from_the_middle_of_the_users():
    """Where the loss is least at one of the rows."""
    table = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    row_of = lambda free: jax.nn.softmax(free["weights"]) @ table + free["deviation"]  # noqa: E731
    objective = lambda target, free, key: (jnp.sum((row_of(free) - target["row"]) ** 2), 0.0)  # noqa: E731
    free = enrollment.optimize_adapter(
        objective, {"row": table[2]}, {"weights": jnp.zeros(4), "deviation": jnp.zeros(6)}, "prior"
    )
    np.testing.assert_allclose(row_of(free), table[2], atol=0.1)


def test_a_person_told_nothing_more_is_the_mean_of_users_and_blocks_hear_of_that_person_alone(trained):
    """Modulations of zero change nothing, others change the new person and neither users nor the null user."""
    params, config = trained.params["decoder"], trained.config
    denoise, x = apply_function(build_decoder(config, 3)), trained.dataset.load(np.arange(3))
    biases = {name: p["modulation"]["bias"] for name, p in params.items() if "modulation" in p}
    more = user_adapters.append_user_rows(params, params["user"]["embedding"][:1])

    def output(push: float, *keep: bool) -> np.ndarray:
        blocks = {name: jnp.full((1, len(bias)), push) for name, bias in biases.items()}
        told = user_adapters.append_modulations(more, 2, blocks)
        same = x[:1].repeat(3, 0), jnp.zeros(3), jnp.ones((3, 4))
        return np.asarray(denoise(told, *same, jnp.arange(3), np.array(keep, bool)))

    np.testing.assert_allclose(output(0.0, 1, 1, 1)[0], output(0.0, 1, 1, 1)[2], atol=1e-5)
    still, pushed = output(0.0, 1, 1, 1), output(0.5, 1, 1, 1)
    np.testing.assert_allclose(still[:2], pushed[:2], atol=1e-5)
    assert np.abs(still[2] - pushed[2]).max() > 1e-2
    np.testing.assert_allclose(output(0.0, 1, 1, 0), output(0.5, 1, 1, 0), atol=1e-5)


def test_people_are_read_as_they_were_written(enrolled, tmp_path):
    person = enrolled.enrolled["NEW"]
    assert person.modulations.keys() == {name for name, p in enrolled.params["decoder"].items() if "modulation" in p}
    assert max(np.abs(x).max() for x in person.modulations.values()) > 1e-3
    user_adapters.write_adapter(tmp_path / "NEW.npz", person)
    jax.tree.map(np.testing.assert_array_equal, user_adapters.read_adapter(tmp_path / "NEW.npz"), person)
    user_adapters.write_adapter(tmp_path / "NEW.npz", person._replace(modulations={}))
    with pytest.raises(InputError, match=r"no modulations.*enrol that person again"):
        user_adapters.read_adapter(tmp_path / "NEW.npz")


def test_samples_of_a_person_enrolled_anew_do_not_join_the_old_ones(enrolled, tmp_path):
    person = enrolled.enrolled["NEW"]
    anew = enrolled._replace(enrolled={"NEW": person._replace(prior=person.prior + 1)})
    sample_writer.write_samples(enrolled, ["NEW"], 1, 0, tmp_path)
    sample_writer.write_samples(anew, ["walker_01"], 1, 0, tmp_path)
    sample_writer.write_samples(enrolled, ["NEW"], 2, 0, tmp_path)
    with pytest.raises(InputError, match="'NEW' as enrolled before"):
        sample_writer.write_samples(anew, ["NEW"], 2, 0, tmp_path)


def test_a_strip_between_a_user_and_a_new_person_ends_at_both(enrolled, tmp_path):
    """The decoder hears of the last window of the strip what it hears of the person."""
    job = sampling_jobs.interpolate(enrolled, ("walker_01", "NEW"), 3, 1, 0)
    tables = job.model.params["decoder"]["modulations"]
    for name, table in tables.items():
        np.testing.assert_allclose(table[-1], enrolled.enrolled["NEW"].modulations[name], atol=1e-6)
        np.testing.assert_allclose(table[-3], 0.0)
        np.testing.assert_allclose(table[-2], (table[-1] + table[-3]) / 2, atol=1e-6)


def test_enrolment_refuses_names_that_are_taken_and_too_few_windows(root, enrolled, windows, tmp_path):
    for name, says in (
        ("walker_01", "there already"),
        ("new", "there already"),
        ("a/b", "cannot be"),
        ("all", "cannot be"),
    ):
        with pytest.raises(InputError, match=says):
            enrollment.enroll(root, name, windows)
    with pytest.raises(InputError, match="holds 1 windows: give 5 to 20"):
        enrollment.enroll(root, "OTHER", next(windows.glob("*.png")))
    Image.new("RGB", (64, 32), (0, 0, 143)).save(tmp_path / "small.png")
    with pytest.raises(InputError, match="is 64x32"):
        enrollment.enroll(root, "OTHER", tmp_path)


def test_a_person_of_other_weights_is_refused(enrolled):
    with pytest.raises(InputError, match="enrol again"):
        enrolled._replace(step=4).requests(["NEW"], [0])
