"""The whole path on a small scale: train, be interrupted, resume, sample; and what is refused on the way."""

import functools
import json
import os
import re
import shutil
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from configs import tiny
from mdiff_jax.config import STAGES, flatten, from_plain_dict, to_plain_dict
from mdiff_jax.data import colormap, export, loader, sources
from mdiff_jax.evaluation import run, summary, sweep
from mdiff_jax.inference import denoisers, model, provenance, sample_writer
from mdiff_jax.metrics import augmentation_utility, cnn_classifier, reference
from mdiff_jax.runtime.errors import InputError, Stopped
from mdiff_jax.runtime.metric_writer import RunLog
from mdiff_jax.runtime.preemption import PreemptionHandler
from mdiff_jax.runtime.workdir import Workdir
from mdiff_jax.training import enrollment, train_loop, training_data


def small() -> ConfigDict:
    config = tiny.get_config()
    config.log_every, config.checkpoint_every, config.compilation_cache = 1, 2, False
    config.data.image_size = (16, 16)
    config.data.walkers.update(num_users=2, recordings_per_user=6, windows_per_recording=2)
    config.encoder.update(embedding_dim=4, channels=(8, 8), patch=2, epochs=2, batch_size=4)
    config.prior.update(width=8, depth=1, heads=2, epochs=2, batch_size=4, sample_timesteps=2)
    config.decoder.update(channels=(8, 8), patch=2, cond_width=8, head_width=8, epochs=2, batch_size=4)
    config.decoder.sample_timesteps = 2
    config.sample.update(num_samples_per_user=2, batch_size=3)
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("finished")
    train_loop.train(small(), root)
    return root


@pytest.fixture(scope="module")
def trained(finished):
    return model.load(finished)


def losses(root: Path, stages: tuple[str, ...] = STAGES) -> dict[str, list]:
    lines = {s: Workdir(root).metrics(s).read_text().splitlines() for s in stages}
    return {s: [(m["step"], m["loss"]) for m in map(json.loads, text) if "loss" in m] for s, text in lines.items()}


def test_a_working_directory_describes_itself(finished):
    assert from_plain_dict(json.loads((finished / "config.json").read_text())).to_dict() == small().to_dict()
    split = json.loads((finished / "split.json").read_text())
    assert not set(split["train"]) & set(split["test"])
    for stage, lines in losses(finished).items():
        assert [step for step, _ in lines] == list(range(1, len(lines) + 1)) and len(lines) >= 4, stage
        assert np.isfinite([loss for _, loss in lines]).all()


def crash():
    raise MemoryError("the machine is gone")


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def test_an_interrupted_run_ends_as_if_it_had_not_been(finished, tmp_path, monkeypatch):
    """Stopped in every stage between two checkpoints: the same losses, and the same parameters bit for bit."""
    batches, ends = loader.train_batches, [(crash, MemoryError), (terminate, Stopped), (terminate, Stopped)]

    def interrupted(end, *args, start_step, balanced, **kwargs):
        for i, batch in enumerate(batches(*args, start_step=start_step, balanced=balanced, **kwargs)):
            if balanced and start_step == 0 and i == 5:  # training, not validation; two batches are fetched ahead
                end()
            yield batch

    for end, seen in ends:
        monkeypatch.setattr(loader, "train_batches", functools.partial(interrupted, end))
        with pytest.raises(seen):
            train_loop.train(small(), tmp_path)
    train_loop.train(small(), tmp_path)
    assert losses(tmp_path) == losses(finished)
    again, before = model.load(tmp_path).params, model.load(finished).params
    jax.tree.map(np.testing.assert_array_equal, again, before)


def test_a_finished_run_is_left_alone(finished, capsys):
    before = losses(finished)
    train_loop.train(small(), finished)
    assert losses(finished) == before
    assert "finished" in capsys.readouterr().out


def test_another_configuration_is_refused_by_its_key(finished):
    config = small()
    config.decoder.batch_size = 2
    with pytest.raises(InputError, match=r"decoder\.batch_size=4, now it is 2"):
        train_loop.train(config, finished)


@pytest.fixture(scope="module")
def extended(finished, tmp_path_factory):
    """The finished run, trained on: more epochs for the encoder, so all comes anew, with a curriculum of timesteps."""
    root = tmp_path_factory.mktemp("extended") / "run"
    shutil.copytree(finished, root)
    config = small()
    config.encoder.epochs, config.sheet_every = 3, 2
    train_loop.train(config, root)
    return root


