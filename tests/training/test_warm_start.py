"""A stage starts from another working directory's averages where these fit; people are not taken over."""

import functools
import logging

import jax
import numpy as np
import pytest
import small_run

from mdiff_jax.config import STAGES, parameter_shapes
from mdiff_jax.inference import exported, loading
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir
from mdiff_jax.training import stages, train_loop, warm_start
from mdiff_jax.validation import validate

FRESH = {"a": {"kernel": np.zeros((2, 3)), "bias": np.zeros(3)}, "user": {"embedding": np.zeros((4, 5))}}


def test_what_fits_is_taken_over_and_the_rest_named():
    found = {"a": {"kernel": np.ones((2, 3)), "bias": np.ones(4)}, "b": {"bias": np.ones(3)}}
    found["user"] = {"embedding": np.arange(15.0).reshape(3, 5)}
    merged, left = warm_start.merge_parameters(FRESH, found)
    assert left == ["a/bias", "user/embedding"]
    assert (merged["a"]["kernel"] == 1).all() and (merged["a"]["bias"] == 0).all() and "b" not in merged
    users = merged["user"]["embedding"]
    assert (users[:-1] == 0).all() and (users[-1] == [10, 11, 12, 13, 14]).all(), "only the null user is the same"


@pytest.mark.parametrize("name", STAGES)
def test_averages_of_a_working_directory_become_parameters(trained, root, name, caplog):
    """Of one more user, whose rows are new; nothing is compiled for that."""
    config, users, said = trained.config.copy_and_resolve_references(), len(trained.users) + 1, []
    init = stages.compile_init(functools.partial(stages.init_train_state, config, name, users, 10, {}))
    state = init()
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        started = warm_start.make_first_state(init, str(root), name, said.append)
    assert not [record.message for record in caplog.records if "Compiling" in record.message]
    dtypes = [[x.dtype for x in jax.tree.leaves(made)] for made in (state, started)]
    assert dtypes[0] == dtypes[1]
    assert jax.tree.structure(started) == jax.tree.structure(state)
    assert started.params is not started.ema[str(config.sample.ema_decay)], "steps give memory away"
    shapes = parameter_shapes(config, name, len(trained.users))
    source, paths = trained.params[name], jax.tree_util.tree_leaves_with_path(shapes)
    same = jax.tree_util.tree_leaves(started.params)
    for (path, shape), value, original in zip(paths, same, jax.tree.leaves(source), strict=True):
        if value.shape == shape.shape and "classifier" not in str(path):
            np.testing.assert_array_equal(value, original)
        else:
            assert "user" in str(path) or "classifier" in str(path)
    [line] = said
    assert line.startswith(f"{name}: ") and str(root) in line and "fresh: " in line


def test_nothing_in_common_is_refused(trained, root, monkeypatch):
    init = stages.compile_init(functools.partial(stages.init_train_state, trained.config, "prior", 2, 10, {}))
    monkeypatch.setattr(warm_start, "read_averages", lambda *_: {"b": np.zeros(1)})
    with pytest.raises(InputError, match=r"init_from: stage prior of .* no parameter of the same shape"):
        warm_start.make_first_state(init, str(root), "prior", print)


def test_an_unfinished_source_is_refused(tmp_path):
    assert warm_start.check_source("none", (16, 16)) == ""
    with pytest.raises(InputError, match="no finished stage encoder"):
        warm_start.check_source(str(tmp_path), (16, 16))


@pytest.mark.thorough
def test_a_dry_run_says_what_a_source_does_not_fit(trained, root, tmp_path, capsys, monkeypatch):
    """Rows of another height fit every parameter, and are said; where none fits, that is an error, as in training."""
    config = small_run.get_config()
    for part in ("data", "encoder"):
        config[part].update(trained.config[part])
    config.dry_run, config.init_from = True, str(root)
    rows, frames = config.data.image_size
    config.data.image_size = (2 * rows, frames)
    monkeypatch.setattr(stages, "stage_names", lambda config: ("encoder",))
    train_loop.train(config, tmp_path / "new")
    said = capsys.readouterr().out
    assert (
        f"knows windows of {rows} rows, these have {2 * rows}: give --config.data.image_size='({rows}, {frames})' "
        in said
    )
    assert f"parameters from {root}" in said
    monkeypatch.setattr(warm_start, "read_averages", lambda *_: {"b": np.zeros(1)})
    with pytest.raises(InputError, match=r"init_from: stage encoder of .* give another one, or none"):
        train_loop.train(config, tmp_path / "new")


@pytest.mark.parametrize("kind", ["working directory", "exported"])
def test_an_encoder_of_no_epochs_is_the_other_models(trained, root, tmp_path, kind):
    """Saved once; then it stays, whatever becomes of the model that it came from."""
    source = root
    if kind == "exported":
        source = tmp_path / "model"
        exported.export_model(trained, source)
    config = small_run.get_config()
    for part in ("data", "encoder"):
        config[part].update(trained.config[part])
    config.stage, config.init_from, config.encoder.epochs = "encoder", str(source), 0
    train_loop.train(config, tmp_path / "run")
    workdir = Workdir(tmp_path / "run")
    kept = loading.restore_stage(workdir, config, "encoder", config.sample.ema_decay).params["encoder"]
    for value, original in zip(
        *(jax.tree.leaves(p) for p in (kept, trained.params["encoder"]["encoder"])), strict=True
    ):
        np.testing.assert_allclose(value, original, atol=1e-3 * (kind == "exported"))
    if kind == "exported":
        source.rename(tmp_path / "gone")
    train_loop.train(config, tmp_path / "run")
    assert "encoder: finished at step 0" in workdir.log.read_text()


def test_no_epochs_need_a_model_to_start_from():
    config = small_run.get_config()
    config.encoder.epochs = 0
    with pytest.raises(InputError, match=r"encoder\.epochs is 0: give init_from"):
        validate(config)
