"""Folders of recordings: names of users, listings, files that are no images."""

import json
import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from harness import Case, parametrize
from make_recordings import INSPECT, image_folders, listed, write_image
from PIL import Image

# ----------------------------------------------------------------------------- names of users

BAD_NAMES = {
    "parent": "../x",
    "up and up": "../../../../ESC",
    "absolute": "/tmp/x",
    "nested": "a/b",
    "backslash": "a\\b",
    "dot": ".",
    "dots": "..",
    "leading dot": ".hidden",
    "empty": "",
    "all": "all",
    "ALL": "ALL",
    "comma": "a,b",
    "line break": "a\nb",
    "carriage return": "a\rb",
    "null": "a\0b",
    "escape": "a\x1b[31mb",
    "delete": "a\x7f",
    "right to left": "a\u202eb",
    "long": "x" * 300,
    "long in bytes": "я" * 200,
}
BAD_TYPES = {
    "none": None,
    "number": 3,
    "fraction": 1.5,
    "list": ["anna"],
    "object": {"name": "anna"},
    "true": True,
}
TWINS = {"case": ("ID_1", "id_1"), "forms": ("Zoe\u0301", "Zo\u00e9"), "sharp s": ("strasse", "straße")}
GOOD_NAMES = ("Анна", "王伟", "Zoé", "O'Brien", "id 7", "a-b_c.d", "ID_10", "名前 二", "x" * 100)


def named_cases() -> Iterator[Case]:
    for label, name in (BAD_NAMES | BAD_TYPES).items():
        yield Case(
            f"listed user {label}",
            lambda folder, name=name: [*INSPECT, str(listed(folder, user_id=name))],
            names="" if label == "number" else "metadata.json",  # text, but with too few windows
            short=label in ("parent", "none"),
        )
    for label, name in BAD_NAMES.items():
        if "/" not in name and "\0" not in name and name not in ("", ".", "..", ".hidden") and len(name) < 200:
            yield Case(
                f"folder of user {label}",
                lambda folder, name=name: [*INSPECT, str(image_folders(folder, (name, "bob")))],
                short=label == "comma",
            )
    for label, names in TWINS.items():
        yield Case(f"twins by {label}", lambda folder, names=names: [*INSPECT, str(image_folders(folder, names))])
        yield Case(f"listed twins by {label}", lambda folder, names=names: [*INSPECT, str(listed_pair(folder, *names))])
    for name in GOOD_NAMES:
        yield Case(
            f"good name {name[:12]}",
            lambda folder, name=name: [*INSPECT, str(image_folders(folder, (name, "bob")))],
            works=True,
            short=name == "王伟",
        )


def listed_pair(folder: Path, first: str, second: str) -> Path:
    root = listed(folder)
    entries = json.loads((root / "metadata.json").read_text())
    names = {"anna": first, "bob": second}
    (root / "metadata.json").write_text(json.dumps([e | {"user_id": names[e["user_id"]]} for e in entries]))
    return root


@parametrize(named_cases())
def test_names_of_users(case, judge):
    judge(case)


# ----------------------------------------------------------------------------- listings

LISTINGS: dict[str, str | bytes] = {
    "empty": "",
    "no JSON": "{'a'}",
    "number": "3",
    "null": "null",
    "text": '"x"',
    "object": "{}",
    "empty list": "[]",
    "numbers": "[1, 2]",
    "lists": "[[]]",
    "deep": "[" * 100_000,
    "no user": '[{"filename": "anna_1.png"}]',
    "no file": '[{"user_id": "anna"}]',
    "long number": '[{"filename": "anna_1.png", "user_id": ' + "9" * 10_000 + "}]",
    "not UTF-8": b'[{"filename": "\xff.png", "user_id": "a"}]',
    "UTF-16": "[]".encode("utf-16"),
    "nan": '[{"filename": "anna_1.png", "user_id": NaN}]',
}
BAD_ENTRIES = {
    "index 1.9": {"index": 1.9},
    "index text": {"index": "one"},
    "index none": {"index": None},
    "index true": {"index": True},
    "index negative": {"index": -4},
    "index huge": {"index": 10**30},
    "index infinite": {"index": float("inf")},
    "index list": {"index": [1]},
    "recording none": {"recording": None},
    "recording list": {"recording": []},
    "file outside": {"filename": "../metadata.json"},
    "file absolute": {"filename": "/etc/passwd"},
    "file missing": {"filename": "nobody.png"},
    "file folder": {"filename": "."},
    "file empty": {"filename": ""},
    "file none": {"filename": None},
    "file number": {"filename": 7},
    "file twice": {"filename": "anna_2.png"},
    "file with null": {"filename": "a\0.png"},
    "file long": {"filename": "x" * 5000},
}


