"""Damage to each file of a working directory: sampling goes on or says in a line which file and what to do."""

import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from harness import Case, parametrize
from make_recordings import image_folders
from make_workdir import sample_from, workdir

# ----------------------------------------------------------------------------- damage to every file


def flip(path: Path, at: float) -> None:
    data = bytearray(path.read_bytes())
    if data:
        data[int(at * (len(data) - 1))] ^= 0xFF
    path.write_bytes(data)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "flipped early": lambda path: flip(path, 0.05),
    "flipped in the middle": lambda path: flip(path, 0.5),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "a folder": replace_by_folder,
    "a pipe": replace_by_pipe,
}
# one of each kind of file; names of the files of arrays are random
FILES = (
    "config.json",
    "split.json",
    "data/dataset.json",
    "data/**/features.json",
    "data/**/dataset_info.json",
    "data/**/*.array_record*",
    "encoder/checkpoints/3/_CHECKPOINT_METADATA",
    "encoder/checkpoints/3/meta/metadata",
    "prior/checkpoints/3/state/_METADATA",
    "prior/checkpoints/3/state/manifest.ocdbt",
    "decoder/checkpoints/3/state/_METADATA",
    "decoder/checkpoints/3/state/manifest.ocdbt",
    "decoder/checkpoints/3/state/ocdbt.process_0/manifest.ocdbt",
    "decoder/checkpoints/3/state/ocdbt.process_0/d/*",
    "decoder/checkpoints/3/meta/metadata",
)


def damage_cases() -> Iterator[Case]:
    for pattern in FILES:
        for label, damage in DAMAGE.items():

            def prepare(folder: Path, pattern: str = pattern, damage: Callable = damage) -> list[str]:
                root = workdir(folder)
                damage(
                    max((path for path in root.glob(pattern) if path.is_file()), key=lambda path: path.stat().st_size)
                )
                return sample_from(root)

            short = pattern == "decoder/checkpoints/3/meta/metadata" and label == "half"
            yield Case(f"{pattern} {label}".replace("/", "."), prepare, works=None, short=short)


@parametrize(damage_cases())
def test_damage(case, judge):
    judge(case)


# ----------------------------------------------------------------------------- what others may have put there


def changed_meta(**changes: Any) -> Callable[[Path], None]:
    """Changes what the decoder's checkpoint says beside its arrays."""

    def change(root: Path) -> None:
        for stage in ("encoder", "prior", "decoder"):
            path = root / stage / "checkpoints" / "3" / "meta" / "metadata"
            path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def write_chosen(text: str) -> Callable[[Path], None]:
    return lambda root: (root / "chosen.json").write_text(text)


def write_enrolled(name: str, content: bytes) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / "enrolled").mkdir()
        (root / "enrolled" / name).write_bytes(content)

    return change


def write_split(train: Any) -> Callable[[Path], None]:
    return lambda root: (root / "split.json").write_text(json.dumps({"train": train, "validation": [], "test": []}))


def empty_checkpoint(root: Path) -> None:
    shutil.rmtree(root / "prior/checkpoints/3")
    (root / "prior/checkpoints/3").mkdir()


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def zip_claiming(gigabytes: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({gigabytes * 2**28},), }}".ljust(117) + "\n"
        archive.writestr("prior_row.npy", b"\x93NUMPY\x01\x00\x76\x00" + header.encode())
    return file.getvalue()


def with_class(root: Path) -> None:
    """Data that name a class; the current folder holds a module of that name."""
    (root.parent / "evil.py").write_text("open('ESCAPED', 'w')\n\nclass Feature: pass\n")
    [path] = root.glob("data/**/features.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pythonClassName": "evil.Feature"}))


