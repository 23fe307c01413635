"""Laws of an evaluation of a folder of samples as a whole."""

import functools
import html
import json
import re

import numpy as np
import pytest

from mdiff_jax import load
from mdiff_jax.data import export, splits
from mdiff_jax.evaluation import run, sample_folders
from mdiff_jax.inference import sample_writer
from mdiff_jax.metrics import augmentation_utility, reference

UNSEEN = [(1,), (2,), (1, 1), (5,), (4, 1), (6,), (6, 6), (4, 4, 4)]  # of each user, the windows of each walk


@pytest.fixture(scope="module")
def crowd(workdirs, tmp_path_factory):
    """A working directory of people with as few unseen windows as UNSEEN says."""
    root = workdirs.make_workdir(tmp_path_factory.mktemp("crowd"), len(UNSEEN), recordings=4, windows=7)
    data = workdirs.load(root).dataset
    split = {"train": [], "validation": [], "test": []}
    for user, counts in enumerate(UNSEEN):
        rows = np.flatnonzero(data.user_ids == user).reshape(4, 7)
        for walk, mine in enumerate(rows):
            unseen = counts[walk] if walk < len(counts) else 0
            split["test"] += [data.files[row] for row in mine[:unseen]]
            if walk == 3:
                split["train"] += [data.files[row] for row in mine[:5]]
                split["validation"] += [data.files[row] for row in mine[5:]]
    splits.write_split(root / "split.json", split)
    return root


def draw_noise(model, folder, count) -> None:
    """Writes `count` windows of each user that no model drew."""
    rng = np.random.default_rng(0)
    for user in model.users:
        for i, x in enumerate(rng.uniform(-1, 1, (count, 16, 16))):
            export.write_image(folder / user / f"noise_{i}.png", model.to_image(x), model.image_size())


def test_what_is_left_out_of_a_folder_is_said(trained, tmp_path):
    draw_noise(trained, tmp_path, 1)
    (tmp_path / "grid.png").write_text("")
    read = sample_folders.read_sample_set(trained, tmp_path)
    assert not run.warn_of_samples(trained, tmp_path, read)
    (tmp_path / "stray.png").write_text("")
    assert "1 beside the windows, such as 'stray.png'" in run.warn_of_samples(trained, tmp_path, read)[0]


def test_unfinished_samples_name_the_command_that_goes_on(trained, tmp_path, monkeypatch):
    one = reference.WindowSet(np.zeros((1, 8, 8), np.float32), np.zeros(1, np.int32), files=np.array(["one.png"]))
    monkeypatch.setattr(run.provenance, "read_record", lambda folder: {"complete": False})
    assert run.warn_of_samples(trained, tmp_path, one)[0].endswith("the command of sample.py")
    monkeypatch.setattr(run.cli, "INSTALLED", True)
    assert run.warn_of_samples(trained, tmp_path, one)[0].endswith("the command of mdiff sample")


@pytest.mark.thorough
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [1, 7])
def test_a_figure_has_the_windows_it_needs_or_is_left_out(crowd, tmp_path, quick_judge, count):
    """The whole report on people with next to nothing; every figure is a finite number or says why it is none."""
    draw_noise(load(crowd), tmp_path / "noise", count)
    run.judge_samples(crowd, tmp_path / "noise")
    found = json.loads((crowd / "reports" / "noise" / "report.json").read_text(), parse_constant=pytest.fail)
    figures = found["figures"] + [figure for of_user in found["users"].values() for figure in of_user]
    for figure in figures:
        if None in (figure["generated"], figure["real"]):
            assert figure["note"].startswith("left out: needs"), figure
    names = [user for user in found["users"] if all(f["real"] is not None for f in found["users"][user])]
    assert set(names) <= {"walker_07", "walker_08"}, "others have too few for balls of five neighbors"
    assert (len(names) > 0) == (count > 5)
    by_user = {user: {f["metric"]: f for f in of_user} for user, of_user in found["users"].items()}
    assert by_user["walker_01"]["accuracy"]["real"] is not None is by_user["walker_01"]["kernel distance"]["real"]
    assert by_user["walker_01"]["accuracy"]["real_range"] is None, "one window has no interval"
    variety = next(f for f in found["figures"] if f["metric"] == "median variety")
    assert (variety["generated"] is None) == (count == 1) and len(found["verdict"]) == 6


