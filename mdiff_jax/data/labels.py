"""labels.csv beside a folder of windows: how much each belongs to whom, how much it counts, what it was made from.

metadata.jsonl says the same to Hugging Face `datasets`, which reads the folder as an `imagefolder`.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from mdiff_jax.runtime.errors import InputError, one_line
from mdiff_jax.runtime.user_names import find_fault
from mdiff_jax.runtime.workdir import atomic_write

FILE, METADATA_FILE = "labels.csv", "metadata.jsonl"
RECORDED = "recorded"  # source of a window that is no generated one
COLUMNS = ("file", "user", "weight", "soft_label", "source")
TOLERANCE = 1e-3  # of the sum of a soft label's shares


class Label(NamedTuple):
    """One window; in the file a soft label is written as 'ID_1:0.7;ID_2:0.3'."""

    file: str  # relative to the folder, with slashes
    user: str  # whose folder it lies in
    weight: float  # in training, above 0
    soft_label: Mapping[str, float]  # user → share; they add up to 1
    source: Sequence[str] = ()  # files of the windows that it was made from


def write_labels(folder: Path, labels: Iterable[Label]) -> None:
    """Writes FOLDER/labels.csv, whole or not at all."""
    with (
        atomic_write(folder / FILE) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for label in labels:
            shares = format_shares(label.soft_label)
            writer.writerow([label.file, label.user, f"{label.weight:g}", shares, join_list(label.source)])


def write_metadata(folder: Path, labels: Iterable[Label]) -> None:
    """Writes FOLDER/metadata.jsonl, whole or not at all: a line a window with `file_name`, `user`, `split` (always
    train: generated windows and their sources are of no other part), `generated`, and the rest of its label.
    """
    with atomic_write(folder / METADATA_FILE) as temporary, temporary.open("w", encoding="utf-8") as file:
        for label in labels:
            row: dict[str, Any] = {"file_name": label.file, "user": label.user, "split": "train"}
            row |= {"generated": list(label.source) != [RECORDED], "weight": label.weight}
            row |= {"soft_label": format_shares(label.soft_label), "source": list(label.source)}
            file.write(json.dumps(row) + "\n")


def read_labels(folder: Path) -> list[Label]:
    """Reads FOLDER/labels.csv; InputError, with the line, for one that `write_labels` would not write."""
    path = folder / FILE
    labels: dict[str, Label] = {}
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            reader = csv.DictReader(file, strict=True)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise InputError(f"'{path}' has not the columns {', '.join(COLUMNS)}: restore it")
            for row in reader:
                label = parse_label(row, f"'{path}', line {reader.line_num}")
                if labels.setdefault(label.file, label) is not label:
                    raise InputError(f"'{path}', line {reader.line_num}: '{label.file}' is there twice: remove one")
    except OSError as error:
        raise InputError(f"'{path}' cannot be read ({error.strerror}): give a folder that has labels") from None
    except csv.Error as error:
        raise InputError(f"'{path}' is damaged ({one_line(error)}): restore it") from None
    return list(labels.values())


def parse_label(row: Mapping[Any, Any], where: str) -> Label:
    """Returns the label of one line; InputError for anything that is none, or for a file outside the folder."""
    if None in row or None in row.values():
        raise InputError(f"{where}: there are not {len(COLUMNS)} columns: restore it")
    file = PurePosixPath(row["file"])
    if not file.name or file.is_absolute() or ".." in file.parts:
        raise InputError(f"{where}: file is {row['file']!r}: give one in the folder")
    pairs = [text.rpartition(":") for text in split_list(row["soft_label"])]
    shares = {user: parse_positive(share, f"{where}: a share of soft_label") for user, _, share in pairs}
    for user in (row["user"], *shares):
        if fault := find_fault(user):
            raise InputError(f"{where}: {user!r} cannot be the name of a user, since it {fault}: rename it")
    if len(shares) < len(pairs) or abs(sum(shares.values()) - 1) > TOLERANCE:
        raise InputError(
            f"{where}: soft_label is {row['soft_label']!r}: give each user once, and shares that add up to 1"
        )
    weight = parse_positive(row["weight"], f"{where}: weight")
    return Label(row["file"], row["user"], weight, shares, tuple(split_list(row["source"])))


def parse_positive(text: str, what: str) -> float:
    """Returns a number above 0; InputError for anything else."""
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    if not 0 < number < np.inf:
        raise InputError(f"{what} is {text!r}: give a number above 0")
    return number


def format_shares(soft_label: Mapping[str, float]) -> str:
    """Returns a soft label as text."""
    return join_list(f"{user}:{share:g}" for user, share in soft_label.items())


def join_list(items: Iterable[str]) -> str:
    """Joins texts by semicolons; one that has semicolons or quotes itself is quoted, as in a line of CSV."""
    text = io.StringIO()
    csv.writer(text, delimiter=";", lineterminator="").writerow(items)
    return text.getvalue()


def split_list(text: str) -> list[str]:
    """The inverse of `join_list`."""
    return next(csv.reader([text], delimiter=";", strict=True), [])
