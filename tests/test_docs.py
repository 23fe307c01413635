"""Documents agree with the code: the configuration reference, links, files and keys that are named."""

import importlib.util
import re
from pathlib import Path

import pytest

from mdiff_jax.commands import main
from mdiff_jax.config import to_plain_dict
from mdiff_jax.runtime.config_files import load_config
from mdiff_jax.runtime.ranges import flatten

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def module(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_the_configuration_reference_is_that_of_the_code():
    maker = module(ROOT / "docs" / "make_configuration.py")
    assert maker.TARGET.read_text() == maker.text(), "run python docs/make_configuration.py"
    keys = flatten(to_plain_dict(load_config("default")))
    assert {re.match(r"\| `([\w.]+)`", line)[1] for line in maker.text().splitlines() if line[:3] == "| `"} == set(keys)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_names_is_there(document):
    text = document.read_text()
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in target:
            assert (document.parent / target).exists(), target
    for script in re.findall(r"python3? (?:-m )?([\w/.]+)", text):
        if script.startswith("mdiff_jax."):
            assert (ROOT / (script.replace(".", "/") + ".py")).is_file(), script
        elif script.endswith(".py"):
            assert (ROOT / script).is_file(), script
    for config in re.findall(r"configs/\w+\.py", text):
        assert (ROOT / config).is_file() or "NAME" in config, config
    known = flatten(to_plain_dict(load_config("default")))
    for key in re.findall(r"--config\.([\w.]+)=", text):
        assert key in known or key in ("KEY", "key"), key
    names = "|".join(main.COMMANDS)
    for script, command, line in re.findall(rf"(?:({names})(?:_data)?\.py|\bmdiff ({names})) (.*)", text):
        flags = set(main.load(script or command).FLAGS.values) | {"help"}
        for flag in re.findall(r"--(\w+)", line):
            assert flag in flags or flag.removeprefix("no") in flags, f"{script or command}: --{flag}"
