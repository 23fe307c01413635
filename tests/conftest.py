"""Run-time shape checks for the whole package, cheap compilation, and fixtures that several folders of tests share."""

import importlib
import os
import shutil
import signal
import tempfile
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from jaxtyping import install_import_hook

install_import_hook("mdiff_jax", "typecheck.check")

import jax  # noqa: E402
import pytest  # noqa: E402 - after the hook

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in the background, and so would children
CACHE = tempfile.TemporaryDirectory(prefix="mdiff_jax_cache_")  # programs compiled twice in one run are taken from here
jax.config.update("jax_compilation_cache_dir", CACHE.name)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_disable_most_optimizations", True)  # tests compile much and compute little

REAL = Path(__file__).parents[2] / "shared" / "data" / "gait"


@pytest.fixture(scope="session")
def real_recordings() -> Path:
    """Folder of real recordings; tests that need it skip where it is absent."""
    if not REAL.is_dir():
        pytest.skip(f"no real recordings at {REAL}: they are not part of the project")
    return REAL


@pytest.fixture(scope="session")
def workdirs():
    """The helper module `random_workdir`, imported where it is used: it takes seconds."""
    return importlib.import_module("random_workdir")


@pytest.fixture(scope="session")
def root(workdirs, tmp_path_factory) -> Path:
    """A working directory with random parameters and two users; not to be written to."""
    return workdirs.make_workdir(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="session")
def native(workdirs, tmp_path_factory):
    """A model with random parameters whose windows keep their own frames."""
    return workdirs.load(workdirs.make_workdir(tmp_path_factory.mktemp("native"), native=True))


@pytest.fixture(scope="session")
def reference_root(workdirs, tmp_path_factory) -> Path:
    """As `root`, of networks that know people by reference windows."""
    return workdirs.make_workdir(tmp_path_factory.mktemp("references"), people={"references": True})


@pytest.fixture
def writable_root(root, tmp_path) -> Path:
    """A copy of `root`."""
    return shutil.copytree(root, tmp_path / "run")


@pytest.fixture(scope="session")
def trained(workdirs, root):
    """The model in `root`."""
    return workdirs.load(root)


@pytest.fixture(scope="session")
def windows(workdirs, trained, tmp_path_factory) -> Path:
    """A folder of six windows of a stranger."""
    return workdirs.write_stranger(trained, tmp_path_factory.mktemp("given"))


@pytest.fixture(scope="session")
def enrolled(workdirs, root, tmp_path_factory):
    """As `trained`, with a user NEW added since."""
    return workdirs.load_with_new_user(root, tmp_path_factory.mktemp("enrolled"))
