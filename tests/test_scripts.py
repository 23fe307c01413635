"""What the scripts say and how they end: one line and exit status 2 for what a person can mend.

Each call starts a Python that imports JAX, seconds; so most cases parse the flags of a script in this process.
"""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mdiff_jax.commands import main
from mdiff_jax.runtime import cli
from mdiff_jax.runtime.errors import InputError

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"JAX_PLATFORMS": "cpu"}


def run(*arguments: str, cwd: Path = ROOT, **options) -> subprocess.CompletedProcess:
    options = {"capture_output": True, "text": True, "env": ENVIRONMENT} | options
    return subprocess.run([sys.executable, *arguments], cwd=cwd, **options)


def is_one_line(done: subprocess.CompletedProcess) -> bool:
    return done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def one_image_user(folder: Path) -> None:
    for user, count in (("ID_1", 3), ("ID_2", 1)):
        (folder / user).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / user / f"walk_{i + 1}.png")


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda folder: None, "recordings"),
        (lambda folder: folder.mkdir(), "recordings"),
        (one_image_user, "user 'ID_2'"),
    ],
    ids=["missing", "empty", "one image"],
)
def test_training_on_a_bad_folder(parse, tmp_path, prepare, says):
    folder, workdir = tmp_path / "recordings", tmp_path / "run"
    prepare(folder)
    line = parse("train", "--config=gait_cpu", f"--workdir={workdir}", f"--config.data.path={folder}")
    assert says in line and "\n" not in line and not workdir.exists()


def test_sampling_without_a_working_directory(tmp_path):
    done = run("sample.py", f"--workdir={tmp_path / 'nothing'}", "--user_ids=ID_1")
    assert is_one_line(done) and "train.py" in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("script", "sign", "delay"),
    [
        ("evaluate", "reading", 1.0),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("evaluate", "reading", 0),
                ("evaluate", "reading", 4),
                ("enroll", "reading", 1),
                ("enroll", "prior", 0),
            )
        ),
    ],
)
def test_an_interrupt_ends_in_one_line(writable_root, windows, tmp_path, script, sign, delay):
    """Ctrl-C, a while after the progress bar has shown the sign: no traceback, no crash, nothing half-written."""
    command = {
        "evaluate": ["evaluate.py", f"--samples={tmp_path / 'samples'}"],
        "enroll": ["enroll.py", "--name=NEW", f"--path={windows}"],
    }[script]
    shutil.copytree(windows, tmp_path / "samples" / "walker_01")
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    command = [sys.executable, *command, f"--workdir={writable_root}"]
    before = sorted(writable_root.rglob("*"))
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        said = b""
        while sign.encode() not in said and (read := os.read(process.stderr.fileno(), 4096)):
            said += read
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        said += process.communicate(timeout=120)[1]
    assert process.returncode == 130, said.decode()
    assert b"Traceback" not in said and said.strip().endswith(b"stopped")
    assert sorted(writable_root.rglob("*")) == before


# ----------------------------------------------------------------------------- configuration files


def test_a_script_runs_from_any_folder(tmp_path):
    (tmp_path / "mine.py").write_text("from configs import tiny\n\n\ndef get_config():\n    return tiny.get_config()\n")
    given = ["--config", "mine.py", "--workdir", "run", "--config.decoder.epoch", "3"]
    done = run(str(ROOT / "train.py"), *given, cwd=tmp_path)
    assert is_one_line(done), done.stderr
    assert "unknown configuration key 'decoder.epoch': did you mean 'decoder.epochs'?" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


def test_help_lists_flags_and_keys_with_their_comments():
    done = run("train.py", "--help", "--config=configs/tiny.py")
    assert done.returncode == 0 and not done.stderr
    assert "several processes" in done.stdout and "--workdir=PATH" in done.stdout
    assert re.search(r"--config\.decoder\.epochs=10 +passes over the training windows", done.stdout)


# ----------------------------------------------------------------------------- flags


@pytest.fixture
def parse(monkeypatch):
    """Parses arguments with the flags of a command, and runs its main; returns the line that it fails with."""

    def parse(command: str, *arguments: str) -> str:
        name = f"mdiff_jax.commands.{command}"
        monkeypatch.setitem(sys.modules, name, None)  # what it was before returns after the test, be it nothing
        del sys.modules[name]
        with pytest.raises(InputError) as error:
            main.start(main.load(command), list(arguments))
        return str(error.value)

    return parse


