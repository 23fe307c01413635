"""Judges a folder of samples: reads it, measures it, and says what that means."""

import functools
import os
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import sklearn

from mdiff_jax.data.files import describe_ignored
from mdiff_jax.evaluation import (
    blind_sheet,
    charts,
    file_windows,
    html_report,
    measures,
    report_figures,
    sample_folders,
    user_measures,
)
from mdiff_jax.evaluation.report import state_verdict, warn_of_leak
from mdiff_jax.evaluation.results import Report
from mdiff_jax.inference import provenance
from mdiff_jax.inference.loading import load
from mdiff_jax.inference.model import Model
from mdiff_jax.metrics import augmentation_utility, cnn_classifier, comparison, identity, simulator_truth
from mdiff_jax.metrics.reference import FeatureExtractor, MeasuredSet, Reference, WindowSet, make_reference
from mdiff_jax.metrics.simulator_truth import SimulatorTruth
from mdiff_jax.runtime import cli
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.progress import doing
from mdiff_jax.runtime.ranges import show
from mdiff_jax.runtime.version import VERSION
from mdiff_jax.runtime.workdir import Workdir

# Trained on real windows and others; the convolutional one then sees them unaugmented.
AUGMENTATION_JUDGES: dict[str, Callable[..., identity.Judge] | None] = {
    "none": None,
    "linear": identity.fit_linear,
    "convolutional": functools.partial(cnn_classifier.fit_cnn, augment=False),
}


def judge_samples(
    root: str | Path, samples: Path | None, augmentation: str = "none", own: FeatureExtractor | None = None
) -> str:
    """Evaluates a folder of images, by default the newest samples, by the working directory's data, and writes the
    report; returns its verdict and where the files are. Arguments are those of `evaluate`.
    """
    with doing("reading the model"):
        workdir, model = Workdir(root), load(root)
    model.require_recordings()
    folder = sample_folders.find_newest_samples(workdir.samples) if samples is None else samples
    target = report_folder(workdir, model, folder)
    report = evaluate(model, folder, augmentation, own)
    names = [path.name for path in report.save(target)]
    first, *others = names
    return f"{report}\n\nreport  {target / first}\nbeside  {', '.join(others)}"


def evaluate(
    model: Model,
    folder: Path,
    augmentation: str = "none",
    own: FeatureExtractor | None = None,
    name: str | None = None,
) -> Report:
    """Judges a folder of images by a model's data; `name` stands for the folder in the report.

    `augmentation` is the judge that is trained on real windows and others to see whether they help: 'none', 'linear'
    (minutes) or 'convolutional' (hours). Distances are also taken in the features of the function `own`: windows
    (N, F, T) in [-1, 1] → (N, D).
    """
    # ------------------------------------------------------------------- read, before anything is trained
    if augmentation not in AUGMENTATION_JUDGES:
        raise InputError(f"augmentation is {show(augmentation)}: give one of {', '.join(AUGMENTATION_JUDGES)}")
    model.require_recordings()
    samples = sample_folders.read_sample_set(model, folder)
    train, unseen = (sample_folders.real_window_set(model, name) for name in ("train", "test"))

    # ------------------------------------------------------------------- measure
    reference = make_reference(
        train.sort_by_content(),
        model.dataset.metadata["zero_doppler"],
        own=own,
        enrolled=sample_folders.enrolled_window_set(model),
    )
    with doing("measuring the windows"):
        test, generated = (reference.measure(s.sort_by_content()) for s in (unseen, samples))
    with doing("measuring the files"):
        test, generated, source = file_windows.measure_files(model, folder, reference, test, generated)

    # ------------------------------------------------------------------- judge
    with doing("comparing"):
        figures = measures.all_figures(reference, test, generated, load_truth(model))
        names, by_user = (*model.users, *model.enrolled), user_measures.figures_by_user(reference, test, generated)
    fit = AUGMENTATION_JUDGES[augmentation]
    known = generated.window_set.pick(generated.window_set.users < reference.num_users)
    sets = reference.train, test.window_set, known
    points = augmentation_utility.augmentation_curve(*sets, fit) if fit else []
    colormap = model.dataset.metadata["colormap"] or "gray"
    about = describe_method(model, name or str(folder), generated, augmentation)
    return Report(
        verdict=state_verdict(figures, points, reference.verdict_judge),
        warnings=[*collect_warnings(model, test), *warn_of_samples(model, folder, samples)],
        figures=figures,
        users={names[user]: of_user for user, of_user in by_user.items()},
        points=points,
        copies=list_suspected_copies(reference, test, generated),
        about=about | {"files of real windows": source},
        checkpoint_steps=[model.prior_step, model.step],
        pictures=report_figures.collect_pictures(names, colormap, reference, test, generated, points),
        blind=blind_sheet.read_blind_pictures(model, folder, test, generated),
        training=charts.training_panels(html_report.read_training(Workdir(model.root))) if model.root else (),
        origin=html_report.describe_origin(model, folder),
    )


