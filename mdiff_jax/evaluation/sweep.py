"""Sampling settings against figures, measured on the validation windows: which sampler, steps and guidance to use.

Each trial draws the same samples anew with other settings. Table, plot and figures lie in WORKDIR/sweeps; a sweep that
was interrupted goes on. What it finds best goes into WORKDIR/chosen.json, the defaults of sampling; each sweep starts
from what was chosen before.
"""

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mdiff_jax.config import lists_to_tuples
from mdiff_jax.evaluation import measures, plots, run
from mdiff_jax.inference.model import Model, load
from mdiff_jax.metrics import reference
from mdiff_jax.metrics.reference import MeasuredSet, Reference, WindowSet
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir, write_json

SWEEPS = ("weights", "guidance", "steps")
TOLERANCE = 0.02  # settings nearer to each other than this are alike: eight windows a user cannot tell them apart
FIGURES = ("accuracy", "recognised", "kernel distance", "plausible", "variety", "copies", "seconds per image")


def run_sweep(
    root: str | Path, kind: str, steps: list[int], samplers: list[str], scales: list[float], count: int
) -> str:
    """Runs what is missing of a sweep and returns its table, of all settings tried so far; see the module."""
    model, workdir = load(root), Workdir(root)
    makers = {"steps": step_trials(model, steps, samplers), "guidance": guidance_trials(scales)}
    trials = list((makers | {"weights": weight_trials(model)})[kind])
    stick, validation = measure_validation(model)
    before = json.loads(workdir.chosen.read_text()) if workdir.chosen.is_file() else {}
    about = {
        "count": count,
        "checkpoint_steps": [model.prior_step, model.step],
        "data_fingerprint": model.dataset.fingerprint,
        "chosen_before": {key: value for key, value in before.items() if key not in trials[0]},
    }
    path = workdir.sweeps / f"{kind}.json"
    done = read_finished_trials(path, about)
    real = measures.quick_figures(validation, validation)
    del real["kernel distance"]  # of a set to itself
    bar = tqdm(trials, desc=f"sweep of {kind}", unit="setting")
    for settings in bar:
        name = json.dumps(settings, sort_keys=True)
        if name not in done:
            bar.set_postfix_str(" ".join(str(v) for v in settings.values()))
            done[name] = {"settings": settings} | run_trial(root, stick, validation, settings, count)
            write_json(path, about | {"real": real, "trials": done})
    rows = sorted(done.values(), key=lambda row: list(row["settings"].values()))
    text = format_table(rows, real, validation.count())
    chosen = choose_settings(rows, real, "seconds per image" if kind == "steps" else "kernel distance")
    write_json(workdir.chosen, before | chosen["settings"])
    said = ", ".join(f"{key}={value}" for key, value in chosen["settings"].items())
    text += f"\nChosen, and written to {workdir.chosen}: {said}\n"
    draw = plots.plot_steps if kind == "steps" else plots.plot_frontier
    draw(workdir.sweeps / f"{kind}.png", rows, real)
    (workdir.sweeps / f"{kind}.md").write_text(text)
    return f"{text}\nwritten to {workdir.sweeps}/{kind}.md, .json and .png"


def step_trials(model: Model, steps: list[int], samplers: list[str]) -> Iterator[dict[str, Any]]:
    """Every sampler with every number of steps; the prior has as many, as far as it can."""
    most = {name: model.config[name].timesteps for name in ("prior", "decoder")}
    for method, n in itertools.product(samplers, steps):
        if n > most["decoder"]:
            raise InputError(f"{n} steps: this model has {most['decoder']} timesteps")
        yield {
            "sample.sampler": method,
            "decoder.sample_timesteps": n,
            "prior.sample_timesteps": min(n, most["prior"]),
        }


