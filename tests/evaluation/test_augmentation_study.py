"""Rows of the table of augmentations: what they are trained on, what is kept, and that they are paired."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mdiff_jax.data import export
from mdiff_jax.evaluation import augmentation_study as study
from mdiff_jax.metrics import augmentation_utility, identity
from mdiff_jax.metrics.augmentation_utility import label_windows
from mdiff_jax.metrics.reference import WindowSet

ROOT = Path(__file__).parents[2]
SEEDS = 2


def make_set(count: int, user_rows: dict[int, int], seed: int) -> WindowSet:
    """`count` windows of each of two users, whose energy lies in the row that `user_rows` says, of walks of 4."""
    rng, users = np.random.default_rng(seed), np.repeat([0, 1], count)
    x = rng.uniform(-1, -0.5, (2 * count, 16, 16)).astype(np.float32)
    for i, user in enumerate(users):
        x[i, user_rows[user]] += 1.2
    walks = np.array([f"walk_{i // 4}" for i in range(2 * count)])
    return WindowSet(x, users, walks, np.arange(2 * count), np.arange(2 * count).astype(str))


@pytest.fixture(autouse=True)
def linear_judges(monkeypatch):
    monkeypatch.setattr(study, "JUDGES", {"linear": identity.fit_linear_softly})


@pytest.fixture
def experiment(tmp_path):
    """Recorded windows that say little, generated ones that say all, and as many more recorded ones."""
    recorded = label_windows(*make_set(4, {0: 8, 1: 8}, 0)[:2], 2)
    good = label_windows(*make_set(4, {0: 3, 1: 12}, 1)[:2], 2)
    unseen = {part: make_set(8, {0: 3, 1: 12}, seed) for part, seed in (("validation", 2), ("test", 3))}
    classical = {
        name: augmentation_utility.classical_source(name, recorded, 1.0)
        for name in augmentation_utility.CLASSICAL_NAMES
    }
    source = augmentation_utility.pool_source(good, recorded, 1.0)
    return study.Experiment(10, tmp_path / "judged", recorded, unseen, classical, {"generated": source}, {})


def find_line(lines: list[study.Line], row: str) -> study.Line:
    return next(line for line in lines if line.row == row)


def test_windows_that_say_more_raise_the_accuracy_and_each_row_is_measured_by_every_seed(experiment):
    counted = []
    scores = study.run_experiment(experiment, SEEDS, lambda: counted.append(1))
    assert len(counted) == SEEDS * experiment.count_rows()
    combined = study.COMBINED.format("generated")
    names = {study.RECORDED, study.BEST, "generated", combined, *augmentation_utility.CLASSICAL_NAMES}
    assert scores["linear"].keys() == names
    lines = study.summarize_budget([experiment], [scores])
    assert find_line(lines, "generated").over_recorded.interval[0] > 0.2
    assert find_line(lines, study.RECORDED).over_recorded == (0.0, (0.0, 0.0))
    assert find_line(lines, study.BEST).over_best == (0.0, (0.0, 0.0))
    table = study.format_table(lines).splitlines()
    assert len(table) == 2 + len(names) and len({row.count("|") for row in table}) == 1


def test_what_is_kept_is_not_trained_again_until_it_changes(experiment, monkeypatch):
    trained, fit = [], identity.fit_linear_softly

    def fit_and_count(windows, targets, weights, seed):
        trained.append(seed)
        return fit(windows, targets, weights, seed)

    monkeypatch.setattr(study, "JUDGES", {"linear": fit_and_count})
    sources = [experiment.sources["generated"]]
    first = study.score_row(experiment, "generated", "linear", sources, SEEDS)
    again = study.score_row(experiment, "generated", "linear", sources, SEEDS + 1)
    assert trained == [0, 1, 2] and (again.test[:SEEDS] == first.test).all() and len(again.test) == SEEDS + 1
    assert len(study.score_row(experiment, "generated", "linear", sources, 1).test) == 1
    other = experiment.recorded._replace(windows=experiment.recorded.windows + np.float32(0.01))
    study.score_row(experiment._replace(recorded=other), "generated", "linear", sources, 1)
    assert trained == [0, 1, 2, 0]


def test_a_killed_run_goes_on_where_it_was(experiment, monkeypatch):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.score_row(experiment, study.RECORDED, "linear", [], SEEDS, stop)
    kept = json.loads((experiment.folder / "linear" / "recorded_alone.json").read_text())
    assert len(kept["test"]) == 1 and set(kept["test"][0]) <= {"0", "1"}


def test_the_best_is_chosen_by_validation_alone():
    right, wrong = np.ones((1, 4), bool), np.zeros((1, 4), bool)
    scores = {"shift": study.Scores(right, wrong), "mask": study.Scores(wrong, right)}
    assert study.choose_best(scores, ["mask", "shift"]) == "shift"


def test_a_walk_of_two_draws_is_one_walk(experiment):
    scores = study.run_experiment(experiment, 1)
    once, twice = (study.summarize_budget([experiment] * n, [scores] * n) for n in (1, 2))
    for one, two in zip(once, twice, strict=True):
        assert one.walks == two.walks
        np.testing.assert_allclose(one.over_recorded.interval, two.over_recorded.interval, atol=1e-12)


def test_rows_that_one_draw_lacks_are_left_out(experiment):
    more = experiment._replace(ceilings={study.MORE: experiment.sources["generated"]})
    scores = [study.run_experiment(e, 1) for e in (experiment, more)]
    both = {line.row for line in study.summarize_budget([experiment, more], scores)}
    assert study.MORE not in both and study.MORE in {x.row for x in study.summarize_budget([more], scores[1:])}


# ----------------------------------------------------------------------------- of a model


def write_noise(model, folder: Path) -> Path:
    """Four windows of each user."""
    for user in model.users:
        for i in range(4):
            image = model.to_image(np.random.default_rng(i).uniform(-1, 1, model.image_size()))
            export.write_image(folder / user / f"{user}_{i}.png", image, model.image_size())
    return folder


def test_without_windows_left_out_there_is_no_ceiling_at_native_frames_either(workdirs, tmp_path):
    model = workdirs.load(workdirs.make_workdir(tmp_path / "run", native=True))
    experiment = study.read_experiment(model, 0, tmp_path, {"generated": write_noise(model, tmp_path / "drawn")})
    assert not experiment.ceilings and experiment.recorded.windows.shape[1:] == (128, 64)


def test_the_ceiling_is_of_windows_that_training_left_out(trained, tmp_path):
    write_noise(trained, tmp_path / "drawn")
    whole = study.read_experiment(trained, 0, tmp_path, {"generated": tmp_path / "drawn"}, 0.5)
    assert not whole.ceilings
    rows = trained.dataset.rows(trained.split["train"])
    few = [int(row) for user in range(2) for row in rows[trained.dataset.user_ids[rows] == user][:2]]
    split = trained.split | {"train": [trained.dataset.files[row] for row in few]}
    part = study.read_experiment(trained._replace(split=split), 2, tmp_path, {"generated": tmp_path / "drawn"})
    more = part.ceilings[study.MORE](np.random.default_rng(0))
    drawn = part.sources["generated"](np.random.default_rng(0))
    assert np.bincount(more.users).tolist() == np.bincount(drawn.users).tolist() == [2, 2]
    given = {w.tobytes() for w in part.recorded.windows}
    unseen = {w.tobytes() for s in part.unseen.values() for w in s.windows}
    assert not {w.tobytes() for w in more.windows} & (given | unseen)


@pytest.mark.slow
def test_the_benchmark_runs_and_resumes(tmp_path):
    command = [sys.executable, "benchmarks/augmentation.py", f"--output={tmp_path}", "--config=tests/small_run.py"]
    command += ["--budgets=2,0", "--draws=2", "--seeds=2"]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=None)
    assert first.returncode == 0, first.stderr
    assert (tmp_path / "augmentation.png").is_file() and study.RECORDED in first.stdout
    assert first.stdout.count("augment.py chooses") == 4, "for each budget and draw"
    text = (tmp_path / "augmentation.md").read_text()
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0 and (tmp_path / "augmentation.md").read_text() == text