HOSTILE: dict[str, Callable[[Path], Any]] = {
    "user outside": changed_meta(users=["../../ESC", "walker_02"]),
    "absolute user": changed_meta(users=["/tmp/ESC", "walker_02"]),
    "user all": changed_meta(users=["all", "walker_02"]),
    "users are numbers": changed_meta(users=[1, 2]),
    "users are text": changed_meta(users="walker_01"),
    "no users": changed_meta(users=[]),
    "users twice": changed_meta(users=["walker_01", "walker_01"]),
    "a million users": changed_meta(users=[f"user_{i}" for i in range(1_000_000)]),
    "not finished": changed_meta(finished=False),
    "finished is text": changed_meta(finished="no"),
    "depends on another": changed_meta(depends=None),
    "chosen is no JSON": write_chosen("{"),
    "chosen is a list": write_chosen("[]"),
    "chosen is null": write_chosen("null"),
    "chosen names no key": write_chosen('{"sample.nothing": 1}'),
    "chosen is out of range": write_chosen('{"sample.cond_scale": -1e9}'),
    "chosen is deep": write_chosen("[" * 100_000),
    "enrolled nonsense": write_enrolled("carl.npz", b"hello"),
    "enrolled empty": write_enrolled("carl.npz", b""),
    "enrolled other arrays": write_enrolled("carl.npz", npz(x=np.zeros(3))),
    "enrolled pickle": write_enrolled("carl.npz", npz(prior_row=np.array([{}], object))),
    "enrolled bomb": write_enrolled("carl.npz", zip_claiming(64)),
    "enrolled all": write_enrolled("all.npz", b"hello"),
    "enrolled twin": write_enrolled("WALKER_01.npz", b"hello"),
    "split is null": lambda root: (root / "split.json").write_text("null"),
    "split of strangers": lambda root: (root / "split.json").write_text(
        '{"train": ["../x"], "validation": [], "test": []}'
    ),
    "split of numbers": lambda root: (root / "split.json").write_text('{"train": [1], "validation": [2], "test": [3]}'),
    "a class in the data": with_class,
    "no data": lambda root: shutil.rmtree(root / "data"),
    "no checkpoints": lambda root: shutil.rmtree(root / "decoder" / "checkpoints"),
    "no encoder": lambda root: shutil.rmtree(root / "encoder"),
    "empty checkpoint": lambda root: (
        shutil.rmtree(root / "prior/checkpoints/3"),
        (root / "prior/checkpoints/3").mkdir(),
    ),
    "half a save": lambda root: (root / "decoder/checkpoints/9.orbax-checkpoint-tmp").mkdir(),
    "a checkpoint of letters": lambda root: (root / "decoder/checkpoints/abc").mkdir(),
    "checkpoint of another stage": lambda root: (
        shutil.rmtree(root / "decoder"),
        shutil.copytree(root / "prior", root / "decoder"),
    ),
}
WORK = ("no data", "half a save", "a checkpoint of letters", "a class in the data")


def hostile_cases() -> Iterator[Case]:
    for label, change in HOSTILE.items():

        def prepare(folder: Path, change: Callable[[Path], Any] = change) -> list[str]:
            root = workdir(folder)
            change(root)
            return sample_from(root)

        works = None if label in WORK or label.startswith("split") else False
        yield Case(label, prepare, works, short=label in ("user outside", "enrolled bomb"))


@parametrize(hostile_cases())
def test_hostile(case, judge):
    judge(case)


def test_a_class_that_data_name_is_not_imported(runner, tmp_path):
    root = workdir(tmp_path)
    with_class(root)
    runner.run(sample_from(root), tmp_path)
    assert not list(tmp_path.rglob("ESCAPED"))


# ----------------------------------------------------------------------------- places that are none

SCRIPTS: dict[str, list[str]] = {
    "train.py": ["--config=configs/tiny.py"],
    "sample.py": ["--user_ids=walker_01"],
    "evaluate.py": [],
    "enroll.py": ["--name=carl", "--path=data"],
}


def place_cases() -> Iterator[Case]:
    for script, flags in SCRIPTS.items():

        def a_file(folder: Path, script: str = script, flags: list[str] = flags) -> list[str]:
            image_folders(folder)
            (folder / "run").write_text("no folder")
            return [script, f"--workdir={folder / 'run'}", *flags]

        def below_a_file(folder: Path, script: str = script, flags: list[str] = flags) -> list[str]:
            image_folders(folder)
            (folder / "run").write_text("no folder")
            return [script, f"--workdir={folder / 'run' / 'below'}", *flags]

        def empty(folder: Path, script: str = script, flags: list[str] = flags) -> list[str]:
            return [script, "--workdir=", *flags]

        def null(folder: Path, script: str = script, flags: list[str] = flags) -> list[str]:
            return [script, f"--workdir={folder}/{'x' * 5000}", *flags]

        for label, prepare in (("a file", a_file), ("below a file", below_a_file), ("empty", empty), ("long", null)):
            yield Case(f"{script} in {label}", prepare, short=(script, label) == ("sample.py", "a file"))


@parametrize(place_cases())
def test_places(case, judge):
    judge(case)
