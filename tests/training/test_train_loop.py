"""The whole path on a small scale: train, be interrupted, resume, sample; and what is refused on the way."""

import functools
import json
import os
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
from mdiff_jax.data import export, loader
from mdiff_jax.evaluation import summary
from mdiff_jax.inference import model, provenance
from mdiff_jax.runtime.errors import InputError, Stopped
from mdiff_jax.runtime.workdir import Workdir
from mdiff_jax.training import enrollment, train_loop


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
    with pytest.raises(InputError, match="no finished stage encoder"):
        model.load(tmp_path)


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
