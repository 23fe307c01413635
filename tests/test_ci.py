"""What keeps the project alive: the parts of .ci/run, the workflow that calls them, hooks, releases."""

import importlib.util
import re
import shutil
import subprocess
from datetime import date
from itertools import product
from pathlib import Path

import pytest
import yaml

from mdiff_jax.runtime.errors import InputError

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("release", ROOT / ".ci" / "release.py")
release = importlib.util.module_from_spec(spec)
spec.loader.exec_module(release)


def parts() -> set[str]:
    """The parts of .ci/run, as it lists them."""
    done = subprocess.run(["bash", ROOT / ".ci" / "run", "nothing"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    return set(done.stderr.partition("give some of ")[2].split())


def test_the_workflow_calls_parts_that_there_are():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    called = {}
    for name, job in workflow["jobs"].items():
        matrix = job["strategy"]["matrix"]
        commands = [step["run"] for step in job["steps"] if "run" in step]
        assert commands == [".ci/run ${{ matrix.part }}"] and set(matrix) <= {"part", "python"}
        called[name] = set(product(matrix["part"], matrix.get("python", ["3.11"])))
    pinned = parts() - {"tests"}  # which `coverage` runs
    assert called["pinned"] == set(product(pinned, ["3.11", "3.12", "3.13"]))
    assert {part for part, _ in called["lowest"]} <= parts() and workflow["jobs"]["lowest"]["env"][
        "VERSIONS"
    ] == "lowest"


def test_hooks_have_the_pinned_versions_and_need_no_other_repository():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    requirements = (ROOT / "requirements.txt").read_text()
    for hook in config["repos"][0]["hooks"]:
        for pin in hook["additional_dependencies"]:
            name, _, version = pin.partition("==")
            assert version and (pinned := re.findall(rf"^{name}==(\S+)", requirements, re.M)) in ([version], []), hook
            assert pinned or name != "ruff"


# ----------------------------------------------------------------------------- releases

CHECK = """
cd "$(dirname "$0")/.."
set -e
grep -q 0.2.0 mdiff_jax/runtime/version.py
touch "$DIST/mdiff_jax-{version}-py3-none-any.whl"
exit {status}
"""
OLD = "# Changelog\n\n## Unreleased\n\n- new\n\n## 0.1.9 - 2026-01-01\n\n- old\n"


@pytest.fixture
def clone(tmp_path) -> Path:
    """A repository of what a release reads and writes, whose check of the wheel takes no time."""
    for name in (*release.FILES, "pyproject.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / release.VERSION).write_text('VERSION = "0.1.9"\n')
    (tmp_path / release.CHANGELOG).write_text(
        "# Changelog\n\n## Unreleased\n\n- new\n\n## 0.1.9 - 2026-01-01\n\n- old\n"
    )
    (tmp_path / ".gitignore").write_text("dist/\n")
    set_wheel_check(tmp_path)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "config", "user.name", "tester")
    git(tmp_path, "config", "user.email", "tester@localhost")
    commit(tmp_path)
    return tmp_path


def git(root: Path, *arguments: str) -> str:
    return release.git(root, "-c", "commit.gpgsign=false", *arguments)


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=state")


def set_wheel_check(root: Path, version: str = "0.2.0", status: int = 0) -> None:
    (root / ".ci").mkdir(exist_ok=True)
    (root / ".ci" / "run").write_text(CHECK.format(version=version, status=status))


def test_a_release_is_a_version_in_all_files_a_commit_and_a_tag(clone):
    made = release.release(clone, "0.2.0")
    assert (clone / release.VERSION).read_text() == 'VERSION = "0.2.0"\n'
    citation = yaml.safe_load((clone / release.CITATION).read_text())
    assert str(citation["version"]) == "0.2.0" and citation["date-released"] == date.today()
    heading = f"## Unreleased\n\n## 0.2.0 - {date.today()}\n\n- new\n\n## 0.1.9 - 2026-01-01"
    assert heading in (clone / release.CHANGELOG).read_text()
    assert not git(clone, "status", "--porcelain") and git(clone, "describe").strip() == "v0.2.0"
    assert [path.name for path in (clone / "dist").iterdir()] == ["mdiff_jax-0.2.0-py3-none-any.whl"]
    assert "git push --follow-tags" in made
    with pytest.raises(InputError, match="has nothing under '## Unreleased'"):
        release.release(clone, "0.2.1")


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda root: set_wheel_check(root, status=1), "does not pass"),
        (lambda root: set_wheel_check(root, version="0.1.9"), "not of version 0.2.0"),
        (lambda root: git(root, "tag", "v0.2.0"), "there is a tag v0.2.0"),
        (lambda root: (root / "stray").touch(), "'stray' is not as committed"),
        (lambda root: (root / release.VERSION).write_text('VERSION = "0.2.0"\n'), "not above 0.2.0"),
    ],
    ids=["wheel", "its version", "tag", "unclean", "version"],
)
def test_what_cannot_be_released_is_left_as_it_was(clone, break_it, says):
    break_it(clone)
    if says.startswith(("does", "not")):
        commit(clone)
    before = {path: path.read_bytes() for path in clone.rglob("*") if path.is_file() and ".git" not in path.parts}
    head = git(clone, "rev-parse", "HEAD")
    with pytest.raises(InputError, match=says):
        release.release(clone, "0.2.0")
    assert git(clone, "rev-parse", "HEAD") == head
    assert before == {path: path.read_bytes() for path in before} and not (clone / "dist").exists()


@pytest.mark.parametrize("version", ["1", "v1.0.0", "1.0.0rc1", "01.0.0", "1.0.0\n"])
def test_only_plain_versions(clone, version):
    with pytest.raises(InputError, match=r"give MAJOR\.MINOR\.PATCH"):
        release.release(clone, version)


def test_a_dry_run_changes_nothing(clone):
    assert "nothing is changed" in release.release(clone, "0.2.0", dry_run=True)
    assert not git(clone, "status", "--porcelain") and not git(clone, "tag") and not (clone / "dist").exists()


def test_the_files_of_this_repository_can_be_set(clone):
    for name in release.FILES:
        shutil.copy(ROOT / name, clone / name)
    release.write_version(clone, "9.0.0", date(2030, 1, 2))
    assert all("9.0.0" in (clone / name).read_text() for name in release.FILES)
