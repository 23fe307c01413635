"""Run-time shape checks for the whole package, and where the real recordings are, if they are here."""

import os
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from jaxtyping import install_import_hook

install_import_hook("mdiff_jax", "typecheck.check")

import jax  # noqa: E402
import pytest  # noqa: E402 - after the hook

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


warnings.filterwarnings("ignore", message=".*load_module.*")
