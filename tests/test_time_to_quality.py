"""The benchmark of quality over minutes: what fits the minutes, what is left to do, the table; diffusers' part."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import time_to_quality as benchmark
from benchmarks.time_to_quality import Cell, Run
from mdiff_jax.runtime.config_files import load_config
from mdiff_jax.runtime.errors import InputError

ROOT = Path(__file__).parents[1]
PACE = {"windows": 650, "other seconds": 60.0}
PACE["seconds a step"] = {"encoder": 0.1, "prior": 0.07, "decoder": 0.5, "distill": 0.4}


@pytest.mark.parametrize("curriculum", [(), benchmark.CURRICULUM], ids=["", "student"])
def test_epochs_fill_the_minutes(curriculum):
    for minutes in (10.0, 30.0):
        config = load_config("gait_cpu")
        config.distill.curriculum = curriculum
        benchmark.fit_minutes(config, minutes, PACE)
        steps = benchmark.count_steps(config, PACE["windows"])
        seconds = sum(count * PACE["seconds a step"][name] for name, count in steps.items())
        assert seconds + PACE["other seconds"] == pytest.approx(60 * minutes, rel=0.04)
        assert all(config[name].optimizer.warmup_steps <= count / 10 for name, count in steps.items())


def test_too_few_minutes_are_an_epoch_a_stage():
    config = load_config("gait_cpu")
    benchmark.fit_minutes(config, 0.5, PACE)
    assert [config[name].epochs for name in ("encoder", "prior", "decoder")] == [1, 1, 1]


def test_diffusers_trains_after_ours_and_what_is_there_is_not_done_again(tmp_path):
    given = ["--output", str(tmp_path), "--minutes=3,1", "--contenders=base,student", "--config=tiny"]
    study, runs = benchmark.parse(given)
    assert [run.minutes for run in runs] == [1, 1, 3, 3]
    tasks = benchmark.plan_tasks(study, [*runs[:2], Run("diffusers", 1.0, 0)])
    names = [name for name, *_ in tasks]
    assert names[:2] == ["pilot", "pilot_student"] and names[-1] == "diffusers_1min_seed0: judging"
    assert len({path for _, _, path, *_ in tasks}) == len(tasks) == 2 + 3 * 3
    done = tmp_path / "done.json"
    done.touch()
    assert not [*benchmark.run_tasks([("finished", 1.0, done, pytest.fail, ())])]


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("--minutes=0", "0 is no number of minutes"),
        ("--contenders=base,imagen", "'imagen'"),
        ("--config=nope", "--config=nope is no file"),
        ("--config=tiny --contenders=diffusers", "requirements-peers.txt"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(tmp_path, monkeypatch, argument, says):
    monkeypatch.setattr(benchmark.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=says):
        benchmark.parse([f"--output={tmp_path}", "--contenders=base", *argument.split()])


def test_a_cell_is_one_report_or_the_mean_of_seeds():
    assert str(Cell(0.5)) == "0.500" and str(Cell(None)) == "–"
    assert str(benchmark.over_seeds([Cell(0.5, 0.4, 0.6)])) == "0.500 (0.400 to 0.600)"
    assert str(benchmark.over_seeds([Cell(0.5, 0.4, 0.6), Cell(0.7, 0.1, 0.9)])) == "0.600 (0.500 to 0.700)"


def test_the_table_has_a_column_for_each_contender_and_minutes(tmp_path):
    cells = {name: Cell(0.25) for name in (*benchmark.FIGURES, *benchmark.COSTS)}
    columns = {("base", 1.0): cells, ("diffusers", 1.0): cells | {"training minutes": Cell(1.5)}}
    lines = benchmark.format_table(columns, {"plausible": Cell(0.9)}).splitlines()
    assert len({line.count("|") for line in lines}) == 1 and len(lines) == 2 + len(cells)
    assert "| plausible | 0.250 | 0.250 | 0.900 |" in lines
    benchmark.plot_figures(tmp_path / "figures.png", columns, {"plausible": Cell(0.9)})
    assert (tmp_path / "figures.png").stat().st_size > 10_000


def test_windows_are_mirrored_behind_their_frames():
    windows = np.arange(12.0).reshape(1, 2, 6, 1).repeat(2, 0)
    dataset = SimpleNamespace(
        rows=lambda files: np.array([0, 1]),
        load=lambda rows: windows.copy(),
        frames=np.array([4, 2]),
        user_ids=np.array([1, 0]),
    )
    model = SimpleNamespace(dataset=dataset, split={"train": ["a", "b"]})
    mirrored, users = benchmark.mirrored_windows(model, "train")
    assert mirrored[:, 0].tolist() == [[0, 1, 2, 3, 2, 1], [0, 1, 0, 1, 0, 1]] and users.tolist() == [1, 0]


# ----------------------------------------------------------------------------- diffusers


@pytest.fixture
def recipe(monkeypatch):
    """The module, where PyTorch and diffusers are installed."""
    pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import diffusers_recipe

    return diffusers_recipe


@pytest.mark.filterwarnings("ignore")
def test_patches_are_undone(recipe):
    import torch

    x = torch.arange(2 * 8 * 12.0).reshape(2, 8, 12)
    patches = recipe.diffusers_unet.to_patches(x, (4, 2))
    assert patches.shape == (2, 8, 2, 6) and torch.equal(patches[0, :, 0, 0], x[0, :4, :2].flatten())
    assert torch.equal(recipe.diffusers_unet.from_patches(patches, (4, 2)), x)


@pytest.mark.filterwarnings("ignore")
def test_every_solver_leads_to_the_window_that_the_network_knows(recipe):
    """A network that knows the window gives its v exactly, and with guidance from noise still that window."""
    import torch

    window = torch.linspace(-1, 1, 8 * 4).reshape(1, 8, 4)
    x0, alphas = recipe.diffusers_unet.to_patches(window, (2, 2)), recipe.make_solver(recipe.all_settings()[0])

    def network(x, t, class_labels):
        a = alphas.alphas_cumprod[t]
        eps = (x - a.sqrt() * x0) / (1 - a).sqrt()
        return SimpleNamespace(sample=a.sqrt() * eps - (1 - a).sqrt() * x0)

    network.config = SimpleNamespace(in_channels=4, sample_size=(4, 2))
    peer = recipe.Peer(network, (2, 2), 3, "cpu")
    for settings in recipe.all_settings():
        drawn = recipe.draw(peer, np.array([0, 2]), settings, seed=0)
        assert drawn.shape == (2, 8, 4)
        np.testing.assert_allclose(drawn, window.repeat(2, 1, 1), atol=2e-2, err_msg=str(settings))


# ----------------------------------------------------------------------------- the whole


@pytest.mark.slow
@pytest.mark.parametrize("contenders", ["scratch", "scratch,diffusers"])
def test_the_benchmark_runs_and_resumes(tmp_path, contenders):
    if "diffusers" in contenders:
        pytest.importorskip("diffusers")
    command = [sys.executable, "benchmarks/time_to_quality.py", f"--output={tmp_path}", "--config=tests/small_run.py"]
    command += [f"--contenders={contenders}", "--minutes=0.05", "--samples=3", "--rates=1e-3"]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    table = (tmp_path / "table.md").read_text()
    assert table in first.stdout and (tmp_path / "figures.png").is_file()
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0 and "min left" not in again.stdout
    assert (tmp_path / "table.md").read_text() == table


@pytest.mark.slow
def test_shapes_are_compared_and_what_is_done_stays(tmp_path):
    command = [sys.executable, "benchmarks/network_shapes.py", f"--output={tmp_path}", "--config=tests/small_run.py"]
    command += ["--shapes=more_fine_layers", "--steps=4", "--samples=3"]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    table = (tmp_path / "table.md").read_text()
    assert table in first.stdout and "| as it is | more fine layers |" in table and "validation loss" in table
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0 and "min left" not in again.stdout


def test_a_shape_that_is_not_known_is_refused(tmp_path):
    command = [sys.executable, "benchmarks/network_shapes.py", f"--output={tmp_path}", "--shapes=round"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode and "'round'" in done.stderr and "wider" in done.stderr
