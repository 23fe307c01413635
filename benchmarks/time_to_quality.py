"""Trains our model and diffusers' class-conditional UNet for the same minutes, and judges what each draws.

python benchmarks/time_to_quality.py --path=FOLDER --output=runs/time_to_quality [--minutes=10,30] [--seeds=0]
    [--contenders=base,scratch,student,diffusers] [--config=gait_cpu] [--samples=33] [--rates=1e-4,3e-4,1e-3]

Needs `pip install -r benchmarks/requirements-peers.txt` for diffusers. One after the other, each in its own process:

- base, scratch, student: `train.py` with --config, from the base model, from random parameters, and from the base model
  with a student. The minutes hold all stages, compilation, and calibration. Epochs are scaled to fit them, by
  the pace of a pilot, which trains one epoch a stage. They draw at their defaults.
- diffusers: `diffusers_recipe.py`, of as many operations, on the same windows at their own rows and frames, for as
  long as ours took. Outside these minutes its learning rate is chosen, by trainings of a tenth of them, and solver,
  steps and guidance, on validation windows. It has no prior: the frames of a window are those of a training window of
  the user. What lies behind a window's frames is its mirror image in training, and cut off of what is drawn.

Split, judges and real windows are the same for all, those of the pilot. In OUTPUT table.md, table.json and figures.png
compare the runs that are finished; samples/NAME/grid.png is the sheet of one; reports lie in the working directories of
ours and in pilot/reports/. The same command resumes.
"""

import argparse
import importlib.util
import math
import multiprocessing
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from mdiff_jax.runtime import cli, huge_pages
from mdiff_jax.runtime.config_files import load_config
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir, atomic_folder, read_json, write_json, write_text

CONTENDERS = {
    "base": "ours, from the base model",
    "scratch": "ours, from scratch",
    "student": "ours, with a student",
    "diffusers": "diffusers",
}
CURRICULUM = ((8, 6), (4, 14))  # of the student, where the configuration has none
TRIAL_SAMPLES = 8  # of each user and setting, as in evaluate.py --sweep
TIMINGS = 3  # of a batch; other load on the machine only adds to the least
REMEDY = "remove its folder and repeat the command"
AUC, TAUGHT = "told from recorded ones", "train on generated, test on real"
FIGURES = {  # of the table: metric and judge of the report
    "identified, convolutional judge": ("accuracy", "convolutional judge"),
    "identified, linear judge": ("accuracy", "linear judge"),
    **{f"AUC, {kind}": (AUC, kind) for kind in ("row statistics", "levels", "gradients", "judge features")},
    "AUC, 16x16 averages": (AUC, "16x16 averages"),
    "taught by them, convolutional judge": (TAUGHT, "convolutional judge"),
    "taught by them, linear judge": (TAUGHT, None),
    "kernel distance": ("kernel distance", "convolutional judge"),
    "plausible": ("plausible", None),
    "variety": ("median variety", None),
    "suspected copies": ("suspected copies", None),
    "suspected copies of a part": ("suspected copies of a part", None),
}
COSTS = ("training minutes", "CPU minutes", "seconds an image", "windows a second")


class Study(NamedTuple):
    """What all runs share."""

    config: str
    path: str
    output: Path
    samples: int  # of each user
    rates: tuple[float, ...]

    def pilot(self, contender: str = "scratch") -> Path:
        """The working directory of the pilot; a student has one of its own."""
        return self.output / ("pilot_student" if contender == "student" else "pilot")


class Run(NamedTuple):
    """One contender's training."""

    contender: str
    minutes: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.contender}_{self.minutes:g}min_seed{self.seed}"


class Clock:
    """Minutes since it was made, by the wall and of all cores of this process."""

    def __init__(self) -> None:
        self._wall, self._cores = time.perf_counter(), self._used()

    def minutes(self) -> dict[str, float]:
        wall, cores = time.perf_counter() - self._wall, self._used() - self._cores
        return {"training minutes": wall / 60, "CPU minutes": cores / 60}

    def _used(self) -> float:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime


