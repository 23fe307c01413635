"""A working directory with random parameters, made once, and copies of it to damage."""

import functools
import shutil
import tempfile
from pathlib import Path


@functools.cache
def _original() -> tuple[tempfile.TemporaryDirectory, Path]:
    import random_workdir

    folder = tempfile.TemporaryDirectory()
    return folder, random_workdir.make_workdir(Path(folder.name) / "run")


def workdir(folder: Path) -> Path:
    """FOLDER/run, from which can be sampled."""
    return Path(shutil.copytree(_original()[1], folder / "run"))


def sample_from(root: Path, *flags: str) -> list[str]:
    return ["sample.py", f"--workdir={root}", "--user_ids=walker_01", "--num_samples_per_user=1", *flags]
