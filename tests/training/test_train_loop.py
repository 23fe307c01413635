"""The whole path on a small scale: train, be interrupted, resume, sample; and what is refused on the way."""

import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image
from small_run import FAULTS, get_config, interrupt, losses

from mdiff_jax.config import from_plain_dict
from mdiff_jax.data import loader
from mdiff_jax.inference import loading
from mdiff_jax.runtime.checkpointing import CheckpointReader
from mdiff_jax.runtime.errors import InputError, Stopped
from mdiff_jax.runtime.workdir import Workdir
from mdiff_jax.training import train_loop

pytestmark = pytest.mark.usefixtures("programs_shared")


@pytest.fixture(scope="module")
def trained(finished):
    return loading.load(finished)


def test_a_working_directory_describes_itself(finished):
    assert from_plain_dict(json.loads((finished / "config.json").read_text())).to_dict() == get_config().to_dict()
    split = json.loads((finished / "split.json").read_text())
    assert not set(split["train"]) & set(split["test"])
    for stage, lines in losses(finished).items():
        assert [step for step, _ in lines] == list(range(1, len(lines) + 1)) and len(lines) >= 4, stage
        assert np.isfinite([loss for _, loss in lines]).all()


def test_an_early_checkpoint_is_kept_beside_the_latest(finished):
    checkpoints = CheckpointReader(Workdir(finished).checkpoints("decoder"))
    total = checkpoints.meta(checkpoints.latest())["total_steps"]
    assert checkpoints.steps()[0] == round(0.2 * total) < total - 3


def test_an_interrupted_run_ends_as_if_it_had_not_been(finished, tmp_path, monkeypatch):
    """Stopped in every stage between two checkpoints: the same losses, and the same parameters bit for bit."""
    batches, ends = loader.train_batches, [("crash", MemoryError), ("TERM", Stopped), ("INT", KeyboardInterrupt)]
    for fault, seen in ends:
        monkeypatch.setattr(loader, "train_batches", interrupt(FAULTS[fault], batches))
        with pytest.raises(seen):
            train_loop.train(get_config(), tmp_path)
    train_loop.train(get_config(), tmp_path)
    assert losses(tmp_path) == losses(finished)
    again, before = loading.load(tmp_path).params, loading.load(finished).params
    jax.tree.map(np.testing.assert_array_equal, again, before)


def test_a_finished_run_is_left_alone(finished, tmp_path, capsys):
    root = shutil.copytree(finished, tmp_path / "run")
    train_loop.train(get_config(), root)
    assert losses(root) == losses(finished)
    assert "finished" in capsys.readouterr().out


def test_another_configuration_is_refused_by_its_key(finished):
    config = get_config()
    config.decoder.batch_size = 2
    with pytest.raises(InputError, match=r"decoder\.batch_size=4, now it is 2"):
        train_loop.train(config, finished)


@pytest.fixture(scope="module")
def extended(finished, tmp_path_factory):
    """The finished run, trained on: more epochs for the encoder, so all comes anew, with a curriculum of timesteps."""
    root = tmp_path_factory.mktemp("extended") / "run"
    shutil.copytree(finished, root)
    config = get_config()
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
    fewer = get_config()
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


@pytest.mark.thorough
def test_a_curriculum_changes_the_timesteps_and_resumes_there(finished, tmp_path):
    config = get_config()
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
