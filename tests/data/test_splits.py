"""Splits: nothing that overlaps is separated, checked over file names alone; folds, sizes, refusals."""

import os
import re
from types import SimpleNamespace

import numpy as np
import pytest

from mdiff_jax.data import sources, splits
from mdiff_jax.runtime.errors import InputError

SHARES = dict(fractions=(0.7, 0.1, 0.2), gap=3, seed=0)


def unread(rows):
    raise AssertionError("where the order is known, no window needs reading")


def described(names: dict[str, list[str]], load=unread):
    """A data set from file names."""
    files, users, recordings, indices = [], [], [], []
    for user, stems in names.items():
        numbered = [sources.split_trailing_number(stem) for stem in stems]
        files += [f"{user}/{stem}.jpg" for stem in stems]
        users += [list(names).index(user)] * len(stems)
        recordings += sources.name_recordings(numbered)
        indices += [index for _, index in numbered]
    return SimpleNamespace(
        files=tuple(files), users=tuple(names), user_ids=np.array(users), recordings=tuple(recordings),
        indices=np.array(indices), load=load,
    )  # fmt: skip


def gappy(seed: int, count: int = 120) -> list[str]:
    """Windows of two conditions with gaps of any width, 1 and 2 among them."""
    rng = np.random.default_rng(seed)
    steps = np.where(rng.uniform(size=count) < 0.8, 1, rng.integers(2, 9, count))
    return [f"case{1 + (i > count // 2)}_{k}" for i, k in enumerate(np.cumsum(steps))]


def nearest_across(split: dict) -> int:
    """The smallest distance of indices of two windows of one condition in different parts, from file names."""
    times: dict[str, list] = {}
    for part, files in split.items():
        for file in files:
            condition, index = re.fullmatch(r"(.*?)(\d+)\.jpg", file).groups()
            times.setdefault(condition, []).append((int(index), part))
    return min(abs(i - j) for windows in times.values() for i, p in windows for j, q in windows if p != q)


DATA = described({f"ID_{u}": gappy(u) for u in (1, 2, 10)})


@pytest.mark.parametrize("by", ["auto", "recording", "block"])
@pytest.mark.parametrize("seed", [0, 1])
def test_no_two_windows_across_parts_overlap(by, seed):
    split = splits.make_split(DATA, **SHARES | dict(by=by, seed=seed))
    assert nearest_across(split) >= 4
    assert splits.leaking_share(DATA, split, 3) == 0
    kept = [file for files in split.values() for file in files]
    assert len(set(kept)) == len(kept) > 0.6 * len(DATA.files)
    assert 0.1 < len(split["test"]) / len(DATA.files) < 0.3


def test_a_random_split_leaks_and_is_called_so():
    split = splits.make_split(DATA, **SHARES, by="random_that_leaks")
    assert nearest_across(split) == 1 and splits.leaking_share(DATA, split, 3) > 0.8
    with pytest.raises(InputError, match="random_that_leaks"):
        splits.make_split(DATA, **SHARES, by="random")


@pytest.mark.parametrize("by", ["recording", "block"])
def test_folds_hold_every_window_once_for_test(by):
    folds = [splits.make_split(DATA, **SHARES, by=by, folds=4, fold=f) for f in range(4)]
    assert sorted(file for split in folds for file in split["test"]) == sorted(DATA.files)
    assert all(nearest_across(split) >= 4 for split in folds)


def test_fewer_windows_per_user_are_a_subset_of_more_and_leave_the_test_part():
    few, more = (splits.make_split(DATA, **SHARES, by="block", windows_per_user=n) for n in (5, 20))
    assert set(few["train"]) < set(more["train"]) and len(few["train"]) == 15
    assert few["test"] == more["test"]
    with pytest.raises(InputError, match="windows_per_user is 900"):
        splits.make_split(DATA, **SHARES, by="block", windows_per_user=900)


def test_unknown_order_is_measured():
    """Independent windows may be dealt out; a long walk cut in overlapping windows may not."""
    rng = np.random.default_rng(0)
    apart = rng.normal(size=(30, 32, 64, 1)).astype(np.float32)
    long = rng.normal(size=(32, 16 * 34)).astype(np.float32)
    chained = np.stack([long[:, 16 * k : 16 * k + 64] for k in range(30)])[..., None]
    names = {"a": [f"x{c}z" for c in "abcdefghijklmnopqrstuvwxyzABCD"]}
    for windows, ok in ((apart, True), (chained, False)):
        data = described(names, load=lambda rows, windows=windows: windows[rows])
        if ok:
            split = splits.make_split(data, **SHARES, by="auto")
            assert {len(files) for files in split.values()} == {21, 3, 6}
        else:
            with pytest.raises(InputError, match=r"30 of 30 windows may overlap.* which 'a/xaz.jpg' does not"):
                splits.make_split(data, **SHARES, by="auto")


def test_shares_and_folds_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="add up to 1"):
        splits.make_split(DATA, **SHARES | dict(fractions=(0.7, 0.7, 0.2)), by="block")
    with pytest.raises(InputError, match="fold 4 of 4"):
        splits.make_split(DATA, **SHARES, by="block", folds=4, fold=4)


def test_written_and_read_back(tmp_path):
    split = splits.make_split(DATA, **SHARES, by="auto")
    splits.write_split(tmp_path / "split.json", split)
    assert splits.read_split(tmp_path / "split.json") == split
    (tmp_path / "split.json").write_text("[]")
    with pytest.raises(InputError, match="is no split"):
        splits.read_split(tmp_path / "split.json")


def test_real_recordings(real_recordings):
    items = sources.scan_windows(real_recordings)
    users = list(dict.fromkeys(item.user for item in items))
    data = described({u: [item.file.split("/")[1][:-4] for item in items if item.user == u] for u in users})
    assert nearest_across(splits.make_split(data, **SHARES, by="auto")) >= 4


def test_a_split_of_prepared_windows(dataset):
    split = splits.make_split(dataset, fractions=(0.6, 0.2, 0.2), by="auto", gap=3, seed=0)
    assert splits.leaking_share(dataset, split, 3) == 0


NO_SPLITS = ["", "[]", "{}", "[" * 100_000, '{"train": ["a"], "validation": ["b"], "test": []}', "\ufeff"]
NO_SPLITS += ['{"train": ["a"], "validation": ["b"], "test": ["a"]}', '{"train": [1], "validation": [2], "test": [3]}']
NO_SPLITS += [
    '{"train": [["a"]], "validation": ["b"], "test": ["c"]}',
    '{"train": 3, "validation": 3, "test": 3}',
    None,
]


@pytest.mark.parametrize("text", NO_SPLITS)
def test_other_files_are_no_split(tmp_path, text):
    path = tmp_path / "split.json"
    path.write_text(text) if text is not None else os.mkfifo(path)
    with pytest.raises(InputError, match=r"split\.json is no split"):
        splits.read_split(path)


@pytest.mark.parametrize(
    ("recordings", "halves"),
    [("aabbbccd", [0, 0, 1, 1, 1, 0, 0, 1]), ("aaaaa", [0, 0, 0, 1, 1]), ("ab", [0, 1]), ("aa", [0, 1])],
)
def test_walks_are_halved_as_a_whole_and_one_walk_in_time(recordings, halves):
    assert splits.halve_walks(np.array([*recordings])).tolist() == halves
