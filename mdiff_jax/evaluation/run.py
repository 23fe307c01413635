"""Judges a folder of samples: reads it, measures it, writes report.md, report.json and figures."""

import functools
from pathlib import Path

import jax
import numpy as np
import sklearn

from mdiff_jax.data import sources, splits
from mdiff_jax.data.examples import read_examples
from mdiff_jax.evaluation import measures, report, report_figures
from mdiff_jax.inference import user_windows
from mdiff_jax.inference.model import Model, load
from mdiff_jax.metrics import augmentation_utility, cnn_classifier, comparison, identity, simulator_truth
from mdiff_jax.metrics.reference import (
    FeatureExtractor,
    MeasuredSet,
    Reference,
    WindowSet,
    make_reference,
    to_grayscale,
)
from mdiff_jax.metrics.simulator_truth import SimulatorTruth
from mdiff_jax.runtime.array_types import Windows
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.version import VERSION
from mdiff_jax.runtime.workdir import Workdir, write_json

AUGMENTATION_JUDGES = {  # trained on real windows and others; the convolutional one then sees them unaugmented
    "none": None,
    "linear": identity.fit_linear,
    "convolutional": functools.partial(cnn_classifier.fit_cnn, augment=False),
}


def judge_samples(
    root: str | Path, samples: Path | None, augmentation: str = "none", own: FeatureExtractor | None = None
) -> str:
    """Judges a folder of images against the working directory's data; returns the report and where the files are.

    `augmentation` is the judge that is trained on real windows and others to see whether they help: 'none', 'linear'
    (minutes) or 'convolutional' (hours). Distances are also taken in the features of the function `own`: windows
    (N, F, T) in [-1, 1] → (N, D).
    """
    # ------------------------------------------------------------------- read and measure
    workdir, model = Workdir(root), load(root)
    folder = find_newest_samples(workdir.samples) if samples is None else samples
    reference = make_reference(
        real_window_set(model, "train").sort_by_content(), model.dataset.metadata["zero_doppler"], own=own
    )
    test, generated = (
        reference.measure(s.sort_by_content()) for s in (real_window_set(model, "test"), read_sample_set(model, folder))
    )

    # ------------------------------------------------------------------- judge
    figures = measures.all_figures(reference, test, generated, load_truth(model))
    users = {model.users[user]: of_user for user, of_user in measures.figures_by_user(test, generated).items()}
    fit = AUGMENTATION_JUDGES[augmentation]
    sets = reference.train, test.window_set, generated.window_set
    points = augmentation_utility.augmentation_curve(*sets, fit) if fit else []
    about = describe_method(model, folder, generated, augmentation)

    # ------------------------------------------------------------------- write
    verdict, warnings = report.state_verdict(figures, points, reference.verdict_judge), collect_warnings(model, test)
    text = report.format_markdown(verdict, figures, users, points, about, warnings)
    workdir.root.joinpath("report.md").write_text(text)
    contents = {
        "about": about,
        "warnings": warnings,
        "verdict": verdict,
        "figures": [{"name": f.name} | f._asdict() | {"note": report.format_note(f)} for f in figures],
        "users": {user: [{"name": f.metric} | f._asdict() for f in of_user] for user, of_user in users.items()},
        "confusion": {
            title: table.tolist() for title, table in report_figures.confusion_tables(test, generated).items()
        },
        "augmentation": [p._asdict() for p in points],
        "suspected_copies": list_suspected_copies(reference, test, generated),
    }
    write_json(workdir.root / "report.json", contents)
    colormap = model.dataset.metadata["colormap"] or "gray"
    plots = report_figures.plot_report_figures(workdir.root, model.users, colormap, reference, test, generated, points)
    return f"{text}\nwritten to {workdir.root}: report.md, report.json, {', '.join(plots)}"


