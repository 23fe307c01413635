"""Laws of a trained model as one object: cheap to import, compiled once, its settings changed by the caller."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from mdiff_jax import load
from mdiff_jax.inference import pipeline
from mdiff_jax.runtime import parallel
from mdiff_jax.runtime.checkpointing import Checkpoints
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir, write_json


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
    monkeypatch.setattr(pipeline, "make_window_sampler", None)
    load(root).sample(["walker_02"], 2, 1)


def test_settings_go_over_those_of_the_working_directory(root, trained):
    assert load(root, {"decoder.sample_timesteps": 5}).config.decoder.sample_timesteps == 5
    with pytest.raises(InputError, match="is not among ema_decays"):
        load(root, {"sample.ema_decay": 0.5})


def test_the_encoder_is_that_of_the_embeddings_whatever_the_rest_is_sampled_with(trained, writable_root):
    workdir = Workdir(writable_root)
    halved = {name: jax.tree.map(lambda x: x / 2, params) for name, params in trained.params.items()}
    values = workdir.read_config()
    values["ema_decays"], values["sample"]["ema_decay"] = [0.5, 0.999], 0.5
    write_json(workdir.config, values)
    meta = {
        "config": values,
        "users": list(trained.users),
        "finished": True,
        "total_steps": 4,
        "depends": "one encoder",
    }
    for name, params in trained.params.items():
        with Checkpoints(workdir.checkpoints(name)) as checkpoints:
            ema = {"ema": {"0.999": params, "0.5": halved[name]}}
            more = {} if name == "encoder" else {"constants": trained.constants}
            checkpoints.save(4, ema | more, meta | ({} if name == "encoder" else {"encoder_decay": 0.999}))
    model = load(writable_root)
    jax.tree.map(np.testing.assert_array_equal, model.params, halved | {"encoder": trained.params["encoder"]})
    model = load(writable_root, {"sample.ema_decay": 0.999})
    jax.tree.map(np.testing.assert_array_equal, model.params, trained.params)


def test_a_working_directory_from_before_people_could_be_known_by_references_loads(trained, writable_root):
    workdir = Workdir(writable_root)
    values = workdir.read_config()
    del values["people"]
    write_json(workdir.config, values)
    assert load(writable_root).config.to_dict() == trained.config.to_dict()


def test_a_changed_config_is_noticed_by_the_checkpoints(writable_root):
    workdir = Workdir(writable_root)
    values = workdir.read_config()
    values["decoder"]["log_snr_shift"] += 0.5
    write_json(workdir.config, values)
    with pytest.raises(InputError, match=r"decoder\.log_snr_shift=.*restore the old value"):
        load(writable_root)


@pytest.mark.parametrize(
    "change",
    [
        {"users": None},
        {"users": []},
        {"users": ["walker_01", 2]},
        {"users": ["walker_02", "walker_01"]},
        {"users": [f"walker_{i}" for i in range(10**6)]},
        {"finished": "yes"},
        {"total_steps": None},
        {"depends": 1},
        {"config": []},
        {"config": {"decoder": 3}},
        {"encoder_decay": "none"},
        {"encoder_decay": 0.123},
        {"crc32": 1},
        {"crc32": {}},
    ],
)
def test_hostile_values_beside_the_parameters_are_one_line(writable_root, change):
    for path in writable_root.glob("*/checkpoints/3/meta/metadata"):
        values = json.loads(path.read_text()) | change
        values.pop("crc32_of_meta", None)
        path.write_text(json.dumps(values))
    with pytest.raises(InputError) as error:
        load(writable_root)
    assert "\n" not in str(error.value) and str(writable_root) in str(error.value) and len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", "[]"),
        ("chosen.json", "[1]"),
        ("chosen.json", '{"sample.no_such_key": 1}'),
        ("chosen.json", '{"sample": 1}'),
        ("chosen.json", '{"sample.cond_scale": "much"}'),
        ("split.json", '{"train": ["../../../etc/passwd"], "validation": ["a"], "test": ["b"]}'),
    ],
)
def test_hostile_values_in_json_files_are_one_line_that_names_the_file(writable_root, name, content):
    (writable_root / name).write_text(content)
    with pytest.raises(InputError, match=name) as error:
        load(writable_root)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", [{"seed": -1}, {"decoder": None}, {"decoder": {"timesteps": 10**9}}, {"unknown": 1}])
def test_a_configuration_that_cannot_be_is_refused_by_file_and_key(writable_root, change):
    path = writable_root / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=rf"config\.json: .*{next(iter(change))}") as error:
        load(writable_root)
    assert "\n" not in str(error.value)


def test_given_windows_are_embedded_as_training_standardised_them(trained):
    x, frames = trained.dataset.load(np.arange(2)), trained.dataset.frames[:2]
    unit = trained.embed(x, frames) * 0.4 + 0.1
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1.0, atol=1e-5)


def test_an_enrolled_user_of_other_weights_is_refused(enrolled):
    with pytest.raises(InputError, match="enroll again"):
        enrolled._replace(step=4).requests(["NEW"], [0])


def test_a_sample_depends_on_seed_user_and_id_alone(trained):
    a, b = trained.users
    alone = trained.sample([b], 2, seed=3)
    among = trained.sample([a, b], 3, seed=3)
    np.testing.assert_allclose(alone, among[3:5], atol=1e-6)  # two at once are another program than three: rounding
    assert np.abs(trained.sample([b], 2, seed=4) - alone).max() > 1e-3
    assert np.abs(among[0] - among[1]).max() > 1e-3
    assert alone.shape == (2, 16, 16) and np.abs(alone).max() <= 1
