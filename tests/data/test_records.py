"""Prepared data on disk: nothing that it names is imported, every changed byte is noticed or does no harm."""

import json
import os
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from recordings import prepare

from mdiff_jax.data import builders, native_grid, records
from mdiff_jax.runtime.errors import InputError


@pytest.fixture(scope="module")
def prepared(folder, tmp_path_factory):
    cache = tmp_path_factory.mktemp("prepared") / "data"
    prepare(folder, cache)
    return cache


@pytest.fixture
def cache(prepared, tmp_path):
    """A copy to be damaged."""
    return shutil.copytree(prepared, tmp_path / "data")


def file_of(cache, name):
    return next(path for path in cache.rglob("*") if name in path.name and path.is_file())


def test_the_files_are_a_data_set_of_tfds(cache, dataset):
    builder = tfds.builder_from_directory(file_of(cache, "features.json").parent)
    [split] = builder.info.splits
    stored = builder.as_data_source(split)[3]["window"]
    np.testing.assert_allclose(stored / 65535 * 2 - 1, dataset.load(np.array([3]))[0], atol=1e-6)


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json"])
def test_what_prepared_data_names_is_not_imported(cache, dataset, name, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("open('imported', 'w')\nclass Tensor: pass\n")
    path = file_of(cache, name)
    text = path.read_text().replace("tensorflow_datasets.core.features.tensor_feature", "evil")
    path.write_text(text.replace("mdiff_jax.data.records", "evil"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    opened = builders.open_prepared(cache)
    np.testing.assert_array_equal(opened.load(np.arange(40)), dataset.load(np.arange(40)))
    assert not (tmp_path / "imported").exists()


def flip(data, place):
    return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]


DAMAGE = {f"flip {share}": lambda d, share=share: flip(d, int(share * len(d))) for share in (0, 0.03, 0.2, 0.5, 0.99)}
DAMAGE |= {"cut": lambda d: d[: len(d) // 2], "empty": lambda d: b"", "longer": lambda d: d + b"x"}
DAMAGE |= {"gone": None, "a folder": None}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["dataset.json", "array_record"])
def test_damage_is_noticed_and_prepared_anew(cache, folder, dataset, name, damage):
    path = file_of(cache, name)
    data = path.read_bytes()
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage != "gone":
        path.write_bytes(DAMAGE[damage](data))
    with pytest.raises(InputError) as caught:
        builders.open_prepared(cache)
    assert "\n" not in str(caught.value) and ("train.py" in str(caught.value))
    if (name, damage) != ("dataset.json", "gone"):
        assert path.name in str(caught.value) and str(caught.value).count("is damaged") == 1
    lines = []
    again = prepare(folder, cache, log=lines.append)
    np.testing.assert_array_equal(again.load(np.arange(40)), dataset.load(np.arange(40)))
    assert len(lines) == ((name, damage) != ("dataset.json", "gone")) and all("prepared anew" in line for line in lines)
    assert path.is_file() and again.fingerprint == dataset.fingerprint


def rewrite(cache, **changes):
    """Other values, with a checksum that fits."""
    d = json.loads((cache / "dataset.json").read_text())
    d.pop("checksum")
    records.write_description(cache, d | changes)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("users", ["../../ESC", "b"]),
        ("users", ["a", "A"]),
        ("users", []),
        ("user_ids", [7] * 40),
        ("user_ids", [-1] * 40),
        ("user_ids", [True] * 40),
        ("indices", [2**40] * 40),
        ("files", ["x"] * 40),
        ("files", None),
        ("image_size", [10**9, 10**9]),
        ("image_size", [32, 24, 1]),
        ("image_size", [32, 48]),
        ("metadata", {}),
        ("parts", {}),
        ("parts", {"../other": None}),
        ("parts", {"/etc/passwd": None}),
        ("parts", ["x"]),
        ("fingerprint", 3),
        ("frames", [0] * 40),
        ("frames", [25] * 40),
        ("frames", [24.0] * 40),
        ("frames", [24] * 39),
    ],
)
def test_values_that_no_data_set_has_are_refused(cache, key, value):
    rewrite(cache, **{key: value})
    with pytest.raises(InputError, match="is damaged") as caught:
        data = builders.open_prepared(cache)
        data.load(np.arange(len(data)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"native": 1}, {"file_format": {"suffix": "gif"}}, {"file_format": []}, {"notes": [3]}]
)
def test_metadata_that_no_data_set_has_is_refused(cache, change):
    d = json.loads((cache / "dataset.json").read_text())
    rewrite(cache, metadata=d["metadata"] | change)
    with pytest.raises(InputError, match="is damaged"):
        builders.open_prepared(cache)


@pytest.mark.parametrize("text", ["[]", "[" * 100_000, "3", '{"a": ' + "9" * 5000 + "}", "\ufeff{}"])
def test_other_json_is_refused(cache, text):
    (cache / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=r"dataset\.json' is damaged"):
        builders.open_prepared(cache)


def test_data_that_an_earlier_version_prepared_is_read(cache, dataset, folder):
    """Without checksums, where the file format has its own for each window, and without frames."""
    d = json.loads((cache / "dataset.json").read_text())
    for name in ("checksum", "options", "parts", "frames"):
        del d[name]
    for name in ("native", "file_format", "notes"):
        del d["metadata"][name]
    d["directory"] = "spectrograms/1.2.0"
    (cache / "dataset.json").write_text(json.dumps(d))
    data = builders.open_prepared(cache)
    np.testing.assert_array_equal(data.load(np.arange(40)), dataset.load(np.arange(40)))
    assert data.frames.tolist() == [24] * 40 and not data.metadata["native"]
    assert data.metadata["file_format"] == native_grid.PLAIN.to_json()
    assert prepare(folder / "gone", cache).fingerprint == dataset.fingerprint
    part = file_of(cache, "array_record")
    data = part.read_bytes()
    part.write_bytes(flip(data, len(data) // 20))
    with pytest.raises(InputError, match="is damaged"):
        builders.open_prepared(cache).load(np.arange(40))


@pytest.mark.parametrize("kind", ["pipe", "endless"])
def test_a_description_that_is_no_plain_file_is_refused(cache, kind):
    path = cache / "dataset.json"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        with path.open("wb") as file:
            file.truncate(2**40)
    with pytest.raises(InputError, match=r"dataset\.json' is damaged"):
        builders.open_prepared(cache)
