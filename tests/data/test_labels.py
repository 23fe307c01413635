"""Laws of labels.csv: what is written is read, whatever the names; anything else is refused by its line."""

import pytest

from mdiff_jax.data import labels
from mdiff_jax.data.labels import Label
from mdiff_jax.runtime.errors import InputError

STRANGE = ("ID_1", 'a;b:c"d', "=1+1", "'x'", "Jürgen 李", "a:0.5;b")


def test_what_is_written_is_read_whatever_the_names(tmp_path):
    written = [
        Label(
            f"{user}/window;{i}:1.png", user, 0.5, {user: 0.7, f"other {user}": 0.3}, (f"{user}/a;b.png", "c,d.npz#1")
        )
        for i, user in enumerate(STRANGE)
    ] + [Label("x/y.png", "x", 1.0, {"x": 1.0})]
    labels.write_labels(tmp_path, written)
    assert labels.read_labels(tmp_path) == written


def test_a_soft_label_reads_as_it_is_documented(tmp_path):
    labels.write_labels(tmp_path, [Label("ID_1/a.png", "ID_1", 1.0, {"ID_1": 0.7, "ID_2": 0.3}, ("ID_2/b.jpg",))])
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    assert lines == ["file,user,weight,soft_label,source", "ID_1/a.png,ID_1,1,ID_1:0.7;ID_2:0.3,ID_2/b.jpg"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("ID_1/a.png,ID_1,1,ID_1:0.7;ID_2:0.2,", "line 2: soft_label is 'ID_1:0.7;ID_2:0.2': .* add up to 1"),
        ("ID_1/a.png,ID_1,1,ID_1:0.5;ID_1:0.5,", "each user once"),
        ("ID_1/a.png,ID_1,1,,", "add up to 1"),
        ("ID_1/a.png,ID_1,1,ID_1:2;ID_2:-1,", "share of soft_label is '-1': give a number above 0"),
        ("ID_1/a.png,ID_1,nan,ID_1:1,", "line 2: weight is 'nan'"),
        ("ID_1/a.png,ID_1,many,ID_1:1,", "weight is 'many'"),
        ("../a.png,ID_1,1,ID_1:1,", "give one in the folder"),
        ("/a.png,ID_1,1,ID_1:1,", "give one in the folder"),
        (",ID_1,1,ID_1:1,", "give one in the folder"),
        ("ID_1/a.png,../x,1,ID_1:1,", "cannot be the name of a user"),
        ("ID_1/a.png,ID_1,1,../x:1,", "cannot be the name of a user"),
        ("ID_1/a.png,ID_1,1", "there are not 5 columns"),
        ("ID_1/a.png,ID_1,1,ID_1:1,x,y", "there are not 5 columns"),
        ('ID_1/a.png,ID_1,1,ID_1:1,"x', "is damaged"),
        ("ID_1/a.png,ID_1,1,ID_1:1,x\nID_1/a.png,ID_1,1,ID_1:1,x", "line 3: 'ID_1/a.png' is there twice"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, line, says):
    (tmp_path / "labels.csv").write_text(f"file,user,weight,soft_label,source\n{line}\n")
    with pytest.raises(InputError, match=says) as caught:
        labels.read_labels(tmp_path)
    assert "\n" not in str(caught.value)


def test_no_labels_and_other_tables_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        labels.read_labels(tmp_path)
    for text in ("", "a,b\n", "file,user\n", "\x00"):
        (tmp_path / "labels.csv").write_text(text)
        with pytest.raises(InputError, match=r"has not the columns file, user|is damaged"):
            labels.read_labels(tmp_path)
