"""Names of users: those that lead out of a folder, break a command line or pass for another name are refused."""

import json
import unicodedata

import pytest

from mdiff_jax.inference.loading import load
from mdiff_jax.inference.user_adapters import write_adapter
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.user_names import check_user_names

BAD_NAMES = [
    "",
    ".",
    "..",
    ".a",
    "../x",
    "/tmp/x",
    "a/b",
    "a\\b",
    "a,b",
    "a\nb",
    "a\0b",
    "\x1b[2J",
    "a\u202eb",
    "\ud800",
]
BAD_NAMES += ["all", "ALL", " a", "a ", "x" * 101, "步" * 34, None, 3, True, ["a"], "a\u2028b"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_refused_in_one_line(name):
    with pytest.raises(InputError, match="cannot be the name of a user") as caught:
        check_user_names(["ID_1", name], "some place")
    assert "some place" in str(caught.value) and len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "twins", [("a", "A"), ("Zoë", unicodedata.normalize("NFD", "zoë")), ("straße", "STRASSE"), ("x", "x")]
)
def test_names_that_pass_for_each_other_are_refused(twins):
    with pytest.raises(InputError, match=r"differ in case|twice"):
        check_user_names(twins, "here")


def test_names_of_all_scripts_are_welcome():
    check_user_names(
        ["ID_1", "ID_10", "步行者-3", "Zoë", "Мария Иванова", "山田\u3000太郎", "a:b", "x" * 100, "🚶"], "here"
    )


@pytest.mark.parametrize("stem", ["WALKER_01", "a,b", "all"])
def test_names_of_enrolled_files_are_checked(enrolled, writable_root, stem):
    write_adapter(writable_root / "enrolled" / f"{stem}.npz", enrolled.enrolled["NEW"])
    with pytest.raises(InputError, match=r"differ in case|cannot be the name"):
        load(writable_root)


def test_names_in_a_checkpoint_are_those_of_the_data(writable_root):
    for path in writable_root.glob("*/checkpoints/*/meta/metadata"):
        values = json.loads(path.read_text())
        del values["crc32_of_meta"]  # whoever changes the names can leave it out
        path.write_text(json.dumps(values | {"users": ["../../ESC", "walker_02"]}))
    with pytest.raises(InputError, match="has other users than"):
        load(writable_root)
