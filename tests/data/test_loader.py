"""Batches: a function of seed and step alone, shared by processes, balanced where asked."""

import numpy as np
import pytest

from mdiff_jax.data import loader, records


def batches(dataset, **changes):
    common = dict(batch_size=8, seed=3, start_step=0, balanced=False, fields=("spectrogram",), tables={})
    return loader.train_batches(dataset, np.arange(40), **common | changes)


def test_batches_depend_on_seed_and_step_alone(dataset):
    stream = batches(dataset)
    run = [next(stream) for _ in range(8)]
    later = next(batches(dataset, start_step=7))
    for key, value in run[7].items():
        np.testing.assert_array_equal(value, later[key])
    np.testing.assert_array_equal(later["example"], np.arange(56, 64))
    assert not np.array_equal(run[0]["spectrogram"], next(batches(dataset, seed=4))["spectrogram"])
    # 5 batches of 8 are one pass over the 40 windows
    seen = np.concatenate([batch["spectrogram"] for batch in run[:5]]).reshape(40, -1)
    assert len(np.unique(seen.round(4), axis=0)) == 40


def test_processes_share_the_batch_of_one(dataset):
    whole = next(batches(dataset))
    parts = [next(batches(dataset, process_index=p, process_count=2)) for p in (0, 1)]
    for key, value in whole.items():
        np.testing.assert_array_equal(np.stack([part[key] for part in parts], 1).reshape(value.shape), value)


def test_large_data_sets_are_not_kept_in_memory_and_give_the_same(dataset, monkeypatch):
    kept = next(batches(dataset))
    monkeypatch.setattr(loader, "CACHE_BYTES", 0)
    np.testing.assert_array_equal(next(batches(dataset))["spectrogram"], kept["spectrogram"])


def test_balanced_draws_users_equally(dataset):
    rows = np.arange(25)  # 20 of one user, 5 of the other
    stream = loader.train_batches(
        dataset, rows, batch_size=8, seed=0, start_step=0, balanced=True, fields=(), tables={}
    )
    users = np.concatenate([next(stream)["user"] for _ in range(5)])
    np.testing.assert_array_equal(np.bincount(users), [20, 20])


@pytest.mark.parametrize("process", [0, 2])
def test_a_process_reads_its_own_rows_only(dataset, monkeypatch, process):
    whole = next(batches(dataset))  # of windows kept in memory: read once
    monkeypatch.setattr(loader, "CACHE_BYTES", 0)
    read, load = [], records.Records.load
    monkeypatch.setattr(records.Records, "load", lambda self, rows: read.append(len(rows)) or load(self, rows))
    stream = batches(dataset, process_index=process, process_count=4)
    mine = next(stream)
    del stream
    for key, value in whole.items():
        np.testing.assert_array_equal(mine[key], value[process::4])
    assert set(read[1:]) == {2}, "of a batch of 8"
