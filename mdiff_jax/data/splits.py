"""Splits of windows into training, validation and test: whole recordings, or blocks of the index with a gap.

Windows overlap: those less than `gap + 1` indices apart share pixels, so no two such windows may be in different parts.
Where the order in time is not known, overlap is measured, and windows that may overlap stay together.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import atomic_write

PARTS = ("train", "validation", "test")
SPLIT_RULES = ("auto", "recording", "block", "random_that_leaks")
DEFAULT_GAP = 3  # indices within which windows share pixels, where neither configuration nor measurement says it
MIN_RECORDINGS = 6  # of a user, from which on whole recordings are assigned
# Two windows of a user with this correlation may overlap: overlapping ones have 0.93 on average. Disjoint ones reach
# 0.93 too, so some are kept together needlessly.
OVERLAP_CORRELATION = 0.9
Split = dict[str, list[str]]


@runtime_checkable
class SplittableDataset(Protocol):
    """Data set as a split needs it, one entry per window."""

    @property
    def files(self) -> tuple[str, ...]: ...
    @property
    def users(self) -> tuple[str, ...]: ...
    @property
    def user_ids(self) -> np.ndarray: ...
    @property
    def recordings(self) -> tuple[str, ...]: ...
    @property
    def indices(self) -> np.ndarray: ...
    def load(self, rows: np.ndarray) -> np.ndarray:
        """Returns windows (n, F, T, C) at these rows."""


def make_split(
    dataset: SplittableDataset,
    *,
    fractions: Sequence[float],
    by: str,
    gap: int,
    seed: int,
    folds: int = 1,
    fold: int = 0,
    windows_per_user: int | None = None,
) -> Split:
    """Assigns files to 'train', 'validation', 'test' in the given shares of each user's windows.

    `by` 'recording' assigns whole recordings, 'block' cuts the time axis of a user into three blocks, 'auto' takes
    recordings where a user has at least six. Windows within `gap` indices of another part are in none of the three.
    'random_that_leaks' assigns windows at random, even those that share pixels, to show how that inflates figures.

    With `folds` > 1 the test part is the `fold`-th of so many, which together hold every window once. With
    `windows_per_user` training keeps that many of each user; with the same seed fewer are a subset of more.
    InputError for options out of range, or a user with too few windows for one of the parts.
    """
    check_split_options(fractions, by, folds, fold)
    if folds > 1:
        rest = (1 - 1 / folds) / (fractions[0] + fractions[1])
        fractions = (fractions[0] * rest, fractions[1] * rest, 1 / folds)
    split: Split = {name: [] for name in PARTS}
    for user, name in enumerate(dataset.users):
        rows = np.flatnonzero(dataset.user_ids == user)
        rng = np.random.default_rng([seed, user])
        side = assign_parts(dataset, rows, fractions, by, gap, rng, fold, folds)
        if windows_per_user is not None:
            side = limit_training_windows(side, windows_per_user, rng, name)
        for i, part in enumerate(PARTS):
            chosen = rows[side == i]
            if not len(chosen):
                recordings = len({dataset.recordings[row] for row in rows})
                raise InputError(
                    f"user '{name}' has too few windows for a {part} part with a gap of {gap} (windows: {len(rows)}, "
                    f"recordings: {recordings}): record more, change data.fractions, or remove the user"
                )
            split[part] += [dataset.files[row] for row in chosen]
    return split


def check_split_options(fractions: Sequence[float], by: str, folds: int, fold: int) -> None:
    """InputError for the first option that cannot work."""
    if by not in SPLIT_RULES:
        raise InputError(f"data.split_by is '{by}': give one of {', '.join(SPLIT_RULES)}")
    if len(fractions) != len(PARTS) or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise InputError(f"data.fractions are {tuple(fractions)}: give three shares that add up to 1")
    if not 0 <= fold < folds:
        raise InputError(f"fold {fold} of {folds} folds: give 0 to {folds - 1}")


def assign_parts(
    dataset: SplittableDataset,
    rows: np.ndarray,
    fractions: Sequence[float],
    by: str,
    gap: int,
    rng: np.random.Generator,
    fold: int,
    folds: int,
) -> np.ndarray:
    """Part of each window of one user, in order of time: 0 train, 1 validation, 2 test, -1 none of them."""
    if by == "random_that_leaks":
        return assign_recordings(np.arange(len(rows)).astype(str), fractions, rng, fold, folds)
    recordings, indices = np.array(dataset.recordings)[rows], dataset.indices[rows]
    if (indices < 0).any():
        groups = overlap_groups(dataset.load(rows)[..., 0])
        if np.bincount(groups).max() > max(fractions) * len(rows) + 1:
            raise InputError(
                f"the order in time of user '{dataset.users[dataset.user_ids[rows[0]]]}' is unknown, and "
                f"{np.bincount(groups).max()} of {len(rows)} windows may overlap: end file names with the index in "
                f"time, as walk_012, which '{dataset.files[rows[indices < 0][0]]}' does not"
            )
        return assign_recordings(groups.astype(str), fractions, rng, fold, folds)
    if by == "recording" or (by == "auto" and len(set(recordings)) >= max(MIN_RECORDINGS, folds)):
        side = assign_recordings(recordings, fractions, rng, fold, folds)
    else:
        side = cut_blocks(len(rows), fractions, fold)
    return np.where(mark_separated(recordings, indices, side, gap), side, -1)


def assign_recordings(
    recordings: np.ndarray, fractions: Sequence[float], rng: np.random.Generator, fold: int, folds: int
) -> np.ndarray:
    """Assigns recordings in random order, each to the part that is furthest below its share; with folds, test is every
    `folds`-th.
    """
    order = rng.permutation(list(dict.fromkeys(recordings.tolist())))
    names, sizes = np.unique(recordings, return_counts=True)
    size_of = dict(zip(names.tolist(), sizes.tolist(), strict=True))
    side_of = dict.fromkeys(order[fold::folds], 2) if folds > 1 else {}
    shares = np.array([*fractions[:2], 0 if folds > 1 else fractions[2]])
    have = np.zeros(len(PARTS))
    for name in order:
        if name not in side_of:
            want = shares / shares.sum() * (have.sum() + size_of[name]) - have
            side_of[name] = int(np.argmax(want))
            have[side_of[name]] += size_of[name]
    return np.array([side_of[name] for name in recordings])


def cut_blocks(count: int, fractions: Sequence[float], fold: int) -> np.ndarray:
    """Assigns blocks: training, validation, test, in this order from the end of the test block, which for fold 0 is the
    end of the time axis.
    """
    start, stop = (round(count * (1 - f * fractions[2])) for f in (fold + 1, fold))
    rest = count - (stop - start)
    train = round(rest * fractions[0] / (fractions[0] + fractions[1]))
    return np.searchsorted([train, rest], (np.arange(count) - stop) % count, side="right")


def mark_separated(recordings: np.ndarray, indices: np.ndarray, side: np.ndarray, gap: int) -> np.ndarray:
    """True for windows to keep: of two too near ones, test is kept before validation, validation before training."""
    place = time_positions(recordings, indices, gap)
    keep = np.ones(len(side), bool)
    for later in (1, 2):
        keep &= (side >= later) | (distance_to_nearest(place, place[side == later]) > gap)
    return keep


def time_positions(recordings: np.ndarray, indices: np.ndarray, gap: int) -> np.ndarray:
    """Puts indices on one axis, those of different conditions more than `gap` apart."""
    conditions = np.unique([recording.rpartition("/")[0] for recording in recordings], return_inverse=True)[1]
    return conditions * (int(indices.max()) + gap + 2) + indices.astype(np.int64)


def halve_walks(recordings: np.ndarray) -> Int[np.ndarray, " n"]:
    """Returns half 0 or 1 of each of a user's windows in order of time: every second recording, or where all are of one
    recording the later part of it.
    """
    names, walk = np.unique(recordings, return_inverse=True)
    return walk % 2 if len(names) > 1 else (np.arange(len(recordings)) >= len(recordings) / 2).astype(int)


def distance_to_nearest(place: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance from each place to the nearest of the others."""
    far = np.iinfo(np.int64).max // 4
    others = np.concatenate([[-far], np.sort(others), [far]])
    after = np.searchsorted(others, place)
    return np.minimum(others[after] - place, place - others[after - 1])


