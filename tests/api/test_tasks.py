"""Laws of the tasks: the commands call them, what is given in memory is judged as its files would be."""

import json
import shutil
import sys

import numpy as np
import pytest
from small_run import get_config

import mdiff_jax
from mdiff_jax.api import tasks
from mdiff_jax.commands import main
from mdiff_jax.data import export
from mdiff_jax.evaluation import run, sample_folders, summary
from mdiff_jax.inference import sample_writer
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.training import train_loop


@pytest.fixture
def trains(root, monkeypatch):
    """Training is a copy of a trained working directory; the configurations that it was asked for."""
    asked = []

    def train(config, workdir):
        asked.append(config)
        shutil.copytree(root, workdir)

    monkeypatch.setattr(train_loop, "train", train)
    monkeypatch.setattr(summary, "summarize_run", lambda workdir: f"summary of {workdir}")
    return asked


# ----------------------------------------------------------------------------- training


def test_training_takes_a_name_a_path_or_a_configuration_and_returns_the_model(trains, tmp_path, capsys):
    model = mdiff_jax.train("tiny", tmp_path / "a", {"decoder.batch_size": 4, "data.image_size": [16, 16]})
    assert isinstance(model, mdiff_jax.Model) and model.users == ("walker_01", "walker_02")
    assert f"summary of {tmp_path / 'a'}" in capsys.readouterr().out
    given = get_config()
    mdiff_jax.train(given, tmp_path / "b", {"seed": 7})
    mdiff_jax.train(sys.modules["small_run"].__file__, str(tmp_path / "c"))
    assert [c.decoder.batch_size for c in trains] == [4, 4, 4] and trains[0].data.image_size == (16, 16)
    assert (trains[1].seed, given.seed, trains[2].seed) == (7, 0, 0)


def test_the_command_does_not_read_the_model_that_it_trained(trains, tmp_path, monkeypatch, capsys):
    read = []
    monkeypatch.setattr(tasks, "load", read.append)
    mdiff_jax.train("tiny", tmp_path / "python")
    main.dispatch(["train", "--config=tiny", f"--workdir={tmp_path / 'command'}"])
    assert read == [tmp_path / "python"] and f"summary of {tmp_path / 'command'}" in capsys.readouterr().out


@pytest.mark.parametrize("less", [{"stage": "encoder"}, {"stage": "prior"}, {"dry_run": True}])
def test_training_that_is_asked_for_less_returns_no_model(trains, tmp_path, less):
    assert mdiff_jax.train("tiny", tmp_path / "run", less) is None


@pytest.mark.parametrize(
    ("config", "settings", "says"),
    [
        ("tini", {}, "tini is no file"),
        ({"seed": 0}, {}, "is a dict"),
        ("tiny", {"decoder.batchsize": 4}, r"did you mean 'decoder.batch_size'"),
        ("tiny", {"decoder.batch_size": "4"}, "decoder.batch_size is '4'"),
        ("tiny", {"data.image_size": 16}, "data.image_size is 16"),
    ],
)
def test_what_is_no_configuration_is_refused(trains, tmp_path, config, settings, says):
    with pytest.raises(InputError, match=says):
        mdiff_jax.train(config, tmp_path / "run", settings)
    assert not trains


def test_the_command_calls_the_same_function(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(tasks, "train_and_summarize", lambda *given: called.append(given))
    main.start(main.load("train"), ["--config=tiny", f"--workdir={tmp_path}", "--config.seed=5"])
    [(config, workdir)] = called
    assert config.seed == 5 and workdir == str(tmp_path)


# ----------------------------------------------------------------------------- evaluation


@pytest.fixture
def judged(monkeypatch):
    """Instead of being judged, windows are read from the folder where they are."""
    read = lambda model, folder, *rest: (model, sample_folders.read_sample_set(model, folder), rest)  # noqa: E731
    monkeypatch.setattr(run, "evaluate", read)


def test_windows_in_memory_are_judged_as_those_that_the_command_samples(trained, root, tmp_path, judged):
    samples = {user: trained.sample([user], 2) for user in trained.users}
    sample_writer.write_samples(trained, trained.users, 2, 0, tmp_path)
    (_, ours, (*_, name)), (_, files, _) = (mdiff_jax.evaluate(given, root) for given in (samples, tmp_path))
    np.testing.assert_array_equal(ours.windows, files.windows)
    np.testing.assert_array_equal(ours.users, files.users)
    assert name == "windows in memory"


def test_the_newest_samples_are_the_default(trained, writable_root, judged):
    with pytest.raises(InputError, match="no finished plain samples"):
        mdiff_jax.evaluate(None, writable_root)
    sample_writer.write_samples(trained, trained.users, 1, 0, writable_root / "samples" / "new")
    _, read, _ = mdiff_jax.evaluate(None, mdiff_jax.load(writable_root))
    assert len(read.windows) == 2


def test_real_windows_can_be_a_folder_of_recordings(tmp_path, judged):
    export.write_walkers(
        tmp_path / "recordings", "png", num_users=2, recordings_per_user=6, windows_per_recording=2, seed=0
    )
    model, read, _ = mdiff_jax.evaluate(tmp_path / "recordings", tmp_path / "recordings")
    assert all(model.split.values()) and len(read.windows) == 24 and model.params == {}
    assert {path.name for path in tmp_path.iterdir()} == {"recordings"}, "nothing is left"


@pytest.mark.parametrize("name", ["walker_1", "../walker_01", ""])
def test_samples_of_strangers_are_refused(root, name, judged):
    with pytest.raises(InputError, match="is unknown"):
        mdiff_jax.evaluate({name: np.zeros((1, 16, 16))}, root)


def test_a_judge_that_there_is_none_of_is_refused(root):
    with pytest.raises(InputError, match="augmentation is 'lienar': give one of none, linear, convolutional"):
        mdiff_jax.evaluate({"walker_01": np.zeros((1, 16, 16))}, root, "lienar")


# ----------------------------------------------------------------------------- inspection


def test_inspection_is_that_of_the_command(tmp_path, capsys):
    folder = tmp_path / "recordings"
    export.write_walkers(folder, "png", num_users=2, recordings_per_user=6, windows_per_recording=2, seed=0)
    found = mdiff_jax.inspect(folder)
    assert found["users"]["walker_01"]["windows"] == 12 and "enough_data" not in found
    found = mdiff_jax.inspect(folder, curve=True)
    written = folder.with_name("report.json")
    main.dispatch(["inspect", f"--path={folder}", f"--json={written}"])
    assert json.loads(written.read_text()) == json.loads(json.dumps(found)) and found["enough_data"]["windows"]
    with pytest.raises(InputError, match="nothing"):
        mdiff_jax.inspect(tmp_path / "nothing")