def test_more_epochs_go_on_and_what_depends_is_trained_anew(finished, extended):
    before, after = losses(finished), losses(extended)
    assert len(after["encoder"]) == 12 and after["encoder"][:7] == before["encoder"][:7]
    assert (extended / "prior.before_1").is_dir() and (extended / "decoder.before_1").is_dir()
    assert after["prior"] != before["prior"], "other embeddings"
    with np.load(extended / "embeddings.npz") as now, np.load(finished / "embeddings.npz") as then:
        assert str(now["fingerprint"]) != str(then["fingerprint"])
    said = (extended / "train.log").read_text()
    assert "prior: the encoder has changed since" in said and "encoder: done at step 12" in said
    fewer = small()
    fewer.encoder.epochs = 1
    with pytest.raises(InputError, match=r"encoder\.epochs=3, now it is 1"):
        train_loop.train(fewer, extended)


def test_checkpoints_come_with_a_validation_loss_and_a_sheet(extended):
    lines = [json.loads(line) for line in Workdir(extended).metrics("decoder").read_text().splitlines()]
    measured = {line["step"]: line["validation_loss"] for line in lines if "validation_loss" in line}
    assert list(measured)[:2] == [2, 4] and np.isfinite(list(measured.values())).all()
    with Image.open(extended / "decoder" / "sheets" / "step_000004.png") as sheet:
        assert sheet.width > 100
    assert 0 <= next(line["sheet_identity"] for line in lines if "sheet_identity" in line) <= 1
    assert list((extended / "tensorboard" / "decoder").iterdir())


