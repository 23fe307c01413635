"""Makes a release: version, changelog, source archive and wheel, a commit and its tag. Nothing is pushed.

python .ci/release.py 0.2.0 [--dry_run]

The wheel has to run the short training alone in a fresh environment (`.ci/run wheel`, minutes) before anything is
committed. After a failure, and with --dry_run, all files are as before.
"""

import datetime
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from mdiff_jax.runtime import cli
from mdiff_jax.runtime.errors import InputError

ROOT = Path(__file__).parents[1]
FORM = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
VERSION, CITATION, CHANGELOG = FILES = ("mdiff_jax/runtime/version.py", "CITATION.cff", "CHANGELOG.md")
UNRELEASED = "## Unreleased\n"


def main() -> None:
    parser = cli.ArgumentParser(usage=__doc__, allow_abbrev=False)
    parser.add_argument("version")
    parser.add_argument("--dry_run", action="store_true")
    given = parser.parse_args()
    print(release(ROOT, given.version, given.dry_run))


def release(root: Path, version: str, dry_run: bool = False) -> str:
    """Makes the release from the repository `root`; returns what was made. InputError where it cannot be made."""
    refuse(root, version)
    with tempfile.TemporaryDirectory() as built, restored_unless_done(root, dry_run):
        write_version(root, version, datetime.date.today())
        check_wheel(root, version, Path(built))
        names = ", ".join(sorted(os.listdir(built)))
        if dry_run:
            return f"{names}: all checks passed, nothing is changed"
        git(root, "commit", "--quiet", f"--message=Release {version}", "--", *FILES)
        git(root, "tag", "--annotate", f"--message=mdiff_jax {version}", f"v{version}")
        shutil.copytree(built, root / "dist", dirs_exist_ok=True)
    return f"dist/: {names}; committed and tagged, to publish it: git push --follow-tags"


def refuse(root: Path, version: str) -> None:
    """Raises an InputError where there is something that no release can be made of."""
    if not FORM.fullmatch(version):
        raise InputError(f"version '{version}': give MAJOR.MINOR.PATCH, such as 1.2.0")
    before = find(r'VERSION = "(.*)"', (root / VERSION).read_text())
    if [int(part) for part in version.split(".")] <= [int(part) for part in before.split(".")]:
        raise InputError(f"version '{version}' is not above {before}, which {VERSION} has: give a higher one")
    if changed := git(root, "status", "--porcelain"):
        raise InputError(f"'{changed.splitlines()[0][3:]}' is not as committed: commit it, or remove it")
    if git(root, "tag", "--list", f"v{version}"):
        raise InputError(f"there is a tag v{version}: give a higher version")
    if not find(rf"{UNRELEASED}((?s:.*?))(?:\n## |\Z)", (root / CHANGELOG).read_text()).strip():
        raise InputError(f"{CHANGELOG} has nothing under '{UNRELEASED.strip()}': say there what is new")


def write_version(root: Path, version: str, date: datetime.date) -> None:
    """Sets the version in all FILES; what the changelog has under `UNRELEASED` becomes that version's."""
    for name, pattern, text in (
        (VERSION, r'VERSION = ".*"', f'VERSION = "{version}"'),
        (CITATION, r"version: .*", f"version: {version}"),
        (CITATION, r"date-released: .*", f"date-released: {date}"),
        (CHANGELOG, UNRELEASED, f"{UNRELEASED}\n## {version} - {date}\n"),
    ):
        written, count = re.subn(rf"^{pattern}", text, (root / name).read_text(), flags=re.MULTILINE)
        assert count == 1, f"{name}: {pattern}"
        (root / name).write_text(written)


def check_wheel(root: Path, version: str, folder: Path) -> None:
    """Builds source archive and wheel into `folder`; InputError unless the wheel passes and has the version."""
    done = subprocess.run(["bash", root / ".ci" / "run", "wheel"], env=os.environ | {"DIST": str(folder)})
    if done.returncode:
        raise InputError("the wheel does not pass: see above, and try `.ci/run wheel`")
    if not (folder / f"mdiff_jax-{version}-py3-none-any.whl").is_file():
        raise InputError(f"the wheel is not of version {version}: {', '.join(os.listdir(folder))}")


@contextmanager
def restored_unless_done(root: Path, dry_run: bool) -> Iterator[None]:
    """Writes FILES as they were after an exception, or a dry run."""
    before = {name: (root / name).read_bytes() for name in FILES}
    done = False
    try:
        yield
        done = not dry_run
    finally:
        if not done:
            for name, content in before.items():
                (root / name).write_bytes(content)


def git(root: Path, *arguments: str) -> str:
    """Returns what git prints; InputError where it fails."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"git {arguments[0]}: {done.stderr or done.stdout}")
    return done.stdout


def find(pattern: str, text: str) -> str:
    """Returns what the group of a pattern matches, or ''."""
    found = re.search(pattern, text)
    return found[1] if found else ""


if __name__ == "__main__":
    cli.guard(main)