def test_samples_are_judged(trained, writable_root, quick_judge, monkeypatch):
    """One command's worth: verdict first, a leak before it, all pictures, and every figure beside a real one."""
    monkeypatch.setattr(
        augmentation_utility,
        "augmentation_curve",
        functools.partial(augmentation_utility.augmentation_curve, shares=(1.0,), seeds=1),
    )
    folder = writable_root / "samples" / "judged"
    sample_writer.write_samples(trained, trained.users, 2, 0, folder)
    said = run.judge_samples(writable_root, None, "linear", lambda x: x.mean(2))
    assert f"report  {writable_root / 'report.html'}" in said and len(said.splitlines()) < 15, "tables are in the page"
    text, found = (writable_root / "report.md").read_text(), json.loads((writable_root / "report.json").read_text())
    places = [text.index(heading) for heading in ("- Does adding it help?", "## Is it that person?", "## Method")]
    assert places == sorted(places)
    assert len(found["verdict"]) == 6 and "LEAKS" not in text and found["users"].keys() == set(trained.users)
    for figure in found["figures"]:
        if not figure["note"].startswith("left out: needs"):
            assert np.isfinite([figure["generated"], figure["real"]]).all(), figure["name"]
    assert any("own features" in figure["name"] for figure in found["figures"])
    assert {p["source"] for p in found["augmentation"]} >= {"real", "mixup"}
    for name in re.findall(r"\((\w+\.png)\)", text):
        assert (writable_root / name).is_file()
    page = (writable_root / "report.html").read_text()
    for figure in found["figures"] + [figure for of_user in found["users"].values() for figure in of_user]:
        values = (
            figure["generated"],
            figure["real"],
            *(figure["generated_range"] or ()),
            *(figure["real_range"] or ()),
        )
        assert html.escape(figure["name"]) in page
        assert all(value is None or f"{value:.3f}" in page for value in values), figure["name"]
    assert all(html.escape(text) in page for text in found["about"].values()) and "checkpoint_step" in page
    assert all(html.escape(sentence.partition("? ")[2]) in page for sentence in found["verdict"])
    leaking = trained._replace(split=trained.split | {"test": trained.split["train"]})
    judges = reference.make_reference(sample_folders.real_window_set(trained, "train"), None, convolutional=False)
    test = judges.measure(sample_folders.real_window_set(leaking, "test"), overlaps=False)
    assert "THE SPLIT LEAKS: 100%" in run.collect_warnings(leaking, test)[0]
    config = trained.config.copy_and_resolve_references()
    config.data.gap = 7
    assert sample_folders.real_window_set(trained._replace(config=config), "test").gap == 7


def test_an_enrolled_user_is_judged_as_far_as_the_judges_go(enrolled, root, tmp_path, quick_judge, monkeypatch):
    """By what needs no judge, beside a trained user who is judged as before; the model's own report stays."""
    given = enrolled.windows("train")[0][:4, :, ::-1, None]  # unlike all others: time runs backwards
    person = enrolled.enrolled["NEW"]._replace(windows=given)
    monkeypatch.setattr(run, "load", lambda root: enrolled._replace(enrolled={"NEW": person}))
    (tmp_path / "report.md").write_text("of the model")
    for i in range(3):
        image = enrolled.to_image(given[min(i, 1)][..., 0])
        export.write_image(tmp_path / "both" / "NEW" / f"copy_{i}.png", image, enrolled.image_size())
    run.judge_samples(tmp_path, tmp_path / "both")
    found = json.loads((tmp_path / "reports" / "both" / "report.json").read_text(), parse_constant=pytest.fail)
    of_user = {f["metric"]: f for f in found["users"]["NEW"]}
    assert of_user["accuracy"]["generated"] is None and "judges do not know" in of_user["accuracy"]["note"]
    assert of_user["suspected copies"]["generated"] == 1, "of the windows enrolled from"
    assert of_user["plausible"]["generated"] is not None is of_user["plausible"]["real"]
    figures = {f["metric"]: f for f in found["figures"]}
    assert figures["nearest to their own real windows"]["generated"] is not None
    assert "Not judged" in found["verdict"][1] and "Not measured" in found["verdict"][5]
    assert all("enrolled/NEW.npz#" in copy["training_file"] for copy in found["suspected_copies"])
    assert any("1 of 3 generated windows repeat" in warning for warning in found["warnings"])
    assert (tmp_path / "report.md").read_text() == "of the model"
    assert (tmp_path / "reports" / "both" / "sheet.png").is_file()
