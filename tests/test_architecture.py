"""The structure holds: imports run down the levels, and each library stays in its rooms. Also: ruff is clean."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mdiff_jax"
SCRIPTS = ("train.py", "sample.py", "enroll.py", "evaluate.py")

LEVELS = [
    {"__init__", "types", "errors", "interrupts", "keys", "workdir"},
    {
        "schedules",
        "augment",
        "floor",
        "people",
        "pictures",
        "data.colormap",
        "data.gait",
        "data.spectrogram",
        "models.layers",
    },
    {"diffusion", "data.arrays", "data.radar", "data.walker", "models.encoder", "models.prior", "models.unet"},
    {"data.sources", "data.splits", "journal", "samplers", "state", "optim"},
    {"data.builders", "objectives", "parallel", "checkpoint", "guidance"},
    {"data.loader", "data.inspect", "data.export", "editing", "generate", "costs"},
    {"evaluate"},
    {"build"},
    {"sheets"},
    {"model", "trainer"},
    {"given", "album", "report"},
    {"judging"},
    {"checks", "enrolment", "modes"},
    {"sampling"},
    {"summary", "sweeps"},
    {"cli"},
]


def module_of(path: Path) -> str:
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return name.removesuffix(".__init__") if name != "__init__" else name


def level_of(module: str) -> int:
    if module in ("data", "models", "metrics"):
        return 0
    if module.startswith("metrics."):
        return 4
    return next(i for i, names in enumerate(LEVELS) if module in names)


def trees() -> dict[str, ast.Module]:
    return {module_of(p): ast.parse(p.read_text()) for p in sorted(PACKAGE.rglob("*.py"))}


def imports(tree: ast.Module) -> set[str]:
    """Dotted names of everything imported, at any depth."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own(names: set[str], modules: set[str]) -> set[str]:
    """Modules of this package among imported names."""
    found = set()
    for name in names:
        if name.startswith("mdiff_jax."):
            rest = name.removeprefix("mdiff_jax.")
            found.add(rest if rest in modules else rest.rpartition(".")[0])
    return found


def test_every_module_has_a_level() -> None:
    for module in trees():
        level_of(module)


def test_imports_run_down() -> None:
    all_trees = trees()
    for module, tree in all_trees.items():
        if module == "__init__":  # the front door, which opens the rooms above only when asked
            continue
        for other in own(imports(tree), set(all_trees)) - {""}:
            same_family = module.startswith("metrics.") and other.startswith("metrics.")
            down = level_of(other) < level_of(module) or level_of(other) == 0 or same_family
            if level_of(other) == level_of(module):
                down = down or module not in own(imports(all_trees[other]), set(all_trees))
            assert down, f"{module} (level {level_of(module)}) imports {other} (level {level_of(other)})"


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        ("tensorflow_datasets", ("data.",)),
        ("grain", ("data.",)),
        ("ml_collections", ("build", "model", "sheets", "trainer")),
        ("absl", ("cli", "data.inspect")),
        ("orbax", ("checkpoint",)),
        ("matplotlib", ("pictures", "evaluate", "data.colormap", "data.inspect")),
    ],
)
def test_libraries_stay_in_their_rooms(library: str, rooms: tuple[str, ...]) -> None:
    for module, tree in trees().items():
        if any(name.split(".")[0] == library for name in imports(tree)):
            assert module.startswith(rooms), f"{module} imports {library}: only {rooms} may"


def test_no_flax_in_the_maths() -> None:
    for module in ("schedules", "diffusion", "samplers"):
        assert not any(name.split(".")[0] == "flax" for name in imports(trees()[module]))


def test_only_parallel_says_pmap() -> None:
    for module, tree in trees().items():
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        if module != "parallel":
            assert not names & {"pmap", "pmean", "psum", "all_gather", "axis_index"}, module


def test_no_private_import_from_another_module() -> None:
    for module, tree in trees().items():
        for name in imports(tree):
            if name.startswith("mdiff_jax."):
                last = name.rpartition(".")[2]
                assert not last.startswith("_") or last == "__version__", f"{module} imports {name}"


def test_no_second_defaults_and_no_prints_in_the_library() -> None:
    for module, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
                owner = ast.unparse(node.func.value)
                assert not owner.endswith("config") and owner != "c", f"{module}: {ast.unparse(node)}"


def test_flags_only_in_scripts() -> None:
    for module, tree in trees().items():
        assert not any("DEFINE_" in getattr(node, "attr", "") for node in ast.walk(tree)), module


def test_ruff_is_clean() -> None:
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