@pytest.mark.parametrize(
    ("script", "arguments", "says"),
    [
        ("sample", ["--seed=-1"], "--seed is -1: give a whole number from 0 to 4294967295"),
        ("sample", ["--seed=4294967296"], "--seed is 4294967296"),
        ("sample", ["--seed=one"], "--seed=one"),
        ("sample", ["--cond_scale=inf"], "--cond_scale is inf"),
        ("sample", ["--cond_scale=nan"], "--cond_scale is nan"),
        ("sample", ["--prior_cond_scale=-1"], "--prior_cond_scale is -1.0"),
        ("sample", ["--guidance_interval=low,high"], "--guidance_interval is ['low', 'high']"),
        ("sample", ["--guidance_interval=nan,3"], "--guidance_interval is [nan, 3.0]"),
        ("sample", ["--batch_size=-3"], "--batch_size is -3"),
        ("sample", ["--num_samples_per_user=0"], "--num_samples_per_user is 0"),
        ("sample", ["--sample_timesteps=1000000000"], "--sample_timesteps is 1000000000"),
        ("sample", ["--seconds=1e5"], "--seconds is 100000.0: give a number above 0, at most 600"),
        ("sample", ["--seconds=nan"], "--seconds is nan"),
        ("sample", ["--interpolate=a,b", "--interpolate_steps=1000000"], "--interpolate_steps is 1000000"),
        ("sample", ["--interpolate=a,b", "--user_ids=c"], "--user_ids does not go with --interpolate"),
        ("sample", ["--interpolate_steps=4"], "--interpolate_steps belongs to --interpolate"),
        ("sample", ["--strength=0.5"], "--strength belongs to --like"),
        ("sample", ["--window_seconds=2"], "--window_seconds belongs to --seconds"),
        ("sample", ["--as=a", "--strength=0.5"], "--strength belongs to --like"),
        ("sample", ["--as=a"], "--as belongs to --like"),
        ("sample", ["--soft_label_gamma=0.5"], "--soft_label_gamma belongs to --as"),
        ("sample", ["--like=training", "--as=a", "--strength=0.5", "--soft_label_gamma=0"], "--soft_label_gamma is 0"),
        ("sample", ["--like=training", "--as=a"], "--strength is 1, which keeps nothing"),
        ("sample", ["--like=x", "--seconds=9"], "--like and --seconds do not go together"),
        ("sample", ["--interpolate=a,b", "--like=x"], "--interpolate and --like do not go together"),
        ("sample", ["--like=x", "--filter=physics"], "--like and --filter do not go together"),
        ("sample", ["--seconds=9", "--filter=physics"], "--seconds and --filter do not go together"),
        ("sample", ["--output_dir="], "--output_dir is empty: give a path"),
        ("sample", ["--like="], "--like is empty"),
        ("sample", ["--npz=maybe"], "--npz=maybe"),
        ("sample", ["--workdir=setup.cfg", "--workdir=README.md"], "--workdir=README.md is not a folder"),
        ("enroll", ["--workdir="], "--workdir is empty"),
        ("enroll", ["--path="], "--path is empty"),
        ("enroll", ["--base"], "--path is missing: give --workdir=NEW_FOLDER --path=FOLDER"),
        ("enroll", ["--base", "--name=a", "--path=x"], "leave --name out"),
        ("augment", ["--share=0"], "--share is 0"),
        ("augment", ["--seeds=0"], "--seeds is 0"),
        ("augment", ["--output=x", "--recipes=magic"], "recipe 'magic' is not known: give any of generated"),
        ("evaluate", ["--samples="], "--samples is empty"),
        ("evaluate", ["--sweep=luck"], "weights|guidance|steps"),
        ("evaluate", ["--sweep=steps", "--sweep_steps=a"], "--sweep_steps is ['a']"),
        ("evaluate", ["--sweep=steps", "--sweep_steps="], "--sweep_steps is []"),
        ("evaluate", ["--sweep=steps", "--sweep_samplers=x"], "--sweep_samplers=x: give any of ddpm"),
        ("evaluate", ["--sweep=guidance", "--sweep_scales=nan"], "--sweep_scales is [nan]"),
        ("evaluate", ["--sweep=guidance", "--sweep_count=0"], "--sweep_count is 0"),
        ("evaluate", ["--sweep=guidance", "--samples=x"], "--sweep and --samples do not go together"),
        ("evaluate", ["--sweep_steps=4"], "--sweep_steps belongs to --sweep"),
        ("evaluate", ["--features=os:path"], "--features=os:path is a module"),
        ("evaluate", ["--features=no.such:thing"], "give module:function"),
    ],
)
def test_a_flag_that_cannot_be_is_refused_by_its_name(parse, monkeypatch, tmp_path, script, arguments, says):
    monkeypatch.chdir(ROOT)
    (tmp_path / "config.json").write_text("{}")  # a working directory is looked for first
    line = parse(script, f"--workdir={tmp_path}", *arguments)
    assert says in line and "\n" not in line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--like=training"], "--base was trained on nobody of yours"),
        (["--like=x", "--as=a", "--strength=0.5"], "--strength is for training windows and variations"),
        (["--like=x", "--as=a"], "--as is for training windows and variations"),
    ],
)
def test_the_base_model_has_no_training_windows(parse, arguments, says):
    assert says in parse("sample", "--base", *arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--config=configs/tiny.py", "--config.data.walkers.users=3"], "did you mean 'data.walkers.num_users'?"),
        (["--config", "configs/tiny.py", "--config.seed", "4294967296"], "seed is 4294967296: give a whole number"),
        (["--config=nope.py"], "--config=nope.py is no file: give one of your own, or a name of base, "),
        (["--config="], "--config= is no file"),
        (["--config={other}/syntax.py"], "SyntaxError"),
        (["--config={other}/raises.py", "--config.seed=1"], "ZeroDivisionError: division by zero (line 2)"),
        (["--config={other}/empty.py"], "has no function get_config()"),
        (["--config={other}/dict.py"], "returns a dict, let it return a ConfigDict"),
        (["--config={other}/opens.py"], "nothing"),
        (["--config=configs/tiny.py", "--config.decoder.epochs=many"], "decoder.epochs"),
        (["--config=configs/tiny.py", "--worksdir=x"], "did you mean --workdir?"),
        (["--config=configs/tiny.py", "stray"], "'stray' is not a flag"),
        (["--config=configs/tiny.py", "--workdir="], "--workdir is empty"),
        (["--config=configs/tiny.py", "--workdir={other}/dict.py"], "is not a folder"),
        (["--config=configs/tiny.py", "--flagfile=nope"], "flagfile"),
        (["--config=configs/tiny.py", "--num_processes=0"], "--num_processes is 0"),
    ],
)
def test_what_is_wrong_with_a_configuration_is_one_line(parse, monkeypatch, tmp_path, arguments, says):
    other, cwd = tmp_path / "other", tmp_path / "here"
    other.mkdir()
    cwd.mkdir()
    (other / "syntax.py").write_text("def get_config(:\n")
    (other / "raises.py").write_text("def get_config():\n    return 1 / 0\n")
    (other / "empty.py").write_text("")
    (other / "dict.py").write_text("def get_config():\n    return {'seed': 1}\n")
    (other / "opens.py").write_text("def get_config():\n    return open('nothing').read()\n")
    monkeypatch.chdir(cwd)
    line = parse("train", f"--workdir={tmp_path / 'run'}", *(argument.format(other=other) for argument in arguments))
    assert says in line and "\n" not in " ".join(line.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "other"] and not list(cwd.iterdir())


