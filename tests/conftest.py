"""Run-time shape checks for the whole package, cheap compilation, and fixtures that several folders of tests share."""

import importlib
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Tests compile much and compute little. All processes of a run inherit this, and take programs from one cache.
CHEAP = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"  # half the time of compilation
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    CACHE = tempfile.TemporaryDirectory(prefix="mdiff_jax_cache_")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = CACHE.name
if CHEAP not in (given := os.environ.get("XLA_FLAGS", "")):
    os.environ["XLA_FLAGS"] = f"{CHEAP} {given}"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"

install_import_hook("mdiff_jax", "typecheck.check")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in the background, and so would children

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


@pytest.fixture
def quick_judge(monkeypatch):
    """Convolutional judges that learn next to nothing."""
    cnn_classifier = importlib.import_module("mdiff_jax.metrics.cnn_classifier")
    monkeypatch.setattr("mdiff_jax.evaluation.measures.SHORT_TRAINING", 2)
    monkeypatch.setattr(cnn_classifier, "choose_training_steps", lambda windows: 2)
    monkeypatch.setattr(cnn_classifier, "WIDTHS", (8, 8))