def weight_trials(model: Model) -> Iterator[dict[str, Any]]:
    """The last checkpoint and the one with the least validation loss, each with every average of the parameters."""
    for checkpoint, decay in itertools.product(("latest", "best"), model.config.ema_decays):
        yield {"sample.checkpoint": checkpoint, "sample.ema_decay": decay}


def guidance_trials(scales: list[float]) -> Iterator[dict[str, Any]]:
    """Every pair of scales; and the larger ones for the middle of the noise levels alone."""
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
    root: str | Path, stick: Reference, validation: MeasuredSet, settings: dict[str, Any], count: int
) -> dict[str, float]:
    """Figures of `count` samples a user. The pace is that of the second half, without compilation."""
    model = load(root, lists_to_tuples(settings))
    requests = model.requests(model.users, range(count))
    model.config.sample.batch_size = -(-len(requests) // 2)
    chunks, ends = [], []
    for _, windows in model.run(requests, model.config.seed):
        chunks.append(windows)
        ends.append(time.perf_counter())
    windows = reference.to_grayscale(np.concatenate(chunks))
    made = stick.measure(WindowSet(windows, np.array([r.index for r in requests])), parts=False)
    pace = {"seconds per image": (ends[-1] - ends[0]) / len(chunks[-1])}
    return measures.quick_figures(validation, made) | pace


def measure_validation(model: Model) -> tuple[Reference, MeasuredSet]:
    """Judges trained on the training windows, and the validation windows measured by them."""
    if not model.split["validation"]:
        raise InputError("the split has no validation windows: a sweep needs them, see data.fractions")
    stick = reference.make_reference(
        run.real_window_set(model, "train").in_order(), model.dataset.metadata["zero_doppler"]
    )
    return stick, stick.measure(run.real_window_set(model, "validation").in_order(), parts=False)


def shortfall(row: dict[str, Any], real: dict[str, float]) -> float:
    """How far below real windows, as a mean share over identity, plausibility, variety and novelty; 0 is as good."""
    below = [max(0.0, 1 - row[name] / max(real[name], 1e-9)) for name in ("accuracy", "plausible", "variety")]
    return float(np.mean([*below, row["copies"]]))


def choose_settings(rows: list[dict[str, Any]], real: dict[str, float], least: str) -> dict[str, Any]:
    """Of the settings that are about as near to real windows as the best, in shortfall and in kernel distance, the one
    with the least of a figure.
    """
    for figure in (lambda row: shortfall(row, real), lambda row: row["kernel distance"]):
        best = min(map(figure, rows))
        rows = [row for row in rows if figure(row) <= best + TOLERANCE]
    return min(rows, key=lambda row: row[least])


def read_finished_trials(path: Path, about: dict[str, Any]) -> dict[str, dict]:
    """Trials of the same sweep that were finished before."""
    if not path.is_file():
        return {}
    before = json.loads(path.read_text())
    return before["trials"] if all(before.get(key) == value for key, value in about.items()) else {}


def format_table(rows: list[dict[str, Any]], real: dict[str, float], count: int) -> str:
    """Markdown: a line a setting, and the real validation windows."""
    names = list(rows[0]["settings"])
    heads = [name.rpartition(".")[2].replace("_", " ") for name in names]
    heads = [f"{name.split('.')[0]} {h}" if heads.count(h) > 1 else h for name, h in zip(names, heads, strict=True)]
    lines = ["| " + " | ".join([*heads, *FIGURES]) + " |"]
    lines.append("|" + "---|" * (len(heads) + len(FIGURES)))
    for row in rows:
        cells = [str(value) for value in row["settings"].values()] + [f"{row[f]:.3f}" for f in FIGURES]
        lines.append("| " + " | ".join(cells) + " |")
    cells = [f"{count} real validation windows", *[""] * (len(heads) - 1)]
    lines.append("| " + " | ".join([*cells, *(f"{real[f]:.3f}" if f in real else "" for f in FIGURES)]) + " |")
    return "\n".join(lines) + "\n"
