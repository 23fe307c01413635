"""The wheel alone: it holds what the repository has, and its command runs in a folder outside."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, where building may leave files."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    for folder in ("mdiff_jax", "configs"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                target = source / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    done = subprocess.run([sys.executable, "-c", BUILD, out], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Deprecat" not in done.stdout + done.stderr and "ambiguous" not in done.stdout + done.stderr
    return next(out.glob("*.whl"))


class Installation(NamedTuple):
    """The wheel alone in a folder, its libraries being those of this Python, and an empty folder to work in."""

    site: Path
    folder: Path

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess:
        environment = os.environ | {"PYTHONPATH": str(self.site), "JAX_PLATFORMS": "cpu"}
        return subprocess.run(arguments, cwd=self.folder, env=environment, capture_output=True, text=True)

    def mdiff(self, *arguments: str) -> subprocess.CompletedProcess:
        return self.run(self.site / "bin" / "mdiff", *arguments)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Installation:
    site = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*pip, f"--target={site}", wheel], check=True, capture_output=True)
    return Installation(site, tmp_path_factory.mktemp("elsewhere"))


def test_it_holds_the_package_the_configurations_and_the_license(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    for folder, place in (("mdiff_jax", "mdiff_jax"), ("configs", "mdiff_jax/configs")):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert held[f"{place}/{path.relative_to(ROOT / folder).as_posix()}"] == path.read_bytes(), path
    assert any(name.endswith("licenses/LICENSE") for name in held)
    assert not [name for name in held if name.startswith(("configs/", "tests/", "docs/"))]


def test_its_command_helps_and_refuses(installed):
    assert "inspect" in installed.mdiff("--help").stdout
    done = installed.mdiff("train", "--help")
    assert done.returncode == 0 and "mdiff train --config=" in done.stdout and "train.py" not in done.stdout
    done = installed.mdiff("sample", "--help")
    assert "mdiff sample --workdir=runs/gait --teacher" in done.stdout and "train.py" not in done.stdout
    done = installed.mdiff("sample", "--workdir=nothing")
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert done.stderr.endswith("run mdiff train first\n") and not list(installed.folder.iterdir())


def test_its_configurations_are_found_by_name_and_import_each_other(installed):
    done = installed.mdiff("train", "--config=gait_cpu", "--workdir=run", "--config.decoder.epoch=1")
    assert done.returncode == 2 and "did you mean 'decoder.epochs'?" in done.stderr
    code = "from mdiff_jax import load_config; print(load_config('gait_cpu').init_from)"
    assert installed.run(sys.executable, "-c", code).stdout == "base\n"


@pytest.mark.slow
def test_it_trains_by_the_name_of_a_configuration(installed):
    done = installed.mdiff("train", "--config=tiny", "--workdir=run", "--config.dry_run=True", "--config.stage=encoder")
    assert done.returncode == 0, done.stderr
    assert "encoder" in done.stdout + done.stderr


def test_extras_are_within_what_is_pinned():
    extras = PROJECT["project"]["optional-dependencies"]
    jax = next(line for line in PROJECT["project"]["dependencies"] if line.startswith("jax>"))
    for extra in ("cuda12", "tpu"):
        assert extras[extra] == [jax.replace("jax", f"jax[{extra}]")]
    pinned = {r.name: r for line in (ROOT / "requirements.txt").read_text().splitlines()
              if (text := line.partition("#")[0].strip()) and (r := Requirement(text))}  # fmt: skip
    for requirement in map(Requirement, extras["dev"]):
        version = str(pinned[requirement.name].specifier).removeprefix("==")
        assert requirement.specifier.contains(version), requirement
