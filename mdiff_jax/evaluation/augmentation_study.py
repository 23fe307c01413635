"""Does adding windows to recorded ones help? Judges trained on rows of a table, results that are kept, gains.

A row is a list of sources whose windows are added to the recorded ones. All rows of an experiment are scored by the
same judges, seeds and unseen windows, so that their differences are paired.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mdiff_jax.data import labels, splits
from mdiff_jax.evaluation import plots, sample_folders
from mdiff_jax.inference.drawn_windows import load_comparison_windows
from mdiff_jax.inference.model import Model
from mdiff_jax.metrics import augmentation_utility, cnn_classifier, identity, paired_gain
from mdiff_jax.metrics.augmentation_utility import Source, TrainingSet
from mdiff_jax.metrics.paired_gain import Estimate
from mdiff_jax.metrics.reference import WindowSet
from mdiff_jax.runtime.version import VERSION
from mdiff_jax.runtime.workdir import read_json, write_json

FitJudge = Callable[..., identity.Judge]  # (windows, targets, weights, seed)
JUDGES: dict[str, FitJudge] = {"linear": identity.fit_linear_softly, "convolutional": cnn_classifier.fit_compact}
RECORDED, BEST, MORE = "recorded alone", "best classical", "as many more recorded"
COMBINED = "{} and best classical"
TOGETHER = "all kinds"  # of generated windows, in equal shares
PARTS = ("validation", "test")


class Experiment(NamedTuple):
    """One choice of recorded windows to train on, and what can be added to them."""

    budget: int  # windows per user; 0: all
    folder: Path  # of the results
    recorded: TrainingSet
    unseen: dict[str, WindowSet]  # 'validation', 'test'
    classical: dict[str, Source]
    sources: dict[str, Source]  # each is a row alone, and one together with the best classical augmentation
    ceilings: dict[str, Source]  # each is a row alone

    def count_rows(self) -> int:
        """Returns how many rows are scored, by each judge."""
        return 1 + len(self.classical) + 2 * len(self.sources) + len(self.ceilings)


class Scores(NamedTuple):
    """Whether the judge of each seed names the user of each unseen window."""

    validation: paired_gain.Correct
    test: paired_gain.Correct


class Line(NamedTuple):
    """A row of the table by one judge, over all experiments of a budget."""

    budget: int
    row: str
    judge: str
    accuracy: Estimate
    over_recorded: Estimate
    over_best: Estimate
    walks: int
    needed_walks: int | None  # to resolve a point over the best classical augmentation


# ----------------------------------------------------------------------------- an experiment


def read_experiment(
    model: Model, budget: int, folder: Path, samples: Mapping[str, Path], share: float = 1.0
) -> Experiment:
    """Reads what a model was trained on, its unseen windows and its samples (name → folder); `share` times as many
    windows as recorded ones are added of each user. The ceiling is there if training left so many recorded ones out.
    """
    train = sample_folders.real_window_set(model, "train")
    recorded = label_set(train, model)
    pools = {name: read_labelled(model, path) for name, path in samples.items()}
    if len(pools) > 1:
        pools[TOGETHER] = augmentation_utility.join_training_sets(*pools.values())
    rows, ceilings = left_out_rows(model), {}
    wanted, left = (np.bincount(u, minlength=len(model.users)) for u in (train.users, model.dataset.user_ids[rows]))
    if (left >= np.round(share * wanted)).all():
        more = WindowSet(load_comparison_windows(model.dataset, rows), model.dataset.user_ids[rows])
        ceilings[MORE] = augmentation_utility.pool_source(label_set(more, model), recorded, share)
    return Experiment(
        budget,
        folder,
        recorded,
        {part: sample_folders.real_window_set(model, part) for part in PARTS},
        {
            name: augmentation_utility.classical_source(name, recorded, share)
            for name in augmentation_utility.CLASSICAL_NAMES
        },
        {name: augmentation_utility.pool_source(pool, recorded, share) for name, pool in pools.items()},
        ceilings,
    )


def label_set(windows: WindowSet, model: Model) -> TrainingSet:
    """Returns windows of the model's users, each of the one that it is named by."""
    return augmentation_utility.label_windows(windows.windows, windows.users, len(model.users))


