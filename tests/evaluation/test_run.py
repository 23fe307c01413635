"""Laws of an evaluation of a folder of samples as a whole."""

import functools
import json
import re

import numpy as np

from mdiff_jax.evaluation import run
from mdiff_jax.inference import sample_writer
from mdiff_jax.metrics import augmentation_utility, cnn_classifier, reference


def test_samples_are_judged(trained, writable_root, monkeypatch):
    """One command's worth: verdict first, a leak before it, all pictures, and every figure beside a real one."""
    monkeypatch.setattr(cnn_classifier, "choose_training_steps", lambda windows: 2)
    monkeypatch.setattr(cnn_classifier, "WIDTHS", (8, 8))
    monkeypatch.setattr(
        augmentation_utility,
        "augmentation_curve",
        functools.partial(augmentation_utility.augmentation_curve, shares=(1.0,), seeds=1),
    )
    folder = writable_root / "samples" / "judged"
    sample_writer.write_samples(trained, trained.users, 2, 0, folder)
    run.judge_samples(writable_root, None, "linear", lambda x: x.mean(2))
    text, found = (writable_root / "report.md").read_text(), json.loads((writable_root / "report.json").read_text())
    places = [text.index(heading) for heading in ("- Does adding it help?", "## Is it that person?", "## Method")]
    assert places == sorted(places)
    assert len(found["verdict"]) == 6 and "LEAKS" not in text and found["users"].keys() == set(trained.users)
    for figure in found["figures"]:
        assert np.isfinite([figure["generated"], figure["real"]]).all(), figure["name"]
    assert any("own features" in figure["name"] for figure in found["figures"])
    assert {p["source"] for p in found["augmentation"]} >= {"real", "mixup"}
    for name in re.findall(r"\((\w+\.png)\)", text):
        assert (writable_root / name).is_file()
    leaking = trained._replace(split=trained.split | {"test": trained.split["train"]})
    judges = reference.make_reference(run.real_window_set(trained, "train"), None, convolutional=False)
    test = judges.measure(run.real_window_set(leaking, "test"), overlaps=False)
    assert "THE SPLIT LEAKS: 100%" in run.collect_warnings(leaking, test)[0]
    config = trained.config.copy_and_resolve_references()
    config.data.gap = 7
    assert run.real_window_set(trained._replace(config=config), "test").gap == 7
