"""Compiled programs are kept where no one else could have put them."""

import ctypes
import os
import resource
import shutil
import stat
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from mdiff_jax.runtime import compilation_cache


@pytest.fixture(autouse=True)
def settings():
    """Those of the tests, restored at the end."""
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_enable_xla_caches",
    )
    before = {name: getattr(jax.config, name) for name in names}
    yield before
    for name, value in before.items():
        jax.config.update(name, value)
    reset_cache()


def test_the_folder_is_made_for_this_user_alone(tmp_path):
    assert compilation_cache.enable(tmp_path / "cache") is None
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "cache")


def test_a_folder_that_others_can_write_to_is_not_used(tmp_path, settings):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o775)
    assert "others can write to" in compilation_cache.enable(tmp_path / "cache")
    assert jax.config.jax_compilation_cache_dir == settings["jax_compilation_cache_dir"]


@pytest.mark.parametrize("made", [False, True])
def test_a_working_directory_of_another_user_is_not_used(tmp_path, monkeypatch, settings, made):
    if made:
        (tmp_path / "cache").mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    assert compilation_cache.enable(tmp_path / "cache") == f"{tmp_path} belongs to another user"
    assert jax.config.jax_compilation_cache_dir == settings["jax_compilation_cache_dir"]
    assert (tmp_path / "cache").exists() == made


def test_programs_are_found_in_a_working_directory_that_was_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation_cache, "MIN_COMPILE_SECONDS", 0.0)
    kept = []
    for root in (tmp_path / "first", tmp_path / "copy"):
        compilation_cache.enable(root / "cache")
        reset_cache()  # of the folder before
        jax.jit(lambda x: 3 * x + 1)(1.0)
        kept.append({path.name for path in (root / "cache").glob("jit__lambda*-cache")})
        if root.name == "first":
            shutil.copytree(root, tmp_path / "copy")
    assert len(kept[0]) == 1 and kept[1] == kept[0]


def test_memory_that_is_free_goes_back_to_the_system():
    """In pieces too small to go back by themselves, behind one that stays."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_trim"):
        pytest.skip("another C library")
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    pieces = [libc.malloc(2**16) for _ in range(1600)]
    for piece in pieces:
        ctypes.memset(piece, 1, 2**16)
    for piece in pieces[:-1]:
        libc.free(piece)
    kept = resident_mib()
    compilation_cache.release_memory()
    released = kept - resident_mib()
    libc.free(pieces[-1])
    assert released > 50


def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
