"""Documents agree with the code: the configuration reference, links, files and keys that are named."""

import functools
import importlib.util
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import mdiff_jax
from mdiff_jax.commands import main
from mdiff_jax.config import to_plain_dict
from mdiff_jax.data import export
from mdiff_jax.evaluation import augmented_set, run, summary
from mdiff_jax.inference import base_model, exported
from mdiff_jax.runtime.config_files import load_config
from mdiff_jax.runtime.ranges import flatten
from mdiff_jax.runtime.workdir import Workdir, write_json
from mdiff_jax.training import train_loop

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
    names, ours = "|".join(main.COMMANDS), r"(?<!benchmarks/)"
    for script, command, line in re.findall(rf"(?:{ours}({names})(?:_data)?\.py|\bmdiff ({names})) (.*)", text):
        flags = set(main.load(script or command).FLAGS.values) | {"help"}
        for flag in re.findall(r"--(\w+)", line):
            assert flag in flags or flag.removeprefix("no") in flags, f"{script or command}: --{flag}"


# ----------------------------------------------------------------------------- docs/python.md


def python_blocks(document: Path) -> list[str]:
    """The blocks of code of a document, which are indented."""
    blocks = re.findall(r"(?:^    .+\n)+", document.read_text(), re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in blocks]


def test_the_page_on_python_names_all_that_there_is():
    table = re.findall(r"^\| `(\w+)` \|(.*)\|$", (ROOT / "docs" / "python.md").read_text(), re.MULTILINE)
    assert sorted(name for name, _ in table) == sorted(mdiff_jax.__all__)
    for name, about in table:
        given = getattr(mdiff_jax, name)
        assert given.__doc__ and name in dir(mdiff_jax)
        for attribute in re.findall(r"`(\w+)`", about) if name in ("Model", "Report") else ():
            assert attribute in dir(given) or attribute in given.__dataclass_fields__, attribute


@pytest.mark.slow
def test_every_line_of_the_page_on_python_runs(root, reference_root, windows, tmp_path, monkeypatch):
    """On small models that are trained already; what takes minutes is shortened, or tested where it is."""
    pytest.importorskip("pandas")
    trained, workdir = mdiff_jax.load(root), tmp_path / "runs" / "gait"
    shutil.copytree(root, workdir)
    config = Workdir(workdir).read_config()
    config["enrollment"]["steps"] = 3
    write_json(workdir / "config.json", config)
    for name in ("recordings", "samples"):
        export.export_windows(trained.dataset, np.arange(len(trained.dataset)), tmp_path / name, "images")
    shutil.copytree(windows, tmp_path / "new_person")
    exported.export_model(exported.without_users(mdiff_jax.load(reference_root)), tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(base_model, "FOLDER", tmp_path / "base")
    monkeypatch.setattr(train_loop, "train", lambda config, workdir: None)
    monkeypatch.setattr(summary, "summarize_run", lambda workdir: "")
    monkeypatch.setattr(augmented_set, "write_augmented_set", lambda workdir, output, *rest: "a page")
    quick = functools.partial(run.make_reference, convolutional=False)
    monkeypatch.setattr(run, "make_reference", quick)
    found = run.evaluate(trained, tmp_path / "samples")
    monkeypatch.setattr(run, "evaluate", lambda *given: found)
    space: dict = {}
    for block in python_blocks(ROOT / "docs" / "python.md"):
        for name, small in {"ID_11": "NEW", "ID_1": "walker_01", "ID_3": "walker_02"}.items():
            block = block.replace(name, small)
        exec(block, space)
    assert space["windows"].shape == (2, 16, 16) and space["strips"].shape == (1, 8, 16, 16)
    assert len(space["table"]) == len(space["report"].figures) and (tmp_path / "report" / "report.html").is_file()
    assert "NEW" in mdiff_jax.load("runs/gait").enrolled and space["model"].users == trained.users
