"""An augmented data set: chosen by validation alone, nothing of the unseen parts in it, every file labelled."""

import json

import numpy as np
import pytest

from mdiff_jax.data import labels
from mdiff_jax.evaluation import augmentation_study, augmented_set, recipes
from mdiff_jax.evaluation.augmentation_study import BEST, COMBINED, MORE, RECORDED, TOGETHER, Experiment, Scores
from mdiff_jax.metrics import identity
from mdiff_jax.metrics.augmentation_utility import label_windows
from mdiff_jax.metrics.reference import WindowSet
from mdiff_jax.runtime.errors import InputError

NAMES = ["generated", "from_others"]


def make_scores(validation: dict[str, float], test: dict[str, float]) -> dict[str, dict[str, Scores]]:
    """Scores of one judge and seed: of ten windows of a part the given share is right."""
    rows = {row: [np.arange(10)[None] < 10 * part[row] for part in (validation, test)] for row in validation}
    return {"linear": {row: Scores(*both) for row, both in rows.items()}}


def make_experiment(tmp_path) -> Experiment:
    windows = np.zeros((10, 4, 4), np.float32)
    recorded = label_windows(windows, np.arange(10) % 2, 2)
    unseen = WindowSet(windows, np.arange(10) % 2, np.arange(10).astype(str), np.arange(10))
    parts = {"validation": unseen, "test": unseen}
    return Experiment(0, tmp_path, recorded, parts, {"shift": None}, {"generated": None}, {MORE: None})


def test_the_row_is_chosen_on_validation_windows_and_told_on_test_windows(tmp_path):
    rows = [RECORDED, "shift", BEST, "generated", COMBINED.format("generated"), MORE]
    seen = make_scores(
        dict(zip(rows, (0.5, 0.4, 0.4, 0.8, 0.7, 0.9), strict=True)),
        dict(zip(rows, (0.8, 0.7, 0.7, 0.4, 0.9, 1.0), strict=True)),
    )
    choice = augmented_set.choose(make_experiment(tmp_path), seen)
    assert (choice.row, choice.recipe, choice.classical) == ("generated", "generated", None)
    assert choice.test.value == pytest.approx(-0.4) and "do not use it" in augmented_set.advise(choice)


def test_recorded_windows_alone_win_a_tie(tmp_path):
    rows = [RECORDED, "shift", BEST, "generated", COMBINED.format("generated")]
    equal = dict.fromkeys(rows, 0.5)
    choice = augmented_set.choose(make_experiment(tmp_path), make_scores(equal, equal))
    assert choice.row == RECORDED and choice.recipe is choice.classical is None


@pytest.fixture
def linear(monkeypatch):
    for module in (augmentation_study, augmented_set):
        monkeypatch.setattr(module, "JUDGES", {"linear": identity.fit_linear_softly})


def take(row: str, recipe: str | None, monkeypatch) -> None:
    """Lets a row be chosen, whatever its scores."""
    choose = augmented_set.choose
    monkeypatch.setattr(augmented_set, "choose", lambda *given: choose(*given)._replace(row=row, recipe=recipe))


def test_every_file_has_a_label_and_none_is_of_an_unseen_part(writable_root, trained, tmp_path, linear, monkeypatch):
    take(TOGETHER, TOGETHER, monkeypatch)
    page = augmented_set.write_augmented_set(writable_root, tmp_path / "out", 1.0, 1, NAMES)
    written = labels.read_labels(tmp_path / "out")
    files = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.png")}
    assert files == {label.file for label in written} and len(files) == len(written)
    train = len(trained.split["train"])
    of_kind = {kind: [x for x in written if x.source[0] == kind] for kind in ("recorded", *NAMES)}
    assert len(of_kind["recorded"]) == train == len(written) - train
    assert all(of_kind[name] for name in NAMES)
    for label in of_kind["from_others"]:
        assert len(label.soft_label) == 2 and label.soft_label[label.user] > 0.5 and len(label.source) == 2
    assert {x.file.split("/")[0] for x in written} == set(trained.users)
    rows = [json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()]
    told = {row["file_name"]: row["generated"] for row in rows}
    assert told == {x.file: x.source[0] != "recorded" for x in written}
    assert (tmp_path / "out" / augmented_set.PAGE).read_text() == page and f"{train} recorded windows" in page
    with pytest.raises(InputError, match="exists"):
        augmented_set.write_augmented_set(writable_root, tmp_path / "out", 1.0, 1, NAMES)


def test_without_a_recipe_the_recorded_windows_are_there_alone(writable_root, trained, tmp_path, linear, monkeypatch):
    take(RECORDED, None, monkeypatch)
    augmented_set.write_augmented_set(writable_root, tmp_path / "out", 1.0, 1, ["generated"])
    assert {x.source for x in labels.read_labels(tmp_path / "out")} == {("recorded",)}


def test_an_unknown_recipe_is_refused(writable_root, tmp_path):
    with pytest.raises(InputError, match="'magic' is not known"):
        augmented_set.write_augmented_set(writable_root, tmp_path / "out", 1.0, 1, ["magic"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [name for name in recipes.RECIPES if name != "hard"])
def test_a_recipe_draws_so_many_windows_of_each_user(trained, tmp_path, name):
    recipes.RECIPES[name](trained, 2, tmp_path / name)
    assert [len(list((tmp_path / name / user).glob("*.*"))) for user in trained.users] == [2, 2]
