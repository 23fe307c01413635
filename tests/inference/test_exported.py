"""An exported model draws what the working directory draws, needs nothing else, and refuses whatever it is not."""

import json
import shutil

import jax
import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from mdiff_jax.inference import exported, model_card, sample_writer
from mdiff_jax.inference.loading import load
from mdiff_jax.runtime.errors import InputError


@pytest.fixture(scope="module")
def model(reference_root):
    return load(reference_root)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    target = tmp_path_factory.mktemp("exported") / "model"
    exported.export_model(model, target, "for a test")
    return target


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "model")


def test_it_draws_what_the_working_directory_draws(model, folder):
    again = load(folder)
    assert again.users == model.users and (again.step, again.prior_step) == (model.step, model.prior_step)
    for one, other in zip(
        jax.tree.leaves(exported.shipped(model)), jax.tree.leaves(exported.shipped(again)), strict=True
    ):
        np.testing.assert_array_equal(np.float16(one), other)
    np.testing.assert_allclose(model.sample(model.users, 1), again.sample(model.users, 1), atol=0.05)


def test_its_samples_are_written_without_recordings_beside_them(folder, tmp_path):
    model = load(folder)
    files = sample_writer.write_samples(model, model.users[:1], 1, 0, tmp_path / "out")
    assert files[0].is_file() and (tmp_path / "out" / "grid.png").is_file()


def test_the_card_says_what_the_weights_are(model, folder):
    card = json.loads((folder / "card.json").read_text())
    assert card["users"] == list(model.users) and card["about"] == "for a test"
    assert card["sha256"] == exported.hash_file(folder / "weights.safetensors")
    assert card["metadata"]["original_size"] == model.dataset.metadata["original_size"]
    assert not any("classifier" in name for name in load_file(folder / "weights.safetensors"))


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    target = tmp_path_factory.mktemp("exported") / "model.safetensors"
    exported.export_file(model, target, "for a test")
    return target


def test_one_file_is_loaded_like_the_folder(folder, file):
    one, other = load(folder), load(file)
    assert one.config.to_dict() == other.config.to_dict() and one.users == other.users
    assert one.dataset.metadata == other.dataset.metadata and (one.step, one.prior_step) == (
        other.step,
        other.prior_step,
    )
    for here, there in zip(
        jax.tree.leaves(exported.shipped(one)), jax.tree.leaves(exported.shipped(other)), strict=True
    ):
        np.testing.assert_array_equal(here, there)
    assert load(file, {"decoder.sample_timesteps": 2}).config.decoder.sample_timesteps == 2


def other_header(**values):
    def damage(path):
        weights, header = load_file(path), exported.read_header(path)
        header = {key: json.dumps(value) for key, value in header.items()} | values
        save_file(weights, path, header)

    return damage


DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "a changed weight": lambda path: path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])),
    "longer": lambda path: path.write_bytes(path.read_bytes() + bytes(2**23)),
    "empty": lambda path: path.write_bytes(b""),
    "no safetensors": lambda path: path.write_bytes(b"\xff" * 1000),
    "plain weights": lambda path: save_file(load_file(path), path),
    "no JSON": other_header(config="{"),
    "a list": other_header(card="[]"),
    "deep": other_header(config="[" * 100_000),
    "no key of a configuration": other_header(config="{}"),
    "no card": other_header(card="{}"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_refused_by_name(file, tmp_path, kind):
    path = shutil.copy(file, tmp_path / "x.safetensors")
    DAMAGE[kind](path)
    with pytest.raises(InputError, match=r"x\.safetensors") as refused:
        load(path)
    assert "\n" not in str(refused.value)


def test_the_model_card_is_one_that_hubs_read(model, folder, file):
    for page, name in ((folder / "README.md", folder.name), (file.with_suffix(".md"), file.name)):
        _, head, body = page.read_text().split("---\n", 2)
        assert yaml.safe_load(head)["library_name"] == "mdiff_jax"
        assert "for a test" in body and f"load('{name}')" in body and model.users[0].replace("_", r"\_") in body


def test_the_card_of_a_model_without_users_names_none(model):
    page = model_card.format_card(exported.describe_model(exported.without_users(model), ""), (16, 16), "x")
    assert not any(user.replace("_", r"\_") in page or user in page for user in model.users) and "knows nobody" in page


def test_a_name_in_the_card_is_no_markup():
    assert model_card.plain("a|b<script>\n# x") == r"a\|b\<script\> \# x"


def test_what_exists_or_is_no_safetensors_is_not_written_to(model, file, tmp_path):
    with pytest.raises(InputError, match="exists: give a new file"):
        exported.export_file(model, file)
    with pytest.raises(InputError, match=r"does not end in \.safetensors"):
        exported.export_file(model, tmp_path / "model.bin")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_not_written_to(model, folder):
    with pytest.raises(InputError, match="exists: give a new folder"):
        exported.export_model(model, folder)


def test_weights_beyond_float16_are_refused_and_nothing_is_left(model, tmp_path):
    prior = model.params["prior"] | {"position": model.params["prior"]["position"] + 1e6}
    with pytest.raises(InputError, match="prior/position has values beyond float16"):
        exported.export_model(model._replace(params=model.params | {"prior": prior}), tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("weights.safetensors", lambda data: data[:-1], "has changed"),
        ("weights.safetensors", lambda data: data + bytes(2**23), "more than"),
        ("card.json", lambda data: b"[]", "not a JSON object"),
        ("card.json", lambda data: data.replace(b'"steps"', b'"step"'), "'steps' is missing"),
        ("card.json", lambda data: data.replace(b'"jet"', b'"../jet"'), "do not fit"),
        ("card.json", lambda data: data.replace(b'"walker_01"', b'"../x"'), "x"),
        ("config.json", lambda data: data.replace(b'"depth": 1', b'"depth": 2'), "'prior/blocks"),
    ],
)
def test_what_is_damaged_is_refused_by_name(copy, file, damage, message):
    data = (copy / file).read_bytes()
    assert damage(data) != data
    (copy / file).write_bytes(damage(data))
    with pytest.raises(InputError, match=message) as refused:
        load(copy)
    assert "\n" not in str(refused.value)


def test_other_arrays_than_those_of_the_configuration_are_refused(copy):
    path, card = copy / "weights.safetensors", json.loads((copy / "card.json").read_text())
    weights = load_file(path)
    del weights["prior/position"]
    save_file(weights, path)
    (copy / "card.json").write_text(json.dumps(card | {"sha256": exported.hash_file(path)}))
    with pytest.raises(InputError, match="'prior/position' is missing"):
        load(copy)


def test_what_needs_recordings_says_so(folder):
    with pytest.raises(InputError, match="exported model has no recordings"):
        load(folder).require_recordings()
