"""Laws of the summary that training ends with."""

import json
import re
import shlex

import pytest

from mdiff_jax.evaluation import sample_folders, summary
from mdiff_jax.inference import loading
from mdiff_jax.runtime.workdir import Workdir


def test_the_summary_measures_and_says_where_everything_is(writable_root):
    out = summary.summarize_run(writable_root)
    figures = json.loads((writable_root / "summary.json").read_text())
    assert f"{figures['identity_real_test']:.1%}" in out and "sample.py" in out
    assert (writable_root / "grid.png").is_file()
    page, path = (writable_root / "report.html").read_text(), writable_root / "report.html"
    assert f"{figures['identity_generated']:.3f}" in page and "walker_01" in page and str(path) in out
    [accuracy] = re.findall(r"<small>([\d.]+) to ([\d.]+)</small>", page.partition('class="number real"')[2])[:1]
    assert float(accuracy[0]) <= figures["identity_real_test"] <= float(accuracy[1])


def test_the_page_of_an_evaluation_stays_while_it_is_of_this_model(trained, writable_root):
    """Training that goes on from there, or a report that is damaged, makes the page of the summary right again."""
    path, workdir = writable_root / "report.html", Workdir(writable_root)
    assert not summary.is_evaluated(workdir, trained)
    path.write_text("of an evaluation")
    for steps, kept in (([3, 3], True), ([3, 2], False), (None, False)):
        (writable_root / "report.json").write_text(json.dumps({"checkpoint_steps": steps}))
        assert summary.is_evaluated(workdir, trained) == kept
    (writable_root / "report.json").write_text("{")
    assert not summary.is_evaluated(workdir, trained)


def test_some_users_stand_for_many(workdirs, tmp_path, monkeypatch):
    workdirs.make_workdir(tmp_path, users=4)
    given = loading.load(tmp_path, {"summary.max_users": 2})
    monkeypatch.setattr(summary, "load", lambda root: given)
    summary.summarize_run(tmp_path)
    figures = json.loads((tmp_path / "summary.json").read_text())
    assert figures["chance"] == 0.5 and figures["windows_generated"] == 4
    assert figures["windows_test"] == len(given.split["test"]) / 2
    drawn = {path.parent.name for path in (tmp_path / "samples").rglob("walker_*/*.png")}
    assert drawn == {"walker_01", "walker_04"}


def test_a_leaking_split_is_marked(root, trained):
    """Windows of the training part put into the test part are found, and the summary says so."""
    assert sample_folders.leaking_share(trained) == 0
    leaking = trained._replace(split=trained.split | {"test": trained.split["train"][:3] + trained.split["test"]})
    assert sample_folders.leaking_share(leaking) == pytest.approx(3 / len(leaking.split["test"]))
    names = ("identity_real_test", "identity_generated", "chance", "windows_train", "windows_test", "windows_generated")
    figures = dict.fromkeys((*names, "seconds_per_image", "decoder_sample_timesteps"), 0.5)
    for share, said in ((0.0, False), (0.25, True)):
        marked = figures | {"leaking_test_windows": share}
        text = summary.format_summary(marked, trained.users, root, Workdir(root), root / "samples")
        assert ("THE SPLIT LEAKS: 25%" in text) == said


def test_the_commands_that_training_ends_with_can_be_pasted(root):
    names = ("identity_real_test", "identity_generated", "chance", "windows_train", "windows_test", "windows_generated")
    figures = dict.fromkeys((*names, "seconds_per_image", "decoder_sample_timesteps", "leaking_test_windows"), 0.0)
    text = summary.format_summary(figures, ("Anna Müller", "Bob"), "my runs/a", Workdir(root), root)
    words = shlex.split(text.splitlines()[-1])
    assert words[2:] == ["--workdir=my runs/a", "--user_ids=Anna Müller", "--num_samples_per_user=64"]