def configuration(study: Study, contender: str, seed: int) -> Any:
    """Returns the configuration of one of our contenders, and the one that diffusers' network takes its shape of."""
    import jax

    config = load_config(study.config)
    config.seed = seed
    if study.path:
        config.data.path = study.path
    if contender in ("base", "student"):
        config.init_from = "base"
    if contender == "scratch":
        config.init_from = "none"
    config.distill.curriculum = (config.distill.curriculum or CURRICULUM) if contender == "student" else ()
    if jax.default_backend() == "gpu":
        config.precision = "bfloat16"
    return config


# ----------------------------------------------------------------------------- as many epochs as fit the minutes


def count_steps(config: Any, windows: int) -> dict[str, int]:
    """Returns stage → its steps on so many training windows."""
    from mdiff_jax.training import stages

    names = stages.stage_names(config)
    return {n: stages.make_phases(config, n, max(1, windows // config[n].batch_size))[-1].last for n in names}


def scale_epochs(config: Any, factor: float, windows: int) -> None:
    """Multiplies the epochs of all stages, one at least; warm-up takes a tenth of a stage at most, and the decoder is
    validated three times.
    """
    scale = lambda epochs: max(1, round(epochs * factor)) if epochs else 0  # noqa: E731
    for name in count_steps(config, windows):
        c = config[name]
        if name != "encoder" and c.curriculum:
            c.curriculum = tuple((first, scale(epochs)) for first, epochs in c.curriculum)
        else:
            c.epochs = scale(c.epochs)
    steps = count_steps(config, windows)
    for name, count in steps.items():
        config[name].optimizer.warmup_steps = min(config[name].optimizer.warmup_steps, count // 10)
    config.checkpoint_every = -(-steps["decoder"] // 3)


def fit_minutes(config: Any, minutes: float, pace: Mapping[str, Any]) -> None:
    """Scales the epochs so that training takes so many minutes, or as few as it can."""
    seconds = sum(count * pace["seconds a step"][n] for n, count in count_steps(config, pace["windows"]).items())
    scale_epochs(config, max(0.0, 60 * minutes - pace["other seconds"]) / max(seconds, 1e-9), pace["windows"])


def run_pilot(study: Study, contender: str) -> None:
    """Trains one epoch a stage, and writes how long a step takes and everything else together."""
    from mdiff_jax.runtime.metric_writer import read_metrics

    root = study.pilot(contender)
    shutil.rmtree(root, ignore_errors=True)
    workdir, config = Workdir(root), configuration(study, contender, 0)
    prepare(config, workdir)
    windows = len(read_json(workdir.split, REMEDY)["train"])
    scale_epochs(config, 0.0, windows)
    config.log_every = 2
    clock = Clock()
    train_stages(config, workdir)
    seconds, steps, pace = 60 * clock.minutes()["training minutes"], count_steps(config, windows), {}
    for name in steps:
        rates = [m["images_per_second"] for m in read_metrics(workdir.metrics(name)) if "images_per_second" in m]
        pace[name] = config[name].batch_size / float(np.median(rates)) if rates else 0.0
    other = seconds - sum(count * pace[name] for name, count in steps.items())
    values = {"windows": windows, "seconds a step": pace, "other seconds": max(0.0, other)}
    write_json(root / "pace.json", values)


def prepare(config: Any, workdir: Workdir) -> None:
    """Prepares the recordings and splits them; no training waits for that."""
    from mdiff_jax.training import training_data

    workdir.root.mkdir(parents=True)
    training_data.write_prepared_data(config, workdir)


def train_stages(config: Any, workdir: Workdir) -> None:
    """Trains all stages, and calibrates what draws, as `train.py` does."""
    from mdiff_jax import load
    from mdiff_jax.evaluation import calibration
    from mdiff_jax.training import train_loop

    train_loop.train(config, workdir.root)
    model = load(workdir.root)
    calibration.calibrate(model, np.arange(len(model.users)), workdir)


# ----------------------------------------------------------------------------- ours


def train_ours(study: Study, run: Run) -> None:
    """Trains one of our contenders on the split of the pilot."""
    pilot, workdir = Workdir(study.pilot()), Workdir(study.output / run.name)
    shutil.rmtree(workdir.root, ignore_errors=True)
    shutil.copytree(pilot.data, workdir.data)
    shutil.copyfile(pilot.split, workdir.split)
    config = configuration(study, run.contender, run.seed)
    pace = read_json(study.pilot(run.contender) / "pace.json", REMEDY)
    fit_minutes(config, run.minutes, pace)
    clock = Clock()
    train_stages(config, workdir)
    write_json(workdir.root / "training.json", clock.minutes() | {"steps": count_steps(config, pace["windows"])})


def draw_ours(study: Study, run: Run) -> None:
    """Draws windows at the model's defaults, and measures how long one takes."""
    from mdiff_jax import load
    from mdiff_jax.inference import sample_writer

    model = load(study.output / run.name)
    sample_writer.write_samples(model, model.users, study.samples, run.seed, study.output / "samples" / run.name)
    size = model.config.sample.batch_size
    requests = model.requests(model.users, range(-(-size // len(model.users))))[:size]
    seconds = fastest(lambda: list(model.run(requests, run.seed))) / size
    sampler = "student" if model.student else model.config.sample.sampler
    write_speed(
        study, run, f"{sampler}, {model.decoder_steps} steps, guidance {model.config.sample.cond_scale:g}", seconds
    )


def fastest(draw: Callable[[], Any]) -> float:
    """Returns the seconds of the fastest of TIMINGS calls, after one in which things are compiled."""
    seconds = []
    for _ in range(1 + TIMINGS):
        began = time.perf_counter()
        draw()
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def write_speed(study: Study, run: Run, settings: str, seconds: float, **more: Any) -> None:
    values = {"settings": settings, "seconds an image": seconds, "windows a second": 1 / seconds}
    write_json(study.output / run.name / "drawing.json", values | more)


# ----------------------------------------------------------------------------- theirs


def train_theirs(study: Study, run: Run) -> None:
    """Trains diffusers' network for the minutes, or as long as ours took where that was longer."""
    import diffusers_recipe
    import diffusers_unet

    from mdiff_jax import load

    folder, model = study.output / run.name, load(study.pilot())
    shutil.rmtree(folder, ignore_errors=True)
    config, users = configuration(study, run.contender, run.seed), len(model.users)
    flops = diffusers_unet.match(config, users)
    windows, unseen = (diffusers_recipe.Windows(*mirrored_windows(model, part)) for part in ("train", "validation"))
    ours = [study.output / run._replace(contender=name).name / "training.json" for name in CONTENDERS]
    minutes = max(run.minutes, *(read_json(p, REMEDY)["training minutes"] for p in ours if p.is_file()), 0)
    peer = diffusers_recipe.make_peer(config, users, flops["scale"], run.seed)
    given = dict(batch_size=config.decoder.batch_size, seed=run.seed)
    rate, losses = diffusers_recipe.choose_rate(peer, windows, unseen, study.rates, seconds=6 * minutes, **given)
    clock = Clock()
    steps = diffusers_recipe.train(peer, windows, seconds=60 * minutes, rate=rate, **given)
    taken = clock.minutes()
    peer.network.save_pretrained(folder)
    about = {
        "steps": steps,
        "rate": rate,
        "operations": flops,
        "losses by rate": {f"{r:g}": x for r, x in losses.items()},
    }
    about["validation loss"] = diffusers_recipe.validation_loss(peer, unseen)
    write_json(folder / "training.json", taken | about)


def mirrored_windows(model: Any, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns windows of a part of the split (n, rows, columns), mirrored behind their own frames, and their users."""
    rows = model.dataset.rows(model.split[part])
    windows, frames = model.dataset.load(rows)[..., 0], model.dataset.frames[rows]
    columns = windows.shape[2]
    for window, n in zip(windows, frames, strict=True):
        window[:] = np.pad(window[:, :n], ((0, 0), (0, columns - n)), "reflect")
    return windows, model.dataset.user_ids[rows]


def draw_theirs(study: Study, run: Run) -> None:
    """Chooses solver, steps and guidance on validation windows as `evaluate.py --sweep` does; draws, and measures how
    long a window takes, compiled where that is faster.
    """
    import diffusers_recipe

    from mdiff_jax import load
    from mdiff_jax.evaluation import measures, sweep

    folder, model = study.output / run.name, load(study.pilot())
    config, users = configuration(study, run.contender, run.seed), len(model.users)
    peer = diffusers_recipe.read_peer(folder, config, users)
    size = config.sample.batch_size

    def draw(settings: diffusers_recipe.Settings, who: np.ndarray, seed: int) -> np.ndarray:
        one = lambda batch, i: diffusers_recipe.draw(peer, batch, settings, 10**6 * seed + i)  # noqa: E731
        return diffusers_recipe.in_batches(one, who, size)

    # ------------------------------------------------------------------- choose
    reference, validation = sweep.measure_validation(model)
    real, rows = measures.quick_figures(validation, validation), []
    for settings in diffusers_recipe.all_settings():
        who, began = np.repeat(np.arange(users), TRIAL_SAMPLES), time.perf_counter()
        windows = draw(settings, who, run.seed)
        seconds = {"seconds per image": (time.perf_counter() - began) / len(who)}
        generated = reference.measure(
            window_set(model, windows, recorded_frames(model, who, run.seed), who), overlaps=False
        )
        rows.append({"settings": settings._asdict()} | measures.quick_figures(validation, generated) | seconds)
    chosen = diffusers_recipe.Settings(**sweep.choose_settings(rows, real, "seconds per image")["settings"])

    # ------------------------------------------------------------------- draw
    who = np.repeat(np.arange(users), study.samples)
    windows, frames = draw(chosen, who, run.seed + 1), recorded_frames(model, who, run.seed + 1)
    write_files(model, windows, frames, who, run.seed, study.output / "samples" / run.name)

    # ------------------------------------------------------------------- time
    networks = {"eager": peer} | ({"compiled": peer.compiled()} if shutil.which("c++") else {})
    batch = np.arange(size) % users
    seconds = {
        way: fastest(lambda by=by: diffusers_recipe.draw(by, batch, chosen, run.seed)) / size
        for way, by in networks.items()
    }
    way = min(seconds, key=seconds.get)
    settings = f"{chosen.solver}, {chosen.steps} steps, guidance {chosen.scale:g}, {way}"
    write_speed(study, run, settings, seconds[way], ways=seconds, trials=rows)


def recorded_frames(model: Any, who: np.ndarray, seed: int) -> np.ndarray:
    """Returns for each of the users (n,) the frames of a training window of that user."""
    rows, random = model.dataset.rows(model.split["train"]), np.random.default_rng(seed)
    frames, users = model.dataset.frames[rows], model.dataset.user_ids[rows]
    return np.array([random.choice(frames[users == user]) for user in who])


def window_set(model: Any, windows: np.ndarray, frames: np.ndarray, who: np.ndarray) -> Any:
    """Returns windows as judges see them."""
    from mdiff_jax.evaluation import sample_folders
    from mdiff_jax.inference.drawn_windows import DrawnWindows, to_comparison_grid
    from mdiff_jax.metrics.reference import WindowSet

    seen = to_comparison_grid(DrawnWindows(windows, frames), model.dataset.metadata)
    return WindowSet(seen, who, frames=sample_folders.known_frames(model, frames))


def write_files(model: Any, windows: np.ndarray, frames: np.ndarray, who: np.ndarray, seed: int, folder: Path) -> None:
    """Writes windows as files like the recordings', as ours are, and a sheet."""
    from mdiff_jax.data import export, render
    from mdiff_jax.inference import sample_writer, sampling_jobs

    metadata, rows = model.dataset.metadata, {}
    suffix = export.image_suffix(metadata, None)
    shutil.rmtree(folder, ignore_errors=True)
    with atomic_folder(folder) as temporary:
        for index, user in enumerate(model.users):
            paths = []
            for i, row in enumerate(np.flatnonzero(who == index)):
                paths.append(temporary / user / f"{user}_seed{seed}_{i:04d}.{suffix}")
                export.write_window(paths[-1], windows[row][..., None], int(frames[row]), metadata)
            real = sampling_jobs.sheet_windows(model, *sampling_jobs.real_windows(model, user))
            shown = paths[: model.config.summary.grid_columns]
            rows[user] = (model.to_image(real), sample_writer.read_samples(shown))
        velocity, seconds = metadata["velocity"], sampling_jobs.window_seconds(model)
        render.plot_grid(temporary / "grid.png", rows, metadata["zero_doppler"], velocity=velocity, seconds=seconds)


# ----------------------------------------------------------------------------- one after the other


def judge(study: Study, run: Run) -> None:
    """Puts what was drawn through `evaluate.py`: ours in its own working directory, which has the pilot's split."""
    from mdiff_jax.evaluation.run import judge_samples

    root = study.pilot() if run.contender == "diffusers" else study.output / run.name
    judge_samples(root, study.output / "samples" / run.name)


def report_file(study: Study, run: Run) -> Path:
    """Returns where the report of a run lies."""
    theirs = run.contender == "diffusers"
    return (study.pilot() / "reports" / run.name if theirs else study.output / run.name) / "report.json"


def plan_tasks(study: Study, runs: Sequence[Run]) -> list[tuple[str, float, Path, Callable, tuple]]:
    """Returns (name, minutes that it is likely to take, file that says it is done, function, arguments) of all."""
    pilots = {study.pilot(): "scratch"} | {
        study.pilot(r.contender): r.contender for r in runs if r.contender == "student"
    }
    tasks = [(root.name, 4.0, root / "pace.json", run_pilot, (study, kind)) for root, kind in pilots.items()]
    for run in runs:
        folder, theirs = study.output / run.name, run.contender == "diffusers"
        train, draw = (train_theirs, draw_theirs) if theirs else (train_ours, draw_ours)
        minutes = run.minutes * (1 + 0.1 * len(study.rates) * theirs)
        tasks.append((f"{run.name}: training", minutes, folder / "training.json", train, (study, run)))
        tasks.append((f"{run.name}: drawing", 10.0 if theirs else 2.0, folder / "drawing.json", draw, (study, run)))
        tasks.append((f"{run.name}: judging", 2.0, report_file(study, run), judge, (study, run)))
    return tasks


def run_tasks(tasks: Sequence[tuple[str, float, Path, Callable, tuple]]) -> Iterator[str]:
    """Does what is not done yet, one after the other, each in a process of its own; yields the names."""
    missing = [task for task in tasks if not task[2].is_file()]
    for i, (name, _, _, function, arguments) in enumerate(missing):
        left = sum(minutes for _, minutes, *_ in missing[i:])
        print(f"[{i + 1} of {len(missing)}] {name}, about {left:.0f} min left of all", flush=True)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            process.submit(function, *arguments).result()
        yield name


# ----------------------------------------------------------------------------- table and plot


class Cell(NamedTuple):
    """A value and, where there is one, its range."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.value is None:
            return "–"
        digits = 1 if self.value >= 10 else 3
        shown = f"{self.value:.{digits}f}"
        return shown if self.low is None else f"{shown} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def over_seeds(cells: Sequence[Cell]) -> Cell:
    """Returns one cell as it is, of several the mean, lowest and highest."""
    values = [cell.value for cell in cells]
    if len(cells) == 1 or None in values:
        return cells[0]
    return Cell(float(np.mean(values)), min(values), max(values))


def read_cells(study: Study, run: Run) -> tuple[dict[str, Cell], dict[str, Cell]]:
    """Returns the figures and costs of a run, and the figures of real windows."""
    figures = {(f["metric"], f["judge"]): f for f in read_json(report_file(study, run), REMEDY)["figures"]}
    made, real = {}, {}
    for name, key in FIGURES.items():
        figure = figures.get(key, {})
        made[name], real[name] = (
            Cell(figure.get(of), *(figure.get(f"{of}_range") or ())) for of in ("generated", "real")
        )
    folder = study.output / run.name
    costs = read_json(folder / "training.json", REMEDY) | read_json(folder / "drawing.json", REMEDY)
    return made | {name: Cell(costs[name]) for name in COSTS}, real


def collect(study: Study, runs: Sequence[Run]) -> tuple[dict[tuple[str, float], dict[str, Cell]], dict[str, Cell]]:
    """Returns (contender, minutes) → its cells over seeds, and those of real windows."""
    columns, real = {}, {}
    for run in runs:
        made, real = read_cells(study, run)
        columns.setdefault((run.contender, run.minutes), []).append(made)
    means = {key: {name: over_seeds([c[name] for c in cells]) for name in cells[0]} for key, cells in columns.items()}
    return means, real


def format_table(columns: Mapping[tuple[str, float], Mapping[str, Cell]], real: Mapping[str, Cell]) -> str:
    """Returns a Markdown table with a line per figure and a column per contender and minutes."""
    heads = [f"{CONTENDERS[contender]}, {minutes:g} min" for contender, minutes in columns]
    lines = [f"| | {' | '.join(heads)} | real, unseen |", "|---" * (len(heads) + 2) + "|"]
    for name in (*FIGURES, *COSTS):
        cells = [str(cells[name]) for cells in columns.values()]
        lines.append(f"| {name} | {' | '.join(cells)} | {real.get(name, '')} |")
    return "\n".join(lines) + "\n"


def describe_runs(study: Study, runs: Sequence[Run]) -> str:
    """Returns a line for each run: steps, and how it drew."""
    lines = []
    for run in runs:
        trained, drawn = (read_json(study.output / run.name / f"{n}.json", REMEDY) for n in ("training", "drawing"))
        steps = trained["steps"]
        steps = ", ".join(f"{name} {n}" for name, n in steps.items()) if isinstance(steps, dict) else str(steps)
        rate = f", learning rate {trained['rate']:g}" if "rate" in trained else ""
        lines.append(f"- {run.name}: {steps} steps{rate}; drawn by {drawn['settings']}")
    return "\n".join(lines) + "\n"


def plot_figures(path: Path, columns: Mapping[tuple[str, float], Mapping[str, Cell]], real: Mapping[str, Cell]) -> None:
    """Plots a panel per figure over the minutes of training, a line per contender."""
    from matplotlib.figure import Figure

    from mdiff_jax.data import render

    shown = (*FIGURES, "windows a second")
    names = [name for name in shown if any(cells[name].value is not None for cells in columns.values())]
    rows = -(-len(names) // 4)
    figure = Figure(figsize=(11, 2.6 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, 4, squeeze=False).ravel()
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    for axis, name in zip(axes, names, strict=False):
        for contender in dict.fromkeys(contender for contender, _ in columns):
            own = [cells for (who, _), cells in columns.items() if who == contender]
            points = [(cells["training minutes"].value, cells[name]) for cells in own if cells[name].value is not None]
            points.sort(key=lambda point: point[0])
            if points:
                x, cells = zip(*points, strict=True)
                color, label = f"C{list(CONTENDERS).index(contender)}", CONTENDERS[contender]
                axis.plot(x, [c.value for c in cells], "o-", markersize=4, linewidth=1.2, color=color, label=label)
                ranges = [[c.value if end is None else end for end in (c.low, c.high)] for c in cells]
                axis.vlines(x, *zip(*ranges, strict=True), color=color, alpha=0.4)
        if name in real and real[name].value is not None:
            axis.axhline(real[name].value, color="#555555", linewidth=1, linestyle=":", label="real, unseen")
        axis.set_title(name, fontsize=8)
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=0 if name == "windows a second" else None)
        axis.tick_params(labelsize=7)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5, fontsize=8)
    figure.supxlabel("minutes of training", fontsize=8)
    render.save_figure(figure, path)


# ----------------------------------------------------------------------------- arguments


def listed(kind: Callable[[str], Any]) -> Callable[[str], tuple]:
    """Returns the type of an argument that is a list of such."""
    return lambda text: tuple(kind(part) for part in text.split(","))


def minutes_of(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text} is no number of minutes: give one above 0")
    return value


def parse(arguments: Sequence[str]) -> tuple[Study, list[Run]]:
    """Returns what is asked for; ours before diffusers', which trains as long."""
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=cli.given_path, required=True)
    parser.add_argument("--path", default="", help="folder of recordings, for a configuration that needs one")
    parser.add_argument("--config", default="gait_cpu", help="of ours; diffusers' network is of its decoder's shape")
    parser.add_argument("--minutes", type=listed(minutes_of), default=(10.0, 30.0))
    parser.add_argument("--seeds", type=listed(int), default=(0,))
    parser.add_argument("--contenders", type=listed(str), default=tuple(CONTENDERS))
    parser.add_argument("--samples", type=int, default=33, help="windows drawn of each user")
    parser.add_argument("--rates", type=listed(float), default=(1e-4, 3e-4, 1e-3), help="of learning, for diffusers")
    given = parser.parse_args(arguments)
    if strange := set(given.contenders) - set(CONTENDERS):
        raise InputError(f"--contenders names '{strange.pop()}': give any of {', '.join(CONTENDERS)}")
    if "diffusers" in given.contenders and not importlib.util.find_spec("diffusers"):
        raise InputError("diffusers is not installed: pip install -r benchmarks/requirements-peers.txt")
    load_config(given.config)
    study = Study(given.config, given.path, given.output, given.samples, given.rates)
    order = [name for name in CONTENDERS if name in given.contenders]
    return study, [Run(c, m, s) for m in sorted(given.minutes) for s in given.seeds for c in order]


def write_results(study: Study, runs: Sequence[Run]) -> str:
    """Writes the table and the plot of the runs that are finished; returns the table and what is below it."""
    columns, real = collect(study, runs)
    text = format_table(columns, real) + "\n" + describe_runs(study, runs)
    write_text(study.output / "table.md", text)
    values = {f"{who}, {minutes:g}": cells for (who, minutes), cells in columns.items()} | {"real": real}
    values = {column: {name: cell._asdict() for name, cell in cells.items()} for column, cells in values.items()}
    write_json(study.output / "table.json", values)
    plot_figures(study.output / "figures.png", columns, real)
    return text


def main() -> None:
    study, runs = parse(sys.argv[1:])
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # a GPU is shared with PyTorch
    huge_pages.ask()  # for all, as `mdiff` begins
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # where others work too, PyTorch's threads spin in vain
    study.output.mkdir(parents=True, exist_ok=True)
    for _ in run_tasks(plan_tasks(study, runs)):
        if finished := [run for run in runs if report_file(study, run).is_file()]:
            write_results(study, finished)
    print(f"{write_results(study, runs)}\nwritten to {study.output}: table.md, table.json, figures.png", flush=True)


if __name__ == "__main__":
    cli.guard(main)
