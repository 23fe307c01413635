"""Commands and Python in the documents: every flag, key and name is there, and each runs in a small form."""

import ast
import contextlib
import importlib
import itertools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import documented
import pytest
from documented import DOCUMENTS, ROOT

from mdiff_jax.commands import main
from mdiff_jax.data import export
from mdiff_jax.inference import base_model
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir, read_json, write_json

EVERY = [command for document in DOCUMENTS for command in documented.commands(document)]
FORMS = list(dict.fromkeys(documented.small(c) for c in EVERY if documented.program(c) not in documented.NOT_RUN))
SNIPPETS = [snippet for document in DOCUMENTS for snippet in documented.snippets(document)]
ELSEWHERE = ("google", "torch", "torchvision")  # what is imported in snippets, but not installed for tests
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture
def load(monkeypatch):
    """Returns a command whose flags have their defaults."""

    def load(name: str):
        module = f"mdiff_jax.commands.{name}"
        monkeypatch.setitem(sys.modules, module, None)  # what it was before returns after the test
        del sys.modules[module]
        return main.load(name)

    return load


# ----------------------------------------------------------------------------- what is named is there


def check_script(path: Path, arguments: list[str]) -> None:
    """The flags of a script that parses them by argparse, itself or by `duel`, are in its text."""
    text = path.read_text() + (path.parent / "duel.py").read_text() if "duel" in path.read_text() else path.read_text()
    for flag in (argument.partition("=")[0] for argument in arguments):
        assert f'"{flag}"' in text, flag


def check_tests(arguments: list[str]) -> None:
    """Files, words and marks of a call of pytest."""
    files = [ROOT / argument for argument in arguments if argument.startswith("tests")]
    assert all(file.exists() for file in files)
    given = dict(itertools.pairwise(arguments))
    if "-k" in given:
        assert any(given["-k"] in file.read_text() for file in files)
    marks = {mark.partition(":")[0] for mark in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
    assert set(re.findall(r"\w+", given.get("-m", ""))) - {"or", "not", "and"} <= marks


def check_install(arguments: list[str]) -> None:
    """Extras and files of requirements of a call of pip."""
    for extra in re.findall(r"\[(\w+)\]", " ".join(arguments)):
        assert extra in PROJECT["project"]["optional-dependencies"], extra
    given = dict(itertools.pairwise(arguments))
    assert (ROOT / given.get("-r", "requirements.txt")).is_file()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_flags_and_keys_of_commands_are_there(document, load, monkeypatch):
    monkeypatch.chdir(ROOT)
    for command in documented.commands(document):
        program, flags = documented.program(command), [word for word in command.words if word.startswith("--")]
        if command.name:
            load(command.name).FLAGS.parse(command.arguments)
        elif program == "pytest":
            check_tests(list(command.words[command.words.index("pytest") + 1 :]))
        elif program == "pip":
            check_install(list(command.words[1:]))
        elif program.endswith(".py"):
            check_script(ROOT / program, flags)


each_snippet = pytest.mark.parametrize(
    "snippet", SNIPPETS, ids=lambda snippet: f"{snippet.document.name}:{snippet.line}"
)


@each_snippet
def test_python_of_documents_imports_what_is_there(snippet):
    for node in ast.walk(ast.parse(documented.python_of(snippet))):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] not in ELSEWHERE:
            for name in node.names:
                found = hasattr(importlib.import_module(node.module), name.name)
                assert found or importlib.import_module(f"{node.module}.{name.name}"), name.name