def listing_cases() -> Iterator[Case]:
    for label, content in LISTINGS.items():

        def prepare(folder: Path, content: str | bytes = content) -> list[str]:
            path = listed(folder) / "metadata.json"
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            return [*INSPECT, str(path.parent)]

        yield Case(f"listing {label}", prepare, names="metadata.json", short=label == "deep")
    for label, change in BAD_ENTRIES.items():
        yield Case(
            f"entry {label}",
            lambda folder, change=change: [*INSPECT, str(listed(folder, **change))],
            names="metadata.json",
            short=label in ("index 1.9", "file outside"),
        )


@parametrize(listing_cases())
def test_listings(case, judge):
    judge(case)


# ----------------------------------------------------------------------------- files


def png_claiming(width: int, height: int) -> bytes:
    """A PNG file whose header claims a size and that holds almost nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def save_as(path: Path, mode: str, kind: str) -> None:
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).convert(mode).save(path, kind)


def truncated(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def flipped(path: Path, at: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(at * (len(data) - 1))] ^= 0xFF
    path.write_bytes(data)


def make_socket(path: Path) -> None:
    path.unlink()
    before = os.getcwd()
    os.chdir(path.parent)  # names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(path.name)
    finally:
        os.chdir(before)


def replaced(action: Callable[[Path], Any]) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.unlink()
        action(path)

    return change


REFUSED_FILES: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no image"),
    "half": lambda path: truncated(path, 0.5),
    "nine tenths": lambda path: truncated(path, 0.9),
    "header alone": lambda path: truncated(path, 0.1),
    "one byte": lambda path: path.write_bytes(b"\x89"),
    "zeros": lambda path: path.write_bytes(bytes(10_000)),
    "bomb": lambda path: path.write_bytes(png_claiming(60_000, 60_000)),
    "wide bomb": lambda path: path.write_bytes(png_claiming(2**31 - 1, 1)),
    "no size": lambda path: path.write_bytes(png_claiming(0, 0)),
    "pipe": replaced(os.mkfifo),
    "socket": make_socket,
    "link to a pipe": replaced(lambda p: (os.mkfifo(p.with_name(".pipe")), p.symlink_to(p.with_name(".pipe")))),
    "link to a device": replaced(lambda path: path.symlink_to("/dev/zero")),
    "link to a terminal": replaced(lambda path: path.symlink_to("/dev/tty")),
    "link outside": replaced(lambda path: path.symlink_to("/etc/passwd")),
    "broken link": replaced(lambda path: path.symlink_to("nothing.png")),
    "link to itself": replaced(lambda path: path.symlink_to(path.name)),
    "GIF": lambda path: save_as(path, "P", "GIF"),
    "TIFF": lambda path: save_as(path, "RGB", "TIFF"),
    "PDF": lambda path: path.write_bytes(b"%PDF-1.4\n"),
    "array": lambda path: path.write_bytes(b"\x93NUMPY\x01\x00"),
    "zip": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)),
    "script": lambda path: path.write_text("#!/bin/sh\ntouch /tmp/ESC\n"),
}
EITHER_FILES: dict[str, Callable[[Path], Any]] = {
    **{f"flipped at {at}": (lambda path, at=at: flipped(path, at)) for at in (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)},
    "gray": lambda path: save_as(path, "L", "PNG"),
    "two levels": lambda path: save_as(path, "1", "PNG"),
    "palette": lambda path: save_as(path, "P", "PNG"),
    "alpha": lambda path: save_as(path, "RGBA", "PNG"),
    "16 bit": lambda path: save_as(path, "I;16", "PNG"),
    "JPEG named PNG": lambda path: save_as(path, "RGB", "JPEG"),
    "CMYK": lambda path: save_as(path, "CMYK", "JPEG"),
    "other size": lambda path: write_image(path, size=40),
    "one pixel": lambda path: Image.new("RGB", (1, 1)).save(path),
    "two pixels high": lambda path: Image.new("RGB", (16, 2)).save(path),
    "empty folder": replaced(lambda path: path.mkdir()),
    "no read permission": lambda path: path.chmod(0),
}


def file_cases() -> Iterator[Case]:
    for works, changes in ((False, REFUSED_FILES), (None, EITHER_FILES)):
        for label, change in changes.items():

            def prepare(folder: Path, change: Callable[[Path], Any] = change) -> list[str]:
                root = image_folders(folder)
                change(root / "anna" / "walk_2.png")
                return [*INSPECT, str(root)]

            yield Case(
                f"image {label}",
                prepare,
                works,
                names="walk_2.png" if works is False else "",
                short=label in ("pipe", "bomb", "half", "link to a device"),
            )


@parametrize(file_cases())
def test_files(case, judge):
    judge(case)


# ----------------------------------------------------------------------------- folders


def with_change(change: Callable[[Path], Any]) -> Callable[[Path], list[str]]:
    def prepare(folder: Path) -> list[str]:
        root = image_folders(folder)
        change(root)
        return [*INSPECT, str(root)]

    return prepare


def name_in_bytes(root: Path) -> None:
    os.rename(root / "anna" / "walk_2.png", os.fsencode(root / "anna") + b"/walk_\xff.png")


FOLDERS = [
    Case("no path", lambda folder: [*INSPECT, ""]),
    Case("missing", lambda folder: [*INSPECT, str(folder / "nothing")], names="nothing"),
    Case("empty folder", lambda folder: ((folder / "data").mkdir(), [*INSPECT, str(folder / "data")])[1], names="data"),
    Case("a device", lambda folder: [*INSPECT, "/dev/zero"], names="/dev/zero"),
    Case("a pipe", lambda folder: (os.mkfifo(folder / "pipe"), [*INSPECT, str(folder / "pipe")])[1], names="pipe"),
    Case("a text file", with_change(lambda root: (root / "anna" / "notes.txt").write_text("x")), names="notes.txt"),
    Case("an empty user", with_change(lambda root: (root / "carl").mkdir()), names="carl"),
    Case("a user with one image", with_change(lambda root: write_image(root / "carl" / "walk_1.png")), names="carl"),
    Case("one user", lambda folder: [*INSPECT, str(image_folders(folder, ["anna"]))], works=True),
    Case("arrays beside images", with_change(lambda root: np.save(root / "anna" / "walk_9.npy", np.zeros((16, 16))))),
    Case("deep folders", with_change(lambda root: write_image(root / "anna" / "a" / "b" / "c" / "walk_9.png"))),
    Case("a user who is a pipe", with_change(lambda root: os.mkfifo(root / "carl")), works=None),
    Case("a user who is a link outside", with_change(lambda root: (root / "carl").symlink_to("/etc")), names="carl"),
    Case("a user who is a link to above", with_change(lambda root: (root / "carl").symlink_to(".."))),
    Case("a user who is a link to itself", with_change(lambda root: (root / "carl").symlink_to("carl")), works=None),
    Case("hidden files", with_change(lambda root: (root / "anna" / ".DS_Store").write_text("x")), works=True),
    Case("images at the root", with_change(lambda root: write_image(root / "stray.png")), works=True),
    Case("a name in bytes", with_change(name_in_bytes), works=None),
    Case("a long number", with_change(lambda root: write_image(root / "anna" / f"walk_{'9' * 200}.png")), works=None),
    Case("a line break in a name", with_change(lambda root: write_image(root / "anna" / "walk\n_7.png")), works=None),
    Case("a thousand files", lambda folder: [*INSPECT, str(image_folders(folder, count=500))], works=True),
]


@parametrize(FOLDERS)
def test_folders(case, judge):
    judge(case)


def test_what_is_skipped_is_counted(runner, tmp_path):
    root = image_folders(tmp_path)
    write_image(root / "stray.png")
    (root / "anna" / ".DS_Store").write_text("x")
    outcome = runner.run([*INSPECT, str(root)], tmp_path)
    assert outcome.status == 0 and "skipped" in outcome.stdout, outcome
