"""Which windows are for training, validation, test: whole walks, or blocks of the window index with a gap.

Windows overlap: those less than `gap + 1` indices apart share pixels, so no two such windows may be on different sides.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from mdiff_jax.errors import InputError

NAMES = ("train", "validation", "test")
MIN_WALKS = 6  # from so many on, whole walks are dealt out
Split = dict[str, list[str]]


@runtime_checkable
class Described(Protocol):
    """What a split needs to know of a data set: a line a window."""

    files: tuple[str, ...]
    users: tuple[str, ...]
    user_ids: np.ndarray
    recordings: tuple[str, ...]
    indices: np.ndarray


def make_split(dataset: Described, *, fractions: Sequence[float], by: str, gap: int, seed: int) -> Split:
    """Files for 'train', 'validation', 'test' in the given shares of each user's windows.

    `by` 'recording' deals out whole walks, 'block' cuts the time axis of a user into three blocks, 'auto' takes walks
    where a user has at least six. Windows within `gap` indices of another side are in none of the three.
    """
    if by not in ("auto", "recording", "block"):
        raise InputError(f"data.split_by is '{by}': give 'auto', 'recording' or 'block'")
    split: Split = {name: [] for name in NAMES}
    for user, name in enumerate(dataset.users):
        rows = np.flatnonzero(dataset.user_ids == user)
        if (dataset.indices[rows] < 0).any():
            raise InputError(
                f"the order in time of the windows of user '{name}' is unknown, so overlapping windows cannot be kept "
                f"apart: end each file name with its number, as in {name}_walk_0001.png"
            )
        recordings = np.array(dataset.recordings)[rows]
        walks = list(dict.fromkeys(recordings.tolist()))
        if by == "recording" or (by == "auto" and len(walks) >= MIN_WALKS):
            side = deal(recordings, walks, fractions, np.random.default_rng([seed, user]))
        else:
            side = cut(len(rows), fractions)
        keep = apart(recordings, dataset.indices[rows], side, gap)
        for i, part in enumerate(NAMES):
            chosen = rows[keep & (side == i)]
            if not len(chosen):
                raise InputError(
                    f"user '{name}' has too few windows ({len(rows)} in {len(walks)} walks) for a {part} part with "
                    f"a gap of {gap}: record more, change data.fractions, or take the user out"
                )
            split[part] += [dataset.files[row] for row in chosen]
    return split


def deal(recordings: np.ndarray, walks: list[str], fractions: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Walks in random order, each to the side that is furthest below its share."""
    sizes = {walk: int((recordings == walk).sum()) for walk in walks}
    have, side_of = np.zeros(len(NAMES)), {}
    for walk in rng.permutation(walks):
        want = np.asarray(fractions) * (have.sum() + sizes[walk]) - have
        side_of[walk] = int(np.argmax(want))
        have[side_of[walk]] += sizes[walk]
    return np.array([side_of[walk] for walk in recordings])


def cut(count: int, fractions: Sequence[float]) -> np.ndarray:
    """The first windows for training, the next for validation, the last for test."""
    ends = np.round(np.cumsum(fractions) * count).astype(int)
    return np.searchsorted(ends, np.arange(count), side="right").clip(max=len(NAMES) - 1)


def apart(recordings: np.ndarray, indices: np.ndarray, side: np.ndarray, gap: int) -> np.ndarray:
    """True for windows to keep: of two that are too near on different sides, the one for training (validation) goes."""
    take = np.array([recording.rpartition("/")[0] for recording in recordings])
    near = (abs(indices[:, None] - indices[None]) <= gap) & (take[:, None] == take[None])
    return ~(near & (side[None] > side[:, None])).any(axis=1)


def write(path: Path, split: Split) -> None:
    """split.json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(json.dumps(split, indent=0, ensure_ascii=False) + "\n")
    temporary.replace(path)


def read(path: Path) -> Split:
    """split.json back; InputError if it is not one."""
    try:
        split = json.loads(path.read_text())
        assert split.keys() >= set(NAMES)
    except (OSError, ValueError, AttributeError, AssertionError):
        raise InputError(f"{path} is no split (train, validation, test): restore it") from None
    return {name: split[name] for name in NAMES}
