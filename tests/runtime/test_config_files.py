"""Configurations are found by name and path, import each other wherever they lie, and say what is wrong with them."""

import sys
import types
from pathlib import Path

import pytest

from mdiff_jax.config import to_plain_dict
from mdiff_jax.runtime import config_files
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.ranges import flatten


@pytest.mark.parametrize("name", ["tiny", "configs/tiny.py", str(config_files.CONFIGS / "tiny.py")])
def test_a_configuration_is_found_from_any_folder(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    assert config_files.find_config(name) == config_files.CONFIGS / "tiny.py"


def test_a_file_here_goes_before_one_of_the_package_but_not_before_its_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for path in (Path("configs/tiny.py"), Path("tiny")):
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    assert config_files.find_config("configs/tiny.py") == Path("configs/tiny.py")
    assert config_files.find_config("tiny") == config_files.CONFIGS / "tiny.py"


def test_configurations_import_each_other_whatever_else_is_called_configs(monkeypatch):
    foreign = types.ModuleType("configs")
    foreign.__path__ = ["/nowhere"]
    monkeypatch.setitem(sys.modules, "configs", foreign)
    for name in [name for name in sys.modules if name.startswith("configs.")]:
        monkeypatch.delitem(sys.modules, name)
    assert config_files.load_config("tiny").data.image_size == (32, 32)


def test_what_follows_a_colon_is_given_to_get_config(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from ml_collections import ConfigDict\n\ndef get_config(x):\n    return ConfigDict({'seed': int(x)})\n"
    )
    assert config_files.load_config(f"{path}:7").seed == 7


def test_every_key_has_a_comment():
    comments = config_files.key_comments()
    assert comments.keys() == flatten(to_plain_dict(config_files.load_config("default"))).keys()
    assert all(comments.values())


def test_an_unknown_name_is_refused_with_those_that_are_known():
    with pytest.raises(InputError, match=r"--config=teeny is no file: .* base, .*, tiny, "):
        config_files.load_config("teeny")