def report_folder(workdir: Workdir, model: Model, folder: Path) -> Path:
    """Returns where the report goes: the working directory for the model's own samples, WORKDIR/reports/NAME for any
    other folder NAME, so that the model's report stays. InputError where it cannot be written.
    """
    files = [item.file for item in sample_folders.scan_samples(model, folder)]
    own = sample_folders.is_own(model, folder, files)
    target = workdir.root if own else workdir.root / "reports" / folder.resolve().name
    there = next(path for path in (target, *target.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InputError(f"the report cannot be written into '{there}': allow writing there")
    return target


def describe_method(model: Model, samples: str, generated: MeasuredSet, augmentation: str) -> dict[str, str]:
    """Returns how the figures were obtained: name of an aspect → text."""
    split, present = model.split, np.unique(generated.window_set.users)
    missing = [name for i, name in enumerate(model.users) if i not in present]
    walks = len(np.unique(sample_folders.real_window_set(model, "test").independent_groups()))
    newcomers = [name for i, name in enumerate(model.enrolled, len(model.users)) if i in present]
    return {
        "samples": f"{samples}, {generated.count()} windows of {len(present)} of {len(model.users)} users"
        + (f" and those enrolled since, {', '.join(newcomers)}" if newcomers else "")
        + (f", none of {', '.join(missing)}" if missing else ""),
        "real windows": f"{len(split['train'])} for training the judges, {len(split['test'])} unseen, of {walks} walks",
        "test windows that leak from training": "unknown"
        if (share := sample_folders.leaking_share(model)) is None
        else f"{share:.0%}",
        "judges": "trained on the training split alone, seeds 0 (linear) and 1 (convolutional)",
        "augmentation": augmentation,
        "block width": "measured"
        if "frames" in generated.physics
        else "not measured: windows this narrow show no blocks",
        "versions": f"mdiff_jax {VERSION}, jax {jax.__version__}, scikit-learn {sklearn.__version__}",
    }


def load_truth(model: Model) -> SimulatorTruth | None:
    """Returns the true speeds of the users if they are synthetic walkers, else None."""
    data = model.config.data
    if data.kind != "walkers":
        return None
    return simulator_truth.simulator_truth(
        data.walkers.num_users, data.walkers.seed, model.dataset.metadata["velocity"]
    )


def collect_warnings(model: Model, test: MeasuredSet) -> list[str]:
    """Returns a sentence for everything that makes the figures less trustworthy."""
    warnings = warn_of_leak(sample_folders.leaking_share(model))
    if comparison.halves_overlap(test):
        halves = "Halves of the unseen windows share pixels, so real ones seem nearer to each other: record more"
        warnings.append(halves)
    return warnings


def warn_of_samples(model: Model, folder: Path, samples: WindowSet) -> list[str]:
    """Returns a sentence for everything about the samples that the figures would not show."""
    record, warnings = provenance.read_record(folder) or {}, []
    if not record.get("complete", True):
        warnings.append(cli.name_commands("The samples are unfinished: repeat the command of sample.py"))
    steps = [record.get(name) for name in ("prior_checkpoint_step", "checkpoint_step")]
    if record and model.params and steps != (now := [model.prior_step, model.step]):
        warnings.append(f"The samples were made at steps {steps} of prior and decoder, the model is at {now}")
    student = record.get("student_checkpoint_step")
    if model.params and student not in (None, model.student_step):
        here = f"now at {model.student_step}" if model.student else "which does not draw now"
        warnings.append(f"The samples were made by the decoder's student at step {student}, {here}")
    if twice := len(samples.windows) - len(np.unique(samples.windows.reshape(len(samples.windows), -1), axis=0)):
        warnings.append(f"{twice} of {len(samples.windows)} generated windows repeat another one exactly")
    if ignored := describe_ignored(folder, [folder / name for name in (*samples.files, *provenance.FILES)]):
        warnings.append(ignored)
    return warnings


def list_suspected_copies(reference: Reference, test: MeasuredSet, generated: MeasuredSet) -> list[dict]:
    """Returns the files that look like copies, the most similar first, and the training files they look like."""
    whole, part = comparison.suspected_copies(test, generated)
    copies = [
        (float(value[i]), str(generated.window_set.files[i]), str(reference.originals.files[near[i]]), kind)
        for kind, which, value, near in (
            ("whole", whole, generated.similarity, generated.nearest),
            ("part", part, generated.overlap_similarity, generated.overlap_nearest),
        )
        for i in np.flatnonzero(which)
    ]
    return [{"file": f, "training_file": t, "ncc": v, "kind": k} for v, f, t, k in sorted(copies, reverse=True)]
