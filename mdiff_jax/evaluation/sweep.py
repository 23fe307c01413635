"""Compares sampling settings by figures on validation windows: which weights, sampler, steps and guidance to use.

Each trial samples with the same seed and other settings. Table, plot and figures lie in WORKDIR/sweeps; an interrupted
sweep resumes. The best settings go into WORKDIR/chosen.json, the defaults of sampling; each sweep starts from the
settings chosen before, as far as they still hold (`inference.chosen_settings`).
"""

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mdiff_jax.config import from_plain_dict, lists_to_tuples, to_plain_dict
from mdiff_jax.evaluation import measures, plots, sample_folders
from mdiff_jax.evaluation.report import LEFT_OUT
from mdiff_jax.inference import chosen_settings
from mdiff_jax.inference.drawn_windows import to_comparison_grid
from mdiff_jax.inference.loading import load
from mdiff_jax.inference.model import Model
from mdiff_jax.metrics.reference import MeasuredSet, Reference, WindowSet, make_reference, to_grayscale
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.progress import Bar, doing
from mdiff_jax.runtime.workdir import Workdir, read_json, write_json, write_text

SWEEP_KINDS = ("weights", "guidance", "steps")
TOLERANCE = 0.02  # of a figure: smaller differences are not significant with eight windows a user
SOMETIMES_ABSENT = {"kernel distance", "variety"}  # where there are too few windows
TABLE_FIGURES = ("accuracy", "recognised", "kernel distance", "plausible", "variety", "copies", "seconds per image")


def run_sweep(
    root: str | Path, kind: str, steps: list[int], samplers: list[str], scales: list[float], count: int
) -> str:
    """Runs the missing trials of a sweep, writes its files, and returns the table of all settings tried so far.

    `kind` is one of SWEEP_KINDS; `steps` and `samplers` belong to 'steps', `scales` to 'guidance'; `count` is the
    number of samples of each user and setting.
    """
    if count < 1:
        raise InputError(f"sweep_count is {count}: give at least 1")
    model, workdir = load(root), Workdir(root)
    model.require_recordings()
    makers = {"steps": step_trials(model, steps, samplers), "guidance": guidance_trials(scales)}
    if not (trials := list((makers | {"weights": weight_trials(model)})[kind])):
        raise InputError(f"the sweep of {kind} has nothing to try: give steps and samplers, or scales")
    values = to_plain_dict(from_plain_dict(workdir.read_config()))
    chosen_before = chosen_settings.read_chosen(workdir.chosen, values)
    conditions = {
        "count": count,
        "checkpoint_steps": [model.prior_step, model.step],
        "data_fingerprint": model.dataset.fingerprint,
        "chosen_before": {key: value for key, value in chosen_before.items() if key not in trials[0]},
    }
    path = workdir.sweeps / f"{kind}.json"
    finished = read_finished_trials(path, conditions)
    with doing("measuring validation windows"):
        reference, validation = measure_validation(model)
    real = measures.quick_figures(validation, validation)
    real.pop("kernel distance", None)  # of a set to itself
    bar = Bar(trials, desc=f"sweep of {kind}", unit="setting")
    for settings in bar:
        name = json.dumps(settings, sort_keys=True)
        if name not in finished:
            bar.set_postfix_str(" ".join(str(v) for v in settings.values()))
            finished[name] = {"settings": settings} | run_trial(root, reference, validation, settings, count)
            write_json(path, conditions | {"real": real, "trials": finished})
    rows = sorted(finished.values(), key=lambda row: list(row["settings"].values()))
    text = format_table(rows, real, validation.count())
    chosen = choose_settings(rows, real, "seconds per image" if kind == "steps" else "kernel distance")
    chosen_settings.write_chosen(workdir.chosen, values, chosen_before | chosen["settings"])
    settings = ", ".join(f"{key}={value}" for key, value in chosen["settings"].items())
    if absent := [name for name in TABLE_FIGURES if any(name not in row for row in rows)]:
        text += f"\n{LEFT_OUT}: {', '.join(absent)} left out, two windows (of a user) are needed, there are fewer\n"
    text += f"\nChosen, and written to {workdir.chosen}: {settings}\n"
    plot = plots.plot_steps if kind == "steps" else plots.plot_frontier
    plot(workdir.sweeps / f"{kind}.png", rows, real)
    write_text(workdir.sweeps / f"{kind}.md", text)
    return f"{text}\nwritten to {workdir.sweeps}/{kind}.md, .json and .png"


def step_trials(model: Model, steps: list[int], samplers: list[str]) -> Iterator[dict[str, Any]]:
    """Yields every sampler with every number of steps; the prior takes as many, up to its own number of timesteps."""
    most = {name: model.config[name].timesteps for name in ("prior", "decoder")}
    for method, n in itertools.product(samplers, steps):
        if n > most["decoder"]:
            raise InputError(f"{n} steps: this model has {most['decoder']} timesteps, give no more in --sweep_steps")
        yield {
            "sample.sampler": method,
            "decoder.sample_timesteps": n,
            "prior.sample_timesteps": min(n, most["prior"]),
        }


