"""Documents agree with the code: the configuration reference, links, files and keys that are named."""

import functools
import importlib.util
import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from documented import DOCUMENTS, ROOT
from packaging.requirements import Requirement

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

SITE = ROOT / "docs"


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


# ----------------------------------------------------------------------------- the site


def test_navigation_leads_to_every_page():
    named = re.findall(r"[\w./]+\.md$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(str(page.relative_to(SITE)) for page in SITE.rglob("*.md"))


def test_pictures_are_shown_and_small():
    text = "".join(document.read_text() for document in DOCUMENTS)
    for picture in (path for path in SITE.rglob("*") if path.suffix in (".png", ".jpg", ".svg", ".webp")):
        assert picture.name in text and picture.stat().st_size < 300_000, picture.name


def test_the_front_pages_say_the_same():
    """In two languages: the same links, pictures, commands and figures."""
    english, chinese = ((SITE / name).read_text() for name in ("index.md", "index.zh.md"))
    for pattern in (r"\]\(([\w/]+)[.)]", r"(?m)^ *((?:pip|mdiff) .*)$", r"[\d.]+ %|AUC\s[\d.]+"):
        first, second = (re.findall(pattern, re.sub(r"\s+%", " %", page)) for page in (english, chinese))
        assert sorted(map(str.split, first)) == sorted(map(str.split, second)), pattern


def test_what_builds_the_site_is_pinned_inside_the_ranges():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["docs"]
    lines = (line.partition("#")[0].strip() for line in (SITE / "requirements.txt").read_text().splitlines())
    pins = {pin.name: pin for pin in map(Requirement, filter(None, lines))}
    assert set(pins) == {Requirement(name).name for name in wanted}
    for requirement in map(Requirement, wanted):
        assert str(pins[requirement.name].specifier).removeprefix("==") in requirement.specifier, requirement.name