def test_every_line_of_bash_is_a_command_that_tests_know(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```bash\nmdiff doctor\nrm -r everything\n```\n")
    with pytest.raises(AssertionError, match="rm -r everything"):
        list(documented.commands(page))


# ----------------------------------------------------------------------------- it runs


@pytest.fixture(scope="session")
def world(workdirs, root, tmp_path_factory) -> Path:
    """A folder where what the documents speak of lies, small: recordings, trained runs, samples, a function."""
    world = tmp_path_factory.mktemp("world")
    options = {"num_users": 3, "recordings_per_user": 6, "windows_per_recording": 2}
    export.write_walkers(world / "walkers", "jpg", **options, difficulty=1.0, nuisances=0.0, seed=0)
    for walker, user in (("walker_01", "ID_1"), ("walker_02", "ID_2"), ("walker_03", "ID_3")):
        shutil.copytree(world / "walkers" / walker, world / "recordings" / user)
    first = min((world / "recordings" / "ID_1").iterdir())
    first.rename(first.with_name("ID1_walk_001.jpg"))
    for name in ("TWENTY_WINDOWS", "FOLDER", "ID_11"):
        shutil.copytree(world / "walkers" / "walker_02", world / name)
    gait = workdirs.make_workdir(world / "runs" / "gait", path=world / "recordings", people={"references": True})
    config = Workdir(gait).read_config()
    config["enrollment"].update(steps=2, update_steps=2)
    write_json(gait / "config.json", config)
    for name, original in (("five", gait), ("people", gait), ("base", gait), ("quickstart", root)):
        shutil.copytree(original, world / "runs" / name)
    for name in ("generated", "new", "runs/gait/samples/filtered"):
        for user in ("ID_1", "ID_3"):
            shutil.copytree(world / "recordings" / user, world / name / user)
    shutil.copy(ROOT / "tests" / "small_run.py", world)
    (world / "mine.py").write_text("def embed(windows):\n    return windows.mean(2)\n")
    return world


@pytest.fixture
def here(world, tmp_path, monkeypatch) -> Iterator[Path]:
    """A copy of the world, as the present folder."""
    here = shutil.copytree(world, tmp_path / "world")
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield here
    sys.modules.pop("mine", None)


def is_quick(form: tuple[str, ...]) -> bool:
    """Whether it trains nothing, no judge either; of what draws, one."""
    if form[0] == "sample":
        return "--user_ids=ID_1,ID_3" in form
    return form[0] == "export" or (form[0] == "inspect" and "--nocurve" in form)


def expected_end(form: tuple[str, ...]) -> contextlib.AbstractContextManager:
    """What a command ends with that does not simply end: `doctor` exits, random networks draw what passes no filter."""
    if form[0] == "doctor":
        return pytest.raises(SystemExit, match="0")
    filtered = any(flag.startswith("--filter") for flag in form)
    return pytest.raises(InputError, match="pass --filter") if filtered else contextlib.nullcontext()


def fit_in_two_steps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a base model in place of the package's, whose people are fitted to in two steps."""
    root = shutil.copytree(base_model.FOLDER, folder / "base_model")
    config = read_json(root / "config.json", "")
    config["enrollment"]["update_steps"] = 2
    write_json(root / "config.json", config)
    monkeypatch.setattr(base_model, "FOLDER", root)


@pytest.mark.parametrize(
    "form",
    [pytest.param(form, id=" ".join(form), marks=[] if is_quick(form) else pytest.mark.slow) for form in FORMS],
)
def test_a_command_runs_in_its_small_form(form, here, load, quick_judge, monkeypatch):
    name, *arguments = form
    if name == "enroll" and "--base" in form:
        shutil.rmtree(here / "runs" / "people")  # it makes this folder
        fit_in_two_steps(here, monkeypatch)
    for user in set(arguments) & {"--user_ids=ID_6", "--user_ids=ID_11"}:
        main.start(load("enroll"), [arguments[-1], f"--name={user[11:]}", "--path=ID_11"])
    if name == "evaluate" and not re.search("--(samples|sweep)=", " ".join(form)):
        main.start(load("sample"), arguments[-1:])  # its working directory
    if name in main.COMMANDS:
        with expected_end(form):
            main.start(load(name), arguments)
    else:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
        path = Path(name)
        file = ["-m", ".".join(path.with_suffix("").parts)] if path.parts[0] == "mdiff_jax" else [ROOT / path]
        done = subprocess.run([sys.executable, *file, *arguments], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def small_snippet(snippet: documented.Block) -> str:
    """The text of a block of Python, which trains the smallest networks where it trains."""
    text = documented.python_of(snippet)
    return text.replace('train("gait_cpu", "runs/gait", {', 'train("small_run.py", "trained", {"data.kind": "folder", ')


@pytest.mark.slow
@each_snippet
def test_python_of_documents_runs(snippet, here, load):
    text = small_snippet(snippet)
    if "gait.safetensors" in text:
        main.start(load("export"), ["--workdir=runs/gait", "--weights=gait.safetensors"])
    if not re.search(rf"\b(from|import) .*\b({'|'.join(ELSEWHERE)})\b", text):
        exec(text, {})
