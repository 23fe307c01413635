"""What a configuration changes in training, and what is refused."""

import json
import re
import time

import numpy as np
import pytest
from ml_collections import ConfigDict
from small_run import get_config, losses

from mdiff_jax.config import STAGES, to_plain_dict
from mdiff_jax.data import export
from mdiff_jax.evaluation import summary
from mdiff_jax.inference import loading, model, provenance
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir
from mdiff_jax.training import enrollment, stages, train_loop, validation_loss
from mdiff_jax.validation import DISTILL, flatten


def test_a_stage_ends_early_once_the_validation_loss_no_longer_falls(tmp_path, monkeypatch):
    """The time that validation takes is not counted in the pace of the steps."""

    def validate_slowly(params):
        time.sleep(1.0)
        return {"loss": 1.0}

    monkeypatch.setattr(validation_loss, "make_validation", lambda *_: validate_slowly)
    config = get_config()
    config.stage, config.patience, config.encoder.epochs = "encoder", 2, 9
    train_loop.train(config, tmp_path)
    steps = [step for step, _ in losses(tmp_path, ("encoder",))["encoder"]]
    assert steps[-1] == 6, "the first at 2, then two that are not better"
    lines = map(json.loads, Workdir(tmp_path).metrics("encoder").read_text().splitlines())
    paces = [line["images_per_second"] for line in lines if "images_per_second" in line]
    assert len(paces) == 6 and min(paces[2:]) > 4.0, "4 windows a step, which takes much less than a second"
    train_loop.train(config, tmp_path)
    assert "encoder: finished at step 6" in (tmp_path / "train.log").read_text()


@pytest.mark.thorough
def test_a_dry_run_says_what_it_takes_and_leaves_nothing(tmp_path, capsys):
    config = get_config()
    config.dry_run, config.distill.curriculum = True, ((2, 1),)
    train_loop.train(config, tmp_path / "new")
    said = capsys.readouterr().out
    assert not (tmp_path / "new").exists()
    for stage in (*STAGES, DISTILL):
        assert f"{stage}\n  parameters" in said
    assert said.count("GFLOP a window") == said.count("by the compiler's plan") == 4


def test_a_step_in_parts_is_said_to_take_the_operations_of_a_whole_one(tmp_path, capsys, monkeypatch):
    """The compiler counts a loop's body once, however often it runs."""
    monkeypatch.setattr(stages, "stage_names", lambda config: ("decoder",))
    operations = []
    for parts in (1, 2):
        config = get_config()
        config.dry_run, config.decoder.accumulate = True, parts
        train_loop.train(config, tmp_path / "new")
        decoder = capsys.readouterr().out.partition("decoder\n")[2]
        operations.append(float(re.search(r"operations +(\S+) GFLOP", decoder)[1]))
    assert operations[1] == pytest.approx(operations[0], rel=0.2)


def test_a_stage_needs_those_before_it(tmp_path):
    config = get_config()
    config.stage = "decoder"
    with pytest.raises(InputError, match=r"stage encoder .* is not finished"):
        train_loop.train(config, tmp_path)
    with pytest.raises(InputError, match="no finished stage encoder"):
        loading.load(tmp_path)


@pytest.mark.thorough
def test_people_known_by_references_are_trained_sampled_and_enrolled(tmp_path):
    config = get_config()
    config.people.update(references=True, min_references=2, max_references=3)
    config.data.native_frames, config.data.image_size, config.sheet_every = True, (16, 64), 2
    train_loop.train(config, tmp_path)
    steps, values = zip(*losses(tmp_path)["decoder"], strict=True)
    assert steps[-1] > 2 and np.isfinite(values).all() and list((tmp_path / "decoder" / "sheets").iterdir())
    summary.summarize_run(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["windows_generated"] == 4
    trained = loading.load(tmp_path)
    known = trained.constants["people"]
    assert known.shape == (2, 11) and np.isfinite(known).all() and np.abs(known[0] - known[1]).max() > 1e-3
    for i, x in enumerate(trained.dataset.load(np.arange(3))):
        export.write_image(tmp_path / "given" / f"walk_{i}.png", export.to_image(x, "jet"), (256, 256))
    enrollment.enroll(tmp_path, "NEW", tmp_path / "given")
    x = loading.load(tmp_path).sample(["walker_01", "NEW"], 1)
    assert np.isfinite(x).all() and np.abs(x[0] - x[1]).max() > 1e-4


@pytest.mark.thorough
def test_every_key_of_the_configuration_is_read(tmp_path, monkeypatch):
    """A key that nothing reads is an option that does nothing."""
    config = get_config()
    config.enrollment.steps, config.distill.curriculum = 1, ((2, 1),)
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

    for module in (model, loading):
        monkeypatch.setattr(module, "from_plain_dict", lambda values: config)
    for module in (train_loop, model, loading, provenance):
        monkeypatch.setattr(module, "to_plain_dict", unrecorded)
    for module in (train_loop, loading):
        monkeypatch.setattr(module, "validate", lambda values: None)
    monkeypatch.setattr(loading, "with_settings", lambda config, settings: config)
    monkeypatch.setattr(ConfigDict, "__getitem__", recorded)
    model.cached_window_sampler.cache_clear()
    train_loop.train(config, tmp_path)
    summary.summarize_run(tmp_path)
    for i, x in enumerate(loading.load(tmp_path).dataset.load(np.arange(5))):
        export.write_image(tmp_path / "given" / f"walk_{i}.png", export.to_image(x, "jet"), (256, 256))
    enrollment.enroll(tmp_path, "NEW", tmp_path / "given")
    with_references = {f"enrollment.update_{name}" for name in ("steps", "rank", "learning_rate", "batch_size")}
    assert keys - read - {"data.colormap", "data.path"} - with_references == set()
