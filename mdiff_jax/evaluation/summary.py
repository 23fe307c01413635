"""Summary at the end of training: samples of each user, a sheet beside real windows, and a first figure of identity."""

import contextlib
import shutil
import time
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from mdiff_jax.data import render
from mdiff_jax.evaluation import charts, html_report, report, report_figures, sample_folders
from mdiff_jax.evaluation.calibration import calibrate
from mdiff_jax.inference.loading import load
from mdiff_jax.inference.model import Model
from mdiff_jax.inference.provenance import default_folder
from mdiff_jax.inference.sample_writer import write_samples
from mdiff_jax.metrics import bootstrap, identity, kinematics
from mdiff_jax.metrics.comparison import IDENTITY, Figure
from mdiff_jax.metrics.reference import LINEAR_JUDGE, WindowSet
from mdiff_jax.runtime import cli, parallel
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.progress import doing
from mdiff_jax.runtime.workdir import Workdir, read_json, write_json


def summarize_run(root: str | Path) -> str:
    """Samples each user into the working directory, writes grid.png, summary.json and report.html, returns the summary.

    Of more than `summary.max_users` users so many, from first to last, stand for all. Several processes sample
    together; the first does the rest, the others return ''.
    """
    # ------------------------------------------------------------------- sample
    parallel.wait_for_all("the last stage is saved")
    with doing("reading the model"):
        workdir, model = Workdir(root), load(root)
    model.require_recordings()
    count, seed = model.config.sample.num_samples_per_user, model.config.seed
    folder = default_folder(model, workdir.samples, seed)
    shown = render.spread_windows(np.arange(len(model.users)), model.config.summary.max_users)
    model = calibrate(model, shown, workdir)
    if model.student:  # the decoder, for --teacher
        calibrate(load(root, {"sample.teacher": True}), shown, workdir)
    names = tuple(model.users[i] for i in shown)
    began = time.perf_counter()
    files = write_samples(model, names, count, seed, folder)
    seconds = (time.perf_counter() - began) / len(files)
    if not parallel.is_first():
        return ""
    shutil.copyfile(folder / "grid.png", workdir.root / "grid.png")

    # ------------------------------------------------------------------- identity
    generated = sample_folders.read_sample_set(model, folder)
    train, test = (sample_folders.real_window_set(model, name, shown) for name in ("train", "test"))
    with doing("teaching a linear judge"):
        judge = identity.fit_linear(train.windows, np.searchsorted(shown, train.users), seed=0)
        accuracy = measure_accuracy(judge, generated, test, shown)
    figures = {
        "identity_real_test": accuracy.real,
        "identity_generated": accuracy.generated,
        "chance": 1.0 / len(names),
        "leaking_test_windows": sample_folders.leaking_share(model),
        "windows_train": len(train.windows),
        "windows_test": len(test.windows),
        "windows_generated": len(generated.windows),
        "seconds_per_image": seconds,
        "decoder_sample_timesteps": model.decoder_steps,
    }
    write_json(workdir.root / "summary.json", figures)
    if not is_evaluated(workdir, model):
        with doing("drawing the report"):
            write_first_page(workdir, model, folder, accuracy, generated, test)
    return format_summary(figures, names, root, workdir, folder)


def measure_accuracy(judge: identity.Judge, generated: WindowSet, test: WindowSet, shown: np.ndarray) -> Figure:
    """Returns the accuracy of a judge who knows the users `shown`, in this order, on generated and on real windows."""
    sets = (generated, test)
    correct = [judge.probabilities(s.windows).argmax(1) == np.searchsorted(shown, s.users) for s in sets]
    ranges = [bootstrap.bootstrap_interval(c, s.independent_groups(), 0) for c, s in zip(correct, sets, strict=True)]
    means, note = [float(c.mean()) for c in correct], f"chance {1 / len(shown):.2f}"
    reliable = not identity.is_too_weak(means[1], len(shown))
    return Figure(IDENTITY, "accuracy", means[0], means[1], note, ranges[0], ranges[1], LINEAR_JUDGE, reliable)


def is_evaluated(workdir: Workdir, model: Model) -> bool:
    """Returns whether the working directory holds the report of an evaluation of these checkpoints, which says more."""
    with contextlib.suppress(InputError):  # a damaged report is none
        steps = read_json(workdir.root / "report.json", "").get("checkpoint_steps")
        return steps == [model.prior_step, model.step] and (workdir.root / html_report.FILE).is_file()
    return False


def write_first_page(
    workdir: Workdir, model: Model, folder: Path, accuracy: Figure, generated: WindowSet, test: WindowSet
) -> None:
    """Writes report.html with what is known at the end of training."""
    users = np.unique(generated.users).tolist()
    windows = {
        model.users[user]: tuple(s.windows[s.users == user] for s in (test, generated))
        for user in render.spread_rows(users)
    }
    colormap, zero = (model.dataset.metadata[name] for name in ("colormap", "zero_doppler"))
    ask = f"Ask python evaluate.py --workdir={quote(str(workdir.root))}"
    page = html_report.Page(
        title="A first look at the samples",
        verdict=[
            report.Answer(report.JUDGED, report.judges_sentence([accuracy])),
            report.Answer(IDENTITY, report.identity_sentence([accuracy], LINEAR_JUDGE)),
            report.Answer("Are they possible, are they new?", cli.name_commands(ask)),
        ],
        warnings=report.warn_of_leak(sample_folders.leaking_share(model)),
        figures=[accuracy],
        sheet=report_figures.make_sheet(windows, colormap or "gray"),
        zero_doppler=kinematics.ZERO_DOPPLER if zero is None else zero,
        num_users=len(model.users),
        training=charts.training_panels(html_report.read_training(workdir)),
        tables=html_report.describe_origin(model, folder),
    )
    html_report.write_page(workdir.root / html_report.FILE, page)


def format_summary(
    figures: dict[str, Any], users: tuple[str, ...], root: str | Path, workdir: Workdir, folder: Path
) -> str:
    """Returns the lines that training ends with."""
    f = figures
    leak = "".join(f"\n{warning}" for warning in report.warn_of_leak(f["leaking_test_windows"] or 0.0))
    return f"""
Is it that person? A linear classifier that shares nothing with the model, trained on {f["windows_train"]} real windows,
identifies the right one of {len(users)} users (chance {f["chance"]:.1%}) for
    {f["identity_real_test"]:6.1%} of {f["windows_test"]} real windows of walks it has not seen
    {f["identity_generated"]:6.1%} of {f["windows_generated"]} generated windows{leak}
{f["seconds_per_image"]:.2f} s an image ({f["decoder_sample_timesteps"]} steps, compilation included)

report       {workdir.root / html_report.FILE}
picture      {workdir.root / "grid.png"}
samples      {folder}
figures      {workdir.root / "summary.json"}
checkpoints  {workdir.root}/{{encoder,prior,decoder}}/checkpoints

Is it possible, is it new?
    python evaluate.py --workdir={quote(str(root))}
More windows of a user:
    python sample.py --workdir={quote(str(root))} --user_ids={quote(users[0])} --num_samples_per_user=64"""