def test_a_stage_ends_early_once_the_validation_loss_no_longer_falls(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(train_loop, "make_validation", lambda *_: lambda params: {"loss": 1.0})
    config = small()
    config.stage, config.patience, config.encoder.epochs = "encoder", 2, 9
    train_loop.train(config, tmp_path)
    steps = [step for step, _ in losses(tmp_path, ("encoder",))["encoder"]]
    assert steps[-1] == 6, "the first at 2, then two that are not better"
    train_loop.train(config, tmp_path)
    assert "encoder: finished at step 6" in (tmp_path / "train.log").read_text()


def test_a_curriculum_changes_the_timesteps_and_resumes_there(finished, tmp_path):
    config = small()
    config.stage, config.prior.curriculum = "prior", ((10, 1), (1000, 1))
    for name in ("config.json", "split.json", "data", "encoder"):
        copy = shutil.copytree if (finished / name).is_dir() else shutil.copyfile
        copy(finished / name, tmp_path / name)
    with pytest.raises(InputError, match=r"prior\.curriculum=\[\], now it is"):
        train_loop.train(config, tmp_path)
    (tmp_path / "config.json").unlink()
    train_loop.train(config, tmp_path)
    lines = [json.loads(line) for line in Workdir(tmp_path).metrics("prior").read_text().splitlines()]
    assert [line["timesteps"] for line in lines if "timesteps" in line] == 4 * [10] + 4 * [1000]
    config.prior.curriculum = ((10, 1), (1000, 2))  # more at its end
    train_loop.train(config, tmp_path)
    assert losses(tmp_path, ("prior",))["prior"][-1][0] == 12
    config.prior.curriculum = ((20, 1), (1000, 2))
    with pytest.raises(InputError, match=r"prior\.curriculum"):
        train_loop.train(config, tmp_path)


def test_a_dry_run_says_what_it_takes_and_leaves_nothing(tmp_path, capsys):
    config = small()
    config.dry_run = True
    train_loop.train(config, tmp_path / "new")
    said = capsys.readouterr().out
    assert not (tmp_path / "new").exists()
    for stage in STAGES:
        assert f"{stage}\n  parameters" in said
    assert said.count("GFLOP a window") == said.count("by the compiler's plan") == 3


def test_a_stage_needs_those_before_it(tmp_path):
    config = small()
    config.stage = "decoder"
    with pytest.raises(InputError, match=r"stage encoder .* is not finished"):
        train_loop.train(config, tmp_path)
    with pytest.raises(InputError, match="stage encoder is at step 0"):
        model.load(tmp_path)


def test_prior_and_decoder_see_the_embedding_that_the_encoder_gives(finished, trained):
    """The table that both train on is the frozen encoder's answer, standardised on the training split."""
    config, workdir = small(), Workdir(finished)
    data = training_data.prepare_data(config, workdir)
    run = train_loop.TrainingRun(config, workdir, data, RunLog(workdir, writes=False), PreemptionHandler())
    params = train_loop.train_stage(run, "encoder", training_data.NO_EMBEDDINGS, may_train=False)
    table, constants, _ = training_data.embed_dataset(config, workdir, data, params)
    z = denoisers.make_encoder(config)(params, data.dataset.load(np.array([5])))
    expected = (z - constants["embedding_mean"]) / constants["embedding_deviation"]
    np.testing.assert_allclose(table[5:6], expected, atol=1e-4)
    np.testing.assert_allclose(table[data.rows["train"]].mean(0), 0, atol=1e-4)


def test_a_sample_depends_on_seed_user_and_id_alone(trained):
    a, b = trained.users
    alone = trained.sample([b], 2, seed=3)
    among = trained.sample([a, b], 3, seed=3)
    np.testing.assert_allclose(alone, among[3:5], atol=1e-6)  # two at once are another program than three: rounding
    assert np.abs(trained.sample([b], 2, seed=4) - alone).max() > 1e-3
    assert np.abs(among[0] - among[1]).max() > 1e-3
    assert alone.shape == (2, 16, 16) and np.abs(alone).max() <= 1


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


def test_the_summary_measures_and_says_where_everything_is(finished):
    out = summary.summarize_run(finished)
    figures = json.loads((finished / "summary.json").read_text())
    assert f"{figures['identity_real_test']:.1%}" in out and "sample.py" in out
    assert (finished / "grid.png").is_file()


def test_a_sweep_goes_on_where_it_stopped_and_its_choice_is_the_default(finished, tmp_path, monkeypatch):
    root, run, drawn = tmp_path / "run", model.Model.run, []
    shutil.copytree(finished, root)
    make = functools.partial(sweep.make_reference, convolutional=False)
    monkeypatch.setattr(sweep, "make_reference", make)

    def counted(self, requests, seed):
        drawn.append(self.config.sample.guidance_interval)
        if len(drawn) == 2:
            raise KeyboardInterrupt
        return run(self, requests, seed)

    monkeypatch.setattr(model.Model, "run", counted)
    with pytest.raises(KeyboardInterrupt):
        sweep.run_sweep(root, "guidance", [], [], [2.0], 2)
    text = sweep.run_sweep(root, "guidance", [], [], [2.0], 2)
    assert drawn == [(), (-3.0, 3.0), (-3.0, 3.0)], "one pair of scales, and that in the middle of the noise levels"
    sweep.run_sweep(root, "weights", [], [], [], 2)
    assert len(drawn) == 3 + 2
    assert text.count("\n|") >= 4 and (root / "sweeps" / "guidance.png").is_file()
    chosen = json.loads((root / "chosen.json").read_text())
    sample = model.load(root).config.sample
    assert chosen["sample.cond_scale"] == sample.cond_scale == 2.0 != small().sample.cond_scale
    with pytest.raises(InputError, match="5000 steps: this model has 1000"):
        sweep.run_sweep(root, "steps", [5000], ["ddim"], [], 2)


def test_a_sweep_chooses_the_quickest_of_those_that_are_as_good():
    real = {"accuracy": 0.9, "plausible": 0.8, "variety": 0.1, "copies": 0.0}
    good = real | {"kernel distance": 0.01, "seconds per image": 2.0, "recognised": 0.8}
    rows = [good, good | {"seconds per image": 1.0}]
    assert sweep.choose_settings(rows, real, "seconds per image") is rows[1]
    worse = [good | {"seconds per image": 0.1, name: value} for name, value in (("plausible", 0.5), ("copies", 0.4))]
    far = good | {"seconds per image": 0.1, "kernel distance": 0.2}
    assert sweep.choose_settings([*rows, *worse, far], real, "seconds per image") is rows[1]
    assert (
        sweep.choose_settings([*rows, good | {"kernel distance": 0.0}], real, "kernel distance")["kernel distance"]
        == 0.0
    )


@pytest.mark.parametrize(
    ("users", "n", "says"),
    [(["walker_3"], 1, "did you mean"), (["walker_01", "walker_01"], 1, "twice"), (["walker_01"], 0, "at least 1")],
)
def test_bad_requests_are_refused(trained, tmp_path, users, n, says):
    with pytest.raises(InputError, match=says):
        sample_writer.write_samples(trained, users, n, 0, tmp_path)
    assert not list(tmp_path.iterdir())


def test_every_key_of_the_configuration_is_read(tmp_path, monkeypatch):
    """A key that nothing reads is an option that does nothing."""
    config = small()
    config.enrollment.steps = 1
    names, read = {}, set()

    def label(node, prefix=""):
        names[id(node)] = prefix
        for key, value in node.items():
            if isinstance(value, ConfigDict):
                label(value, f"{prefix}{key}.")

    label(config)
    keys = flatten(to_plain_dict(config)).keys()
    getitem, plain = ConfigDict.__getitem__, to_plain_dict

    def recorded(self, key):
        if id(self) in names:
            read.add(names[id(self)] + key)
        return getitem(self, key)

    def unrecorded(values):
        with monkeypatch.context() as pause:
            pause.setattr(ConfigDict, "__getitem__", getitem)
            return plain(values)

    monkeypatch.setattr(model, "from_plain_dict", lambda values: config)
    for module in (train_loop, model, provenance):
        monkeypatch.setattr(module, "to_plain_dict", unrecorded)
    for module in (train_loop, model):
        monkeypatch.setattr(module, "validate", lambda values: None)
    monkeypatch.setattr(ConfigDict, "__getitem__", recorded)
    model.cached_window_sampler.cache_clear()
    train_loop.train(config, tmp_path)
    summary.summarize_run(tmp_path)
    for i, x in enumerate(model.load(tmp_path).dataset.load(np.arange(5))):
        export.write_image(tmp_path / "given" / f"walk_{i}.png", export.to_image(x, "jet"), (256, 256))
    enrollment.enroll(tmp_path, "NEW", tmp_path / "given")
    assert keys - read - {"data.colormap", "data.path"} == set()


def spoil_unreadable(folder):
    (folder / "ID_2" / "walk_3.png").write_bytes(b"no image")


def spoil_size(folder):
    Image.new("RGB", (20, 16), (0, 0, 143)).save(folder / "ID_2" / "walk_3.png")


def spoil_colours(folder):
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(noise).save(folder / "ID_2" / "walk_3.png")


@pytest.mark.parametrize("spoil", [spoil_unreadable, spoil_size, spoil_colours])
def test_a_bad_image_is_named_and_nothing_is_left_behind(tmp_path, spoil):
    for user in ("ID_1", "ID_2"):
        (tmp_path / "recordings" / user).mkdir(parents=True)
        for i in range(4):
            level = np.linspace(0, 1, 256).reshape(16, 16)
            image = Image.fromarray(colormap.to_rgb(np.roll(level, i, 1), "jet"))
            image.save(tmp_path / "recordings" / user / f"walk_{i + 1}.png")
    spoil(tmp_path / "recordings")
    config = small()
    config.data.update(kind="folder", path=str(tmp_path / "recordings"))
    with pytest.raises(InputError, match=r"ID_2/walk_3\.png") as error:
        train_loop.train(config, tmp_path / "runs" / "new")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "runs").exists()