def describe_method(model: Model, folder: Path, generated: MeasuredSet, augmentation: str) -> dict[str, str]:
    """Returns how the figures were obtained: name of an aspect → text."""
    split, present = model.split, np.unique(generated.window_set.users)
    missing = [name for i, name in enumerate(model.users) if i not in present]
    walks = len(np.unique(real_window_set(model, "test").independent_groups()))
    return {
        "samples": f"{folder}, {generated.count()} windows of {len(present)} of {len(model.users)} users"
        + (f", none of {', '.join(missing)}" if missing else ""),
        "real windows": f"{len(split['train'])} for training the judges, {len(split['test'])} unseen, of {walks} walks",
        "test windows that leak from training": "unknown"
        if (share := leaking_share(model)) is None
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
    share, warnings = leaking_share(model), []
    if share is None:
        warnings.append("Whether test windows overlap training windows is unknown: the order in time is")
    elif share:
        leak = "of the test windows share pixels with a training window: figures are too high"
        warnings.append(f"THE SPLIT LEAKS: {share:.0%} {leak}")
    if comparison.halves_overlap(test):
        halves = "Halves of the unseen windows share pixels, so real ones seem nearer to each other: record more"
        warnings.append(halves)
    return warnings


def list_suspected_copies(reference: Reference, test: MeasuredSet, generated: MeasuredSet) -> list[dict]:
    """Returns the files that look like copies, the most similar first, and the training files they look like."""
    whole, part = comparison.suspected_copies(test, generated)
    copies = [
        (float(value[i]), str(generated.window_set.files[i]), str(reference.train.files[near[i]]), kind)
        for kind, which, value, near in (
            ("whole", whole, generated.similarity, generated.nearest),
            ("part", part, generated.overlap_similarity, generated.overlap_nearest),
        )
        for i in np.flatnonzero(which)
    ]
    return [{"file": f, "training_file": t, "ncc": v, "kind": k} for v, f, t, k in sorted(copies, reverse=True)]


def leaking_share(model: Model) -> float | None:
    """Returns the share of test windows that share pixels with a training window; None if their order is unknown."""
    share = splits.leaking_share(model.dataset, model.split, model.config.data.gap)
    return None if np.isnan(share) else share


def find_newest_samples(parent: Path) -> Path:
    """Returns the folder of samples that was finished last; InputError if there is none."""
    finished = sorted(parent.glob("*/provenance.json"), key=lambda path: path.stat().st_mtime)
    if not finished:
        raise InputError(f"{parent} holds no samples: run sample.py, or give --samples=FOLDER")
    return finished[-1].parent


def read_windows(model: Model, folder: Path) -> tuple[Windows, np.ndarray]:
    """Reads images as anybody would who has only the files: (N, F, T) in [-1, 1], and users' indices."""
    return read_sample_set(model, folder)[:2]


def read_sample_set(model: Model, folder: Path) -> WindowSet:
    """Reads images as `read_windows` does, with the files' names; InputError where the folder's users are not the
    model's.
    """
    # samples have a column or a block of equal columns for each frame of the model
    options = user_windows.read_options(model)._replace(native_frames=False)
    folders = [folder / user for user in model.users if (folder / user).is_dir()]
    items = [item for mine in folders for item in sources.scan_user(folder, mine, options.stft)]
    if not items:
        raise InputError(f"'{folder}' holds no folder of a user of this model: {', '.join(model.users)}")
    strangers = sorted({p.name for p in folder.iterdir() if p.is_dir()} - set(model.users))
    if strangers:
        raise InputError(f"'{folder}' holds '{strangers[0]}', which is no user of this model: remove it")
    windows = np.stack([window.mean(-1) for _, window, _ in read_examples(folder, items, options)])
    users = np.array([model.users.index(item.user) for item in items])
    return WindowSet(windows, users, files=np.array([item.file for item in items]))


def real_windows(model: Model, name: str) -> tuple[Windows, np.ndarray]:
    """Returns real windows of a split as one channel (N, F, T), and users' indices."""
    windows, users = model.windows(name)
    return to_grayscale(windows), users


def real_window_set(model: Model, name: str) -> WindowSet:
    """Returns the same windows with their recordings, indices, files, and the configured gap."""
    rows = model.dataset.rows(model.split[name])
    recordings, indices = np.array(model.dataset.recordings)[rows], model.dataset.indices[rows]
    files = np.array(model.split[name])
    return WindowSet(*real_windows(model, name), recordings, indices, files, model.config.data.gap)