def read_labelled(model: Model, folder: Path) -> TrainingSet:
    """Reads a folder of samples of trained users; what they are to be called says labels.csv, where there is one."""
    read = sample_folders.read_sample_set(model, folder)
    plain = label_set(read, model)
    if not (folder / labels.FILE).exists():
        return plain
    told = {label.file: (label.weight, label.soft_label) for label in labels.read_labels(folder)}
    return augmentation_utility.soften_labels(plain, read.files.tolist(), told, model.users)


def left_out_rows(model: Model) -> np.ndarray:
    """Returns the rows of the data set that `data.windows_per_user` left out of the training part."""
    c = model.config.data
    options = {"fractions": c.fractions, "by": c.split_by, "gap": c.gap, "folds": c.folds, "fold": c.fold}
    whole = splits.make_split(model.dataset, seed=model.config.seed, **options)["train"]
    return np.setdiff1d(model.dataset.rows(whole), model.dataset.rows(model.split["train"]))


def run_experiment(
    experiment: Experiment, seeds: int, advance: Callable[[], object] = lambda: None
) -> dict[str, dict[str, Scores]]:
    """Returns scores, judge → row → scores, and calls `advance` after each seed of each; those in the folder are not
    computed again. The best classical augmentation is the most accurate one on validation windows, of each judge.
    """
    scores: dict[str, dict[str, Scores]] = {}
    for judge in JUDGES:

        def score(rows: Mapping[str, Sequence[Source]], judge: str = judge) -> dict[str, Scores]:
            return {row: score_row(experiment, row, judge, sources, seeds, advance) for row, sources in rows.items()}

        first = score({RECORDED: []} | {name: [source] for name, source in experiment.classical.items()})
        best = choose_best(first, experiment.classical)
        later: dict[str, list[Source]] = {}
        for name, source in experiment.sources.items():
            later |= {name: [source], COMBINED.format(name): [source, experiment.classical[best]]}
        later |= {name: [source] for name, source in experiment.ceilings.items()}
        scores[judge] = first | {BEST: first[best]} | score(later)
    return scores


def choose_best(scores: Mapping[str, Scores], names: Sequence[str] | Mapping[str, Source]) -> str:
    """Returns the row of these with the highest accuracy on validation windows."""
    return max(names, key=lambda name: scores[name].validation.mean())


def score_row(
    experiment: Experiment,
    row: str,
    judge: str,
    sources: Sequence[Source],
    seeds: int,
    advance: Callable[[], object] = lambda: None,
) -> Scores:
    """Trains a judge with each seed, on recorded windows and those of the sources, and keeps which unseen windows it
    names correctly in FOLDER/JUDGE/ROW.json. Seeds that are there are not trained again, unless what they were trained
    or scored on has changed.
    """

    def training_set(seed: int) -> TrainingSet:
        parts = [source(np.random.default_rng(seed)) for source in sources]
        return augmentation_utility.join_training_sets(experiment.recorded, *parts)

    path = experiment.folder / judge / f"{row.replace(' ', '_')}.json"
    digest = digest_arrays(*training_set(0), *(x for part in PARTS for x in experiment.unseen[part][:2]))
    kept = read_json(path, "remove it, and it is made anew") if path.exists() else {}
    if kept.get("digest") != digest:
        kept = {"digest": digest} | {part: [] for part in PARTS}
    for seed in range(seeds):
        if seed >= len(kept["test"]):
            drawn = training_set(seed)
            judged = JUDGES[judge](drawn.windows, drawn.targets, drawn.weights, seed)
            for part in PARTS:
                unseen = experiment.unseen[part]
                correct = judged.probabilities(unseen.windows).argmax(1) == unseen.users
                kept[part].append("".join("01"[int(c)] for c in correct))
            write_json(path, kept)
        advance()
    return Scores(*(np.array([[c == "1" for c in line] for line in kept[part][:seeds]]) for part in PARTS))


def digest_arrays(*arrays: np.ndarray) -> str:
    """Returns a digest of the contents, and of the version of this package."""
    digest = hashlib.sha256(VERSION.encode())
    for x in arrays:
        digest.update(f"{x.shape}{x.dtype}".encode() + np.ascontiguousarray(x).tobytes())
    return digest.hexdigest()


