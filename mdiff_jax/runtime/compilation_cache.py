"""The cache of compiled programs in a working directory, machine code that training loads and runs; and the memory that
compiling takes.
"""

import contextlib
import ctypes
import os
import stat
import warnings
from collections.abc import Callable
from pathlib import Path

import jax

MIN_COMPILE_SECONDS = 0.1  # programs that compile faster are not kept


def enable(folder: Path) -> str | None:
    """Keeps compiled programs in `folder`, of a working directory; returns None, or the reason why not.

    Whoever can write there can have any code run by this user: both folders must be this user's, and no one else may
    write to `folder`.
    """
    for path in (folder.parent, folder):
        if path.exists() and path.stat().st_uid != os.geteuid():
            return f"{path} belongs to another user"
    if folder.exists() and folder.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others can write to {folder}: remove it"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(stat.S_IRWXU)
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache")  # it is compiled
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_COMPILE_SECONDS)
    # XLA's own cache on GPUs would lie in the folder, whose name would then belong to what a program is found by: in a
    # working directory that was copied or renamed all would be compiled anew.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    return None


def keep_programs(folder: Path, log: Callable[[str], object]) -> None:
    """Keeps compiled programs in `folder`, as `enable` does, or says why not."""
    if reason := enable(folder):
        log(f"compiled programs are not kept: {reason}")


def release_memory() -> None:
    """Gives freed memory back to the system. The C library keeps it: hundreds of MiB after a program was compiled."""
    with contextlib.suppress(AttributeError):  # not in every C library
        ctypes.CDLL(None).malloc_trim(0)
