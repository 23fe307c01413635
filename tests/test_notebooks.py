"""Notebooks hold no outputs and no places of one machine, define no networks, and (-m notebooks) run to their end."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# a path from the root of the file system, but for where Kaggle and Colab keep things
ABSOLUTE = re.compile(r"(?<![\w/:.~])/(?!kaggle/(?:input|working)|content/)\w+/|\b[A-Z]:\\")

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list[str]:
    return [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def python(cell: str) -> ast.Module:
    """What is left of a cell without its % and ! lines."""
    return ast.parse("\n".join(line for line in cell.splitlines() if not line.lstrip().startswith(("%", "!"))))


def test_there_are_five() -> None:
    assert [path.name[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05"]


@each
def test_is_valid_and_cleared(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) >= (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None, "clear the outputs before committing"


@each
def test_names_no_place_of_one_machine(path: Path) -> None:
    for cell in cells(path, "code") + cells(path, "markdown"):
        assert not ABSOLUTE.search(cell), ABSOLUTE.search(cell)


def test_absolute_paths_are_recognised() -> None:
    assert all(ABSOLUTE.search(text) for text in ('"/home/me/x"', "see /mnt/data/x", r"C:\data"))
    assert not any(ABSOLUTE.search(text) for text in ('"/kaggle/input/x"', "a/b/c", "https://one.org/b", "/content/d"))


@each
def test_defines_no_network(path: Path) -> None:
    for cell in cells(path, "code"):
        for node in ast.walk(python(cell)):
            assert not isinstance(node, ast.ClassDef), f"{node.name}: the package defines, notebooks use"
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] in ("flax", "optax") for name in names)


# ----------------------------------------------------------------------------- the set-up cell


def test_set_up_is_the_same_everywhere() -> None:
    assert len({cells(path, "code")[0] for path in NOTEBOOKS}) == 1


def set_up(monkeypatch: pytest.MonkeyPatch, folder: Path, versions: dict[str, str]) -> tuple[list[str], str]:
    """Runs the set-up cell where only `versions` are installed; returns what it would install, and what is kept."""
    installed: list[str] = []
    constraints: list[str] = []

    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    def run(command: list[str], **_: object) -> None:
        at = command.index("-c")
        installed.extend(command[at + 2 :])
        constraints.append(Path(command[at + 1]).read_text())

    (folder / "configs").mkdir(parents=True)
    (folder / "notebooks").mkdir()
    shutil.copy(ROOT / "configs" / "quickstart.py", folder / "configs")
    shutil.copy(ROOT / "pyproject.toml", folder)
    monkeypatch.chdir(folder / "notebooks")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(importlib.metadata, "version", version)
    distributions = [types.SimpleNamespace(name=name, version=v) for name, v in versions.items()]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: distributions)
    monkeypatch.setattr(subprocess, "run", run)
    space: dict[str, object] = {}
    exec(cells(NOTEBOOKS[0], "code")[0], space)
    assert space["ROOT"] == folder and sys.path[0] == str(folder)
    return installed, "".join(constraints)


def names_of(requirements: list[str]) -> set[str]:
    return {Requirement(requirement).name for requirement in requirements}


def test_set_up_keeps_a_jax_that_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    have = {"jax": "0.7.2", "jaxlib": "0.7.2", "jax-cuda12-plugin": "0.7.2", "numpy": "2.0.2", "flax": "0.10.0"}
    installed, constraints = set_up(monkeypatch, tmp_path / "repository", have | {"pillow": "11.3.0"})
    assert {"flax", "optax", "grain"} <= names_of(installed)
    assert not {"jax", "jaxlib", "numpy", "pillow"} & names_of(installed)
    assert constraints.split() == ["jax==0.7.2", "jaxlib==0.7.2", "jax-cuda12-plugin==0.7.2", "numpy==2.0.2"]


def test_set_up_replaces_a_jax_that_is_too_old(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    have = {"jax": "0.4.30", "jaxlib": "0.4.30", "numpy": "2.0.2"}
    installed, constraints = set_up(monkeypatch, tmp_path / "repository", have)
    assert "jax" in names_of(installed)
    assert constraints.split() == ["numpy==2.0.2"]


def test_set_up_replaces_a_jax_that_computes_wrong_numbers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    have = {"jax": "0.10.2", "jaxlib": "0.10.2", "jax-cuda12-plugin": "0.10.2", "numpy": "2.0.2"}
    installed, constraints = set_up(monkeypatch, tmp_path / "repository", have)
    assert {"jax", "jaxlib"} <= names_of(installed)
    assert "jax[cuda12]" in installed  # the new one has an accelerator too
    assert constraints.split() == ["numpy==2.0.2"]


def pinned() -> list[Requirement]:
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    return [Requirement(line) for line in lines if line]


def version_of(pin: Requirement) -> str:
    return str(pin.specifier).removeprefix("==")


def test_set_up_installs_nothing_where_all_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    versions = {pin.name: version_of(pin) for pin in pinned() if not pin.marker or pin.marker.evaluate()}
    assert set_up(monkeypatch, tmp_path / "repository", versions) == ([], "")


def test_set_up_needs_no_repository_where_the_package_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(subprocess, "run", pytest.fail)
    space: dict[str, object] = {}
    exec(cells(NOTEBOOKS[0], "code")[0], space)
    assert space["RUNS"] == tmp_path / "runs"


def test_requirements_are_pinned_inside_the_ranges() -> None:
    for wanted in map(Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]):
        versions = [version_of(pin) for pin in pinned() if pin.name == wanted.name]
        assert versions and all(version in wanted.specifier for version in versions), wanted.name


# ----------------------------------------------------------------------------- from top to bottom


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository, so that nothing is left in it; the notebooks share its runs/."""
    root = tmp_path_factory.mktemp("repository")
    for name in ("mdiff_jax", "configs", "notebooks"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


@pytest.mark.notebooks
@pytest.mark.filterwarnings("ignore:::(jupyter_client|nbclient|zmq|tornado)")
@each
def test_runs(path: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbclient import NotebookClient

    monkeypatch.setenv("MDIFF_SMALL", "1")
    for name in [name for name in os.environ if name.startswith(("JAX_", "XLA_"))]:
        monkeypatch.delenv(name)  # they compute more than they compile
    notebook = nbformat.read(copy / "notebooks" / path.name, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(copy / "notebooks")}}).execute()