# ----------------------------------------------------------------------------- the table


def summarize_budget(
    experiments: Sequence[Experiment], scores: Sequence[Mapping[str, Mapping[str, Scores]]]
) -> list[Line]:
    """Returns a line for each row and judge, over several experiments of one budget, of which a walk can be in several:
    it is resampled as one. Rows that one of the experiments lacks are left out.
    """
    walks, lines = np.concatenate([e.unseen["test"].walk_names() for e in experiments]), []
    for judge in JUDGES:
        rows = [row for row in scores[0][judge] if all(row in s[judge] for s in scores)]
        test = {row: np.concatenate([s[judge][row].test for s in scores], axis=1) for row in rows}
        for row, correct in test.items():
            over_recorded, over_best = (
                paired_gain.estimate_gain(correct, test[other], walks) for other in (RECORDED, BEST)
            )
            lines.append(
                Line(
                    experiments[0].budget,
                    row,
                    judge,
                    paired_gain.estimate_accuracy(correct, walks),
                    over_recorded,
                    over_best,
                    len(np.unique(walks)),
                    paired_gain.count_needed_walks(correct, test[BEST], walks),
                )
            )
    return lines


def format_table(lines: Sequence[Line]) -> str:
    """Returns the lines as Markdown, the judges side by side."""
    columns = ("accuracy, %", f"over {RECORDED}", f"over {BEST}")
    head = ["windows a user", "judges trained on", *(f"{judge}: {c}" for judge in JUDGES for c in columns)]
    text = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for (budget, row), of_judges in group_lines(lines).items():
        cells = [str(budget or "all"), row]
        for line in of_judges:
            cells += [f"{100 * line.accuracy.value:.1f}"]
            cells += [format_gain(gain) for gain in (line.over_recorded, line.over_best)]
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)


def to_record(line: Line) -> dict[str, Any]:
    """Returns a line as it is written to a JSON file."""
    estimates = ("accuracy", "over_recorded", "over_best")
    return line._asdict() | {name: getattr(line, name)._asdict() for name in estimates}


def format_choices(experiments: Sequence[Experiment], scores: Sequence[Mapping[str, Mapping[str, Scores]]]) -> str:
    """Returns which classical augmentation was the best one on validation windows."""
    text = []
    for experiment, of_judges in zip(experiments, scores, strict=True):
        best = {judge: choose_best(rows, experiment.classical) for judge, rows in of_judges.items()}
        named = ", ".join(f"{name} ({judge} judge)" for judge, name in best.items())
        text.append(f"{BEST} on validation, {experiment.folder.parent.name}: {named}")
    return "\n".join(text)


def format_needs(lines: Sequence[Line], rows: Sequence[str]) -> str:
    """Returns how many walks would resolve a point of what these rows gain over the best classical augmentation."""
    text = []
    for line in lines:
        if line.row in rows and line.needed_walks is not None:
            start = f"{line.budget or 'all'} windows a user, {line.row}, {line.judge} judge"
            text.append(f"{start}: one point would need about {line.needed_walks} test walks, there are {line.walks}")
    return "\n".join(text)


def plot_lines(path: Path, lines: Sequence[Line], rows: Sequence[str]) -> None:
    """Plots what these rows gain over recorded windows alone, a panel per judge, by budget."""
    plots.plot_gains(
        path,
        {
            judge: {
                row: [(str(x.budget or "all"), x.over_recorded) for x in lines if (x.judge, x.row) == (judge, row)]
                for row in rows
            }
            for judge in JUDGES
        },
    )


def group_lines(lines: Sequence[Line]) -> dict[tuple[int, str], list[Line]]:
    """Returns the lines of each budget and row, in their order, those of the judges together."""
    groups: dict[tuple[int, str], list[Line]] = {}
    for line in lines:
        groups.setdefault((line.budget, line.row), []).append(line)
    return groups


def format_gain(gain: Estimate) -> str:
    """Returns a gain in points, with its interval."""
    value = f"{100 * gain.value:+.1f}"
    return (
        value if gain.interval is None else f"{value} ({100 * gain.interval[0]:+.1f} … {100 * gain.interval[1]:+.1f})"
    )