def limit_training_windows(side: np.ndarray, count: int, rng: np.random.Generator, user: str) -> np.ndarray:
    """Keeps `count` windows for training; InputError where there are fewer."""
    train = np.flatnonzero(side == 0)
    if not 1 <= count <= len(train):
        raise InputError(f"windows_per_user is {count}: give 1 to {len(train)}, as many as user '{user}' has")
    side = side.copy()
    side[rng.permutation(train)[count:]] = -1
    return side


def overlap_groups(windows: np.ndarray) -> np.ndarray:
    """Number of the group of each window (n, F, T); windows that are alike after some shift in time have the same."""
    n, rows, frames = windows.shape
    x = windows[:, : rows // 8 * 8, : frames // 32 * 32 or frames]
    x = x.reshape(n, 8, -1, min(32, x.shape[2]), max(1, x.shape[2] // 32)).mean((2, 4))
    alike = np.zeros((n, n), bool)
    for shift in range(x.shape[2] * 3 // 4 + 1):
        alike |= standardize(x[:, :, shift:]) @ standardize(x[:, :, : x.shape[2] - shift]).T > OVERLAP_CORRELATION
    return connected_components(csr_matrix(alike), directed=False)[1]


def standardize(x: np.ndarray) -> np.ndarray:
    """Flattens (n, …) to (n, m) of mean 0 and length 1, so that products are correlations."""
    x = x.reshape(len(x), -1) - x.reshape(len(x), -1).mean(1, keepdims=True)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)


def leaking_share(dataset: SplittableDataset, split: Split, gap: int) -> float:
    """Share of test windows that have pixels in common with a training window, by their indices; nan if unknown."""
    if (dataset.indices < 0).any():
        return float("nan")
    owners = np.array([f"{u}/{r}" for u, r in zip(dataset.user_ids, dataset.recordings, strict=True)])
    place = time_positions(owners, dataset.indices, gap)
    row = {file: i for i, file in enumerate(dataset.files)}
    train, test = (place[[row[file] for file in split[name]]] for name in ("train", "test"))
    return float((distance_to_nearest(test, train) <= gap).mean())


def write_split(path: Path, split: Split) -> None:
    """Writes split.json."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(split, indent=0, ensure_ascii=False) + "\n")


def read_split(path: Path) -> Split:
    """Reads split.json; InputError if it is not one: lists of different files."""
    try:
        if not path.is_file():
            raise ValueError("no file")
        split = json.loads(path.read_bytes())
        parts: Split = {name: list(split[name]) for name in PARTS}
        files = [file for part in parts.values() for file in part]
        if not all(parts.values()) or len(set(files)) < len(files) or not all(isinstance(file, str) for file in files):
            raise ValueError("empty parts, or a file in two of them")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{path} is no split (train, validation, test): restore it") from None
    return parts