# ----------------------------------------------------------------------------- standard output

PRINTS = """
import sys
sys.path.insert(0, {root!r})
from mdiff_jax.runtime import cli

def start():
    for i in range(3000):
        print("line", i, flush=True)
    open({path!r}, "w").write("all is done")

cli.guard(start)
"""


@pytest.mark.parametrize(
    ("redirect", "status", "says"),
    [("| head -1", 0, ""), (">&-", 0, ""), ("> /dev/full", 1, "standard output: No space left on device")],
)
def test_work_goes_on_when_standard_output_does_not(tmp_path, redirect, status, says):
    script, done = tmp_path / "prints.py", tmp_path / "done.txt"
    script.write_text(PRINTS.format(root=str(ROOT), path=str(done)))
    command = f"set -o pipefail; {sys.executable} {script} {redirect}"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=ENVIRONMENT)
    assert (ended.returncode, done.read_text()) == (status, "all is done"), ended.stderr
    assert says in ended.stderr and ended.stderr.count("\n") == (status != 0)


def test_lost_standard_error_is_no_error_either(tmp_path):
    script, done = tmp_path / "prints.py", tmp_path / "done.txt"
    script.write_text(PRINTS.format(root=str(ROOT), path=str(done)).replace("flush=True", "file=sys.stderr"))
    for redirect in ("2>&-", "2>/dev/full"):
        ended = subprocess.run(["bash", "-c", f"{sys.executable} {script} {redirect}"], env=ENVIRONMENT)
        assert (ended.returncode, done.read_text()) == (0, "all is done")
        done.unlink()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (PermissionError(13, "Permission denied", "/some/file"), "/some/file: Permission denied"),
        (MemoryError(), "memory"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory"), "memory"),
        (InputError("a: b\nc"), "a: b c"),
    ],
)
def test_what_the_machine_refuses_is_one_line(monkeypatch, error, says):
    shown = io.StringIO()
    monkeypatch.setattr(cli, "open_output", lambda number: shown)

    def start():
        raise error

    out, err = sys.stdout, sys.stderr
    try:
        with pytest.raises(SystemExit) as ended:
            cli.guard(start)
    finally:
        sys.stdout, sys.stderr = out, err
    assert ended.value.code == 2 and says in shown.getvalue() and shown.getvalue().count("\n") == 1
    with pytest.raises(ZeroDivisionError):
        cli.guard(lambda: 1 / 0)
    sys.stdout, sys.stderr = out, err
