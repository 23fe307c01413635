"""Whatever happens to a file of a working directory: the same numbers, or one line that names it."""

import contextlib
import functools
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from mdiff_jax.config import STAGES, from_plain_dict
from mdiff_jax.inference import loading
from mdiff_jax.inference.model import Model
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir, write_json
from mdiff_jax.training import train_loop


def flip(path: Path, share: float) -> None:
    data = bytearray(path.read_bytes())
    if data:
        data[int(share * (len(data) - 1))] ^= 0x20
    path.write_bytes(data)


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], None]] = {
    **{
        f"a byte at {share:.0%} flipped": (lambda path, share=share: flip(path, share))
        for share in (0, 0.2, 0.5, 0.9, 1)
    },
    "cut to half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "missing": Path.unlink,
    "a directory": replace_by_directory,
}


@contextlib.contextmanager
def damaged(path: Path, damage: Callable[[Path], None]) -> Iterator[None]:
    """Inside, the file is damaged."""
    before = path.read_bytes()
    damage(path)
    try:
        yield
    finally:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.write_bytes(before)


def outcome(call: Callable[[], object]) -> object:
    """The result of `call`, or the line that refuses it."""
    try:
        return call()
    except InputError as error:
        line = str(error)
        assert "\n" not in line and len(line) < 600
        return line


# ----------------------------------------------------------------------------- sampling


@pytest.fixture(scope="module")
def given(root: Path, workdirs, tmp_path_factory) -> Path:
    """A working directory with everything that sampling reads."""
    given = tmp_path_factory.mktemp("given") / "run"
    workdirs.load_with_new_user(root, given)
    write_json(Workdir(given).chosen, {"sample.cond_scale": {"chosen": 1.5, "instead_of": 2.0}})
    return given


def numbers(loaded: Model) -> dict:
    return {"params": loaded.params, "constants": loaded.constants, "enrolled": loaded.enrolled, "split": loaded.split}


def remember(parameter_shapes: Callable) -> Callable:
    """`parameter_shapes` that computes each once: that is most of the time of loading."""
    known = {}

    def remembered(config: ConfigDict, name: str, num_users: int) -> dict:
        key = (name, num_users, config.to_json_best_effort())
        if key not in known:
            known[key] = parameter_shapes(config, name, num_users)
        return known[key]

    return remembered


def files(root: Path) -> list[Path]:
    """Those that are read; of the prepared data see tests/data."""
    return sorted(path for path in root.rglob("*") if path.is_file() and path.relative_to(root).parts[0] != "data")


def each_with_one_damage(root: Path) -> Iterator[tuple[Path, str]]:
    return zip(files(root), itertools.cycle(DAMAGES), strict=False)


def each_with_all_damages(root: Path) -> Iterator[tuple[Path, str]]:
    return itertools.product(files(root), DAMAGES)


@pytest.mark.parametrize("pairs", [each_with_one_damage, pytest.param(each_with_all_damages, marks=pytest.mark.slow)])
def test_what_is_loaded_is_whole_or_refused_by_name(given, monkeypatch, pairs):
    monkeypatch.setattr(loading, "parameter_shapes", remember(loading.parameter_shapes))
    whole = numbers(loading.load(given))
    for path, name in pairs(given):
        with damaged(path, DAMAGES[name]):
            result = outcome(lambda: loading.load(given))
        where = f"{path.relative_to(given)}, {name}"
        if isinstance(result, str):
            assert str(given) in result and path.relative_to(given).parts[0] in result, f"{where}: {result}"
        elif path.parent.name == "enrolled" and name == "missing":
            assert not result.enrolled
        else:
            jax.tree.map(functools.partial(np.testing.assert_array_equal, err_msg=where), numbers(result), whole)


# ----------------------------------------------------------------------------- training


@pytest.mark.slow
def test_training_goes_on_from_what_is_whole_to_the_same_numbers(given, tmp_path):
    """Each file of a finished working directory damaged: the same command repairs it, or names the file."""
    config = from_plain_dict(Workdir(given).read_config())
    config.log_every, config.checkpoint_every, config.compilation_cache = 1, 2, False
    for name in STAGES:
        config[name].update(epochs=2, batch_size=4)
    train_loop.train(config, trained := tmp_path / "trained")
    whole = numbers(loading.load(trained))
    repaired = 0
    for i, (path, name) in enumerate(each_with_one_damage(trained)):
        copy = shutil.copytree(trained, tmp_path / "copies" / str(i))
        DAMAGES[name](copy / path.relative_to(trained))
        where = f"{path.relative_to(trained)}, {name}"
        result = outcome(lambda copy=copy: train_loop.train(config, copy))
        if result is None and "remove it" in str(again := outcome(lambda copy=copy: loading.load(copy))):
            shutil.rmtree(copy.joinpath(*path.relative_to(trained).parts[:3]))  # the best, which is not the latest
            loading.load(copy)
        elif result is None:
            jax.tree.map(functools.partial(np.testing.assert_array_equal, err_msg=where), numbers(again), whole)
            repaired += 1
        else:
            assert str(copy) in result and path.relative_to(trained).parts[0] in result, f"{where}: {result}"
            assert path.parent == trained, f"not repaired: {where}: {result}"
        shutil.rmtree(copy)
    assert repaired > 30


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_without_its_folder_is_trained_anew(given, tmp_path, stage):
    config = from_plain_dict(Workdir(given).read_config())
    config.compilation_cache = False
    for name in STAGES:
        config[name].update(epochs=1, batch_size=4)
    train_loop.train(config, tmp_path / "run")
    whole = numbers(loading.load(tmp_path / "run"))
    shutil.rmtree(tmp_path / "run" / stage)
    train_loop.train(config, tmp_path / "run")
    jax.tree.map(np.testing.assert_array_equal, numbers(loading.load(tmp_path / "run")), whole)
