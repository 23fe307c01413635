"""The dispatcher, and what holds for all commands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mdiff_jax.commands import main
from mdiff_jax.evaluation import recipes, run, sweep
from mdiff_jax.runtime.errors import InputError

ROOT = Path(__file__).parents[2]
HEAVY = ("jax", "flax", "scipy", "sklearn", "matplotlib", "numpy", "tensorflow_datasets", "orbax")


def test_help_lists_each_command_in_one_line(capsys):
    main.dispatch(["--help"])
    lines = capsys.readouterr().out.splitlines()
    for name in main.COMMANDS:
        assert sum(line.startswith(f"  {name} ") and len(line) < 130 for line in lines) == 1, name


def test_a_command_that_is_none_is_refused():
    with pytest.raises(InputError, match="'trian' is no command of mdiff: did you mean train"):
        main.dispatch(["trian"])
    with pytest.raises(InputError, match="give one of train, sample"):
        main.dispatch(["--config=tiny"])


def test_flags_are_checked_before_jax_is_imported():
    """Also that all commands can be imported in one process."""
    code = f"""
import sys
from mdiff_jax.commands import main
for name in main.COMMANDS:
    main.start(main.load(name), ["--help"])
found = [name for name in {HEAVY} if name in sys.modules]
sys.exit(f"imported: {{found}}" if found else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_folders_that_are_missing_are_refused_before_jax_is_imported(tmp_path):
    none = str(tmp_path / "none")
    cases = [("train", "--config=gait_cpu", f"--workdir={none}", f"--config.data.path={none}")]
    cases += [(name, f"--workdir={none}") for name in ("sample", "evaluate")]
    cases += [("enroll", f"--workdir={none}", "--name=NEW", f"--path={none}")]
    cases += [(name, f"--workdir={none}", f"--output={none}2") for name in ("augment", "export")]
    code = f"""
import sys
from mdiff_jax.commands import main
from mdiff_jax.runtime.errors import InputError
for name, *arguments in {cases}:
    try:
        main.start(main.load(name), arguments)
    except InputError as error:
        print(error)
sys.exit("JAX is imported" if "jax" in sys.modules else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("is not a working directory") == 5 and done.stdout.count("does not exist") == 1


def test_every_flag_stands_in_its_help_once(capsys):
    for name in main.COMMANDS:
        command = main.load(name)
        text = command.FLAGS.help()
        for flag in command.FLAGS.values:
            assert len(re.findall(rf"^  --(?:\[no\])?{flag}\b(?!\.)", text, re.M)) == 1, f"{name} --{flag}"


def test_every_command_has_a_script_but_doctor():
    scripts = {path.stem.removesuffix("_data") for path in ROOT.glob("*.py")}
    assert scripts == set(main.COMMANDS) - {"doctor"}
    for name in scripts:
        script = ROOT / ("inspect_data.py" if name == "inspect" else f"{name}.py")
        assert f'main.run("{name}")' in script.read_text()


def test_choices_are_those_of_the_functions():
    augment, evaluate = main.load("augment"), main.load("evaluate")
    assert tuple(recipes.RECIPES) == augment.RECIPES and recipes.USUAL == augment.USUAL
    assert tuple(run.AUGMENTATION_JUDGES) == evaluate.JUDGES
    assert sweep.SWEEP_KINDS == evaluate.SWEEPS
