"""The structure holds: imports run down the levels of rooms, each library stays in its rooms, files stay small.

`docs/architecture.md` is the same table.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mdiff_jax"
LEVELS = [
    {"runtime"},
    {"simulator", "diffusion", "models"},
    {"data", "validation"},
    {"metrics", "config"},
    {"inference"},
    {"training", "evaluation"},
    {"api"},
    {"commands"},
]
LINES = {"training.train_loop": 350}  # the one long file; others have 300 at most


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


TREES = {module_name(path): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def room(module: str) -> str:
    return module.split(".")[0]


def imported(module: str) -> set[str]:
    """Dotted names of everything a module imports, at any depth."""
    names = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_modules(module: str) -> set[str]:
    """Modules of this package among them."""
    names = [name.removeprefix("mdiff_jax.") for name in imported(module) if name.startswith("mdiff_jax.")]
    return {name if name in TREES else name.rpartition(".")[0] for name in names} - {""}


def test_the_listing_is_the_rooms() -> None:
    names = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert names == set.union(*LEVELS) | {"__init__", "base"}
    assert not list((PACKAGE / "base").glob("*.py")), "the base model's weights, no code"


def test_the_document_is_the_listing() -> None:
    lines = (ROOT / "docs" / "architecture.md").read_text().splitlines()
    table = [[cell.strip(" `/") for cell in line.split("|")[1:5]] for line in lines if line[:3].strip("| ").isdigit()]
    for level, name, _, modules in table:
        assert name.removesuffix(".py") in LEVELS[int(level) - 1]
        listed = {f"{name}.{module.strip(' `')}" for module in modules.split(",") if modules}
        assert listed == {module for module in TREES if module.startswith(f"{name}.")}, name
    assert len(table) == len(set.union(*LEVELS))


def test_imports_run_down() -> None:
    level = {name: number for number, rooms in enumerate(LEVELS) for name in rooms}
    for module in TREES.keys() - {"__init__"}:  # that is the front door, which opens the rooms only when asked
        for other in imported_modules(module):
            down = level[room(other)] < level[room(module)] or room(other) == room(module)
            assert down, f"{module} imports {other}"


def test_no_import_runs_in_a_circle() -> None:
    below = {module: imported_modules(module) for module in TREES.keys() - {"__init__"}}
    while free := {module for module, others in below.items() if not others & below.keys()}:
        below = {module: others for module, others in below.items() if module not in free}
    assert not below, f"a circle among {sorted(below)}"


@pytest.mark.parametrize(
    ("library", "places"),
    [
        ("tensorflow_datasets", ("data.",)),
        ("grain", ("data.",)),
        (
            "ml_collections",
            (
                "config",
                "validation",
                "training.",
                "inference.model",
                "inference.loading",
                "inference.exported",
                "inference.denoisers",
                "runtime.flags",
            ),
        ),
        ("absl", ("runtime.flags",)),
        ("orbax", ("runtime.checkpointing",)),
        ("flax", ("models.", "config", "metrics.cnn_classifier", "training.train_state")),
        ("jinja2", ("evaluation.html_report",)),
        ("matplotlib", ("data.render", "data.colormap", "data.inspect", "evaluation.plots")),
    ],
)
def test_libraries_stay_in_their_rooms(library: str, places: tuple[str, ...]) -> None:
    for module in TREES:
        if any(name.split(".")[0] == library for name in imported(module)):
            assert module.startswith(places), f"{module} imports {library}: only {places} may"


def attributes(module: str) -> set[str]:
    return {node.attr for node in ast.walk(TREES[module]) if isinstance(node, ast.Attribute)}


def test_only_parallel_says_pmap() -> None:
    for module in TREES.keys() - {"runtime.parallel"}:
        assert not attributes(module) & {"pmap", "pmean", "psum", "all_gather", "axis_index"}, module


def test_flags_only_in_commands() -> None:
    for module in TREES.keys() - {"runtime.flags"}:
        assert "mdiff_jax.runtime.flags.Flags" not in imported(module) or room(module) == "commands", module


def test_no_prints_but_in_commands() -> None:
    for module in (name for name in TREES if name != "runtime.cli" and room(name) != "commands"):
        calls = (node.func for node in ast.walk(TREES[module]) if isinstance(node, ast.Call))
        assert not any(isinstance(name, ast.Name) and name.id == "print" for name in calls), module


def test_no_second_defaults() -> None:
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
                owner = ast.unparse(node.func.value)
                assert not owner.endswith("config") and owner != "c", f"{module}: {ast.unparse(node)}"


def test_no_private_name_of_another_module() -> None:
    for module in TREES:
        private = {name for name in imported(module) if name.rpartition(".")[2].startswith("_")}
        assert private <= {"mdiff_jax.__version__"}, f"{module} imports {private}"


def test_files_are_small() -> None:
    for module in TREES:
        path = PACKAGE / (module.replace(".", "/") + ".py")
        lines = len(path.read_text().splitlines()) if path.is_file() else 0
        assert lines <= LINES.get(module, 300), f"{module} has {lines} lines"


def test_ruff_is_clean() -> None:
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