def test_a_leaking_split_is_marked(finished, trained):
    """Windows of the training part put into the test part are found, and the summary says so."""
    assert run.leaking_share(trained) == 0
    leaking = trained._replace(split=trained.split | {"test": trained.split["train"][:3] + trained.split["test"]})
    assert run.leaking_share(leaking) == pytest.approx(3 / len(leaking.split["test"]))
    names = ("identity_real_test", "identity_generated", "chance", "windows_train", "windows_test", "windows_generated")
    figures = dict.fromkeys((*names, "seconds_per_image", "decoder_sample_timesteps"), 0.5)
    for share, said in ((0.0, False), (0.25, True)):
        marked = figures | {"leaking_test_windows": share}
        text = summary.format_summary(marked, trained.users, finished, Workdir(finished), finished / "samples")
        assert ("THE SPLIT LEAKS: 25%" in text) == said


def test_samples_are_judged(trained, finished, monkeypatch):
    """One command's worth: verdict first, a leak before it, all pictures, and every figure beside a real one."""
    monkeypatch.setattr(cnn_classifier, "choose_training_steps", lambda windows: 2)
    monkeypatch.setattr(cnn_classifier, "WIDTHS", (8, 8))
    monkeypatch.setattr(
        augmentation_utility,
        "augmentation_curve",
        functools.partial(augmentation_utility.augmentation_curve, shares=(1.0,), seeds=1),
    )
    folder = finished / "samples" / "judged"
    sample_writer.write_samples(trained, trained.users, 2, 0, folder)
    run.judge_samples(finished, None, "linear", lambda x: x.mean(2))
    text, found = (finished / "report.md").read_text(), json.loads((finished / "report.json").read_text())
    places = [
        text.index(heading) for heading in ("- Does adding it help?", "## Is it that person?", "## How they were")
    ]
    assert places == sorted(places)
    assert len(found["verdict"]) == 6 and "LEAKS" not in text and found["users"].keys() == set(trained.users)
    for figure in found["figures"]:
        assert np.isfinite([figure["generated"], figure["real"]]).all(), figure["name"]
    assert any("own features" in figure["name"] for figure in found["figures"])
    assert {p["source"] for p in found["augmentation"]} >= {"real", "mixup"}
    for name in re.findall(r"\((\w+\.png)\)", text):
        assert (finished / name).is_file()
    leaking = trained._replace(split=trained.split | {"test": trained.split["train"]})
    judges = reference.make_reference(run.real_window_set(trained, "train"), None, convolutional=False)
    test = judges.measure(run.real_window_set(leaking, "test"), overlaps=False)
    assert "THE SPLIT LEAKS: 100%" in run.collect_warnings(leaking, test)[0]
    config = trained.config.copy_and_resolve_references()
    config.data.gap = 7
    assert run.real_window_set(trained._replace(config=config), "test").gap == 7