def weight_trials(model: Model) -> Iterator[dict[str, Any]]:
    """Yields the last checkpoint and the one with the least validation loss, each with every average of parameters."""
    for checkpoint, decay in itertools.product(("latest", "best"), model.config.ema_decays):
        yield {"sample.checkpoint": checkpoint, "sample.ema_decay": decay}


def guidance_trials(scales: list[float]) -> Iterator[dict[str, Any]]:
    """Yields every pair of scales; and the decoder's scales above 1 for the middle of the noise levels alone."""
    for prior, decoder in itertools.product(scales, scales):
        yield {"sample.prior_cond_scale": prior, "sample.cond_scale": decoder, "sample.guidance_interval": []}
    for decoder in scales:
        if decoder > 1:
            yield {
                "sample.prior_cond_scale": 1.0,
                "sample.cond_scale": decoder,
                "sample.guidance_interval": [-3.0, 3.0],
            }


def run_trial(
    root: str | Path, reference: Reference, validation: MeasuredSet, settings: dict[str, Any], count: int
) -> dict[str, float]:
    """Returns figures of `count` samples a user; seconds per image are of the second half, without compilation."""
    model = load(root, {"sample.teacher": True, **lists_to_tuples(settings)})  # whose settings these are
    requests = model.requests(model.users, range(count))
    model.config.sample.batch_size = -(-len(requests) // 2)
    chunks, ends = [], []
    for _, drawn in model.run(requests, model.config.seed):
        chunks.append(drawn)
        ends.append(time.perf_counter())
    metadata, frames = model.dataset.metadata, np.concatenate([drawn.frames for drawn in chunks])
    windows = np.concatenate([to_grayscale(to_comparison_grid(drawn, metadata)) for drawn in chunks])
    users = np.array([r.index for r in requests])
    known = sample_folders.known_frames(model, frames)
    generated = reference.measure(WindowSet(windows, users, frames=known), overlaps=False)
    seconds = {"seconds per image": (ends[-1] - ends[0]) / len(chunks[-1].frames)}
    return measures.quick_figures(validation, generated) | seconds


def measure_validation(model: Model) -> tuple[Reference, MeasuredSet]:
    """Returns judges trained on the training windows, and the validation windows measured by them; InputError if there
    are none.
    """
    train, validation = (
        sample_folders.real_window_set(model, name).sort_by_content() for name in ("train", "validation")
    )
    reference = make_reference(train, model.dataset.metadata["zero_doppler"])
    return reference, reference.measure(validation, overlaps=False)


def shortfall(row: dict[str, Any], real: dict[str, float]) -> float:
    """Returns how far a setting falls below real windows: mean share over identity, plausibility, variety and novelty,
    as far as they are measured; 0 is as good as real.
    """
    names = [name for name in ("accuracy", "plausible", "variety") if name in row and name in real]
    below = [max(0.0, 1 - row[name] / max(real[name], 1e-9)) for name in names]
    return float(np.mean([*below, row["copies"]]))


def choose_settings(rows: list[dict[str, Any]], real: dict[str, float], least: str) -> dict[str, Any]:
    """Returns, of the settings whose shortfall and then kernel distance are within TOLERANCE of the best, the one with
    the smallest value of the figure `least`. A distance that is not measured decides nothing.
    """
    for figure in (lambda row: shortfall(row, real), lambda row: row.get("kernel distance", 0.0)):
        best = min(map(figure, rows))
        rows = [row for row in rows if figure(row) <= best + TOLERANCE]
    return min(rows, key=lambda row: row.get(least, 0.0))


def read_finished_trials(path: Path, conditions: dict[str, Any]) -> dict[str, dict]:
    """Returns the finished trials of an earlier sweep under the same conditions, by settings."""
    before = read_json(path, "remove it and repeat the sweep") if path.exists() else {}
    if not before or any(before.get(key) != value for key, value in conditions.items()):
        return {}
    trials = before.get("trials")
    names = {"settings", *TABLE_FIGURES} - SOMETIMES_ABSENT
    if not isinstance(trials, dict) or not all(
        isinstance(row, dict) and names <= row.keys() for row in trials.values()
    ):
        raise InputError(f"{path} cannot be read (its trials are incomplete): remove it and repeat the sweep")
    return trials


def format_table(rows: list[dict[str, Any]], real: dict[str, float], count: int) -> str:
    """Returns a Markdown table with a line per setting, and one for the `count` real validation windows."""
    names = list(rows[0]["settings"])
    heads = [name.rpartition(".")[2].replace("_", " ") for name in names]
    heads = [f"{name.split('.')[0]} {h}" if heads.count(h) > 1 else h for name, h in zip(names, heads, strict=True)]
    lines = ["| " + " | ".join([*heads, *TABLE_FIGURES]) + " |"]
    lines.append("|" + "---|" * (len(heads) + len(TABLE_FIGURES)))
    for row in rows:
        cells = [str(value) for value in row["settings"].values()] + [
            f"{row[f]:.3f}" if f in row else LEFT_OUT for f in TABLE_FIGURES
        ]
        lines.append("| " + " | ".join(cells) + " |")
    cells = [f"{count} real validation windows", *[""] * (len(heads) - 1)]
    lines.append("| " + " | ".join([*cells, *(f"{real[f]:.3f}" if f in real else "" for f in TABLE_FIGURES)]) + " |")
    return "\n".join(lines) + "\n"
