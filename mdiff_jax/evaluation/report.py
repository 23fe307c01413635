"""Formats figures as Markdown: the verdict first, then tables, then how they were obtained."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mdiff_jax.evaluation.fidelity_measures import TOLD_APART
from mdiff_jax.metrics.augmentation_utility import AugmentationPoint
from mdiff_jax.metrics.bootstrap import Range
from mdiff_jax.metrics.comparison import FIDELITY, IDENTITY, NOVELTY, PHYSICS, USEFULNESS, Figure
from mdiff_jax.runtime import cli

JUDGED = "Can they be judged?"
WEAK_JUDGE_NOTE = ": THE JUDGE IS TOO WEAK to decide anything"
INTERVAL_NOTE = (
    "5 to 95 %, for shares by resampling whole walks or generated windows, for distances over ways to "
    "halve the unseen windows."
)
PLOT_FILES = {
    IDENTITY: ("confusion.png",),
    PHYSICS: ("envelopes.png",),
    NOVELTY: ("closest.png",),
    USEFULNESS: ("curves.png",),
    FIDELITY: ("spectra.png", "sheet.png", "blind.png"),
}
LEFT_OUT = "–"
MAX_TABLE_ROWS = 12  # of a table with details; longer ones leave them to report.json


class Answer(NamedTuple):
    """One sentence of a verdict, or a few, and the question that it answers."""

    question: str
    text: str


def format_markdown(
    verdict: Sequence[Answer],
    figures: Sequence[Figure],
    users: Mapping[str, Sequence[Figure]],
    points: Sequence[AugmentationPoint],
    about: Mapping[str, str],
    warnings: Sequence[str],
    plots: Sequence[str],
) -> str:
    """Returns the whole report. `verdict` is that of `state_verdict`, `users` maps a name to a user's figures, `points`
    are the augmentation curve or empty, `plots` the files that were plotted.
    """
    lines = ["# Can these windows be trusted?", ""]
    lines += [f"- **{warning}**" for warning in warnings]
    lines += [f"- {' '.join(answer)}" for answer in verdict]
    for question in dict.fromkeys(f.question for f in figures):
        lines += format_table(question, [f for f in figures if f.question == question])
        if question == USEFULNESS and points:
            lines += format_curve(points)
        for name in PLOT_FILES[question]:
            lines += ["", f"![{question}]({name})"] if name in plots else []
    lines += format_user_table(users)
    lines += ["", "## Method", "", *(f"- {name}: {value}" for name, value in about.items())]
    return "\n".join(lines) + f"\n\nIn brackets: {INTERVAL_NOTE}\n"


# ----------------------------------------------------------------------------- verdict


def state_verdict(figures: Sequence[Figure], points: Sequence[AugmentationPoint], verdict_judge: str) -> list[Answer]:
    """Returns an answer on the judges' accuracy, then one per question; `verdict_judge` is the judge whose verdict
    counts.
    """
    accuracies = [f for f in figures if f.metric == "accuracy"]
    told = [f for f in figures if f.metric == TOLD_APART]
    return [
        Answer(JUDGED, judges_sentence(accuracies)),
        Answer(IDENTITY, identity_sentence(accuracies, verdict_judge)),
        Answer(PHYSICS, physics_sentence(figures)),
        Answer(NOVELTY, novelty_sentence(figures)),
        Answer(USEFULNESS, usefulness_sentence(figures, points)),
        Answer(FIDELITY, fidelity_sentence(told, find_figure(figures, "kernel distance", verdict_judge))),
    ]


def warn_of_leak(share: float | None) -> list[str]:
    """Returns a sentence on the share of test windows that share pixels with a training window; none where none do."""
    if share is None:
        return ["Whether test windows overlap training windows is unknown: the order in time is"]
    leak = "of the test windows share pixels with a training window: figures are too high"
    return [f"THE SPLIT LEAKS: {share:.0%} {leak}"] if share else []


def judges_sentence(accuracies: Sequence[Figure]) -> str:
    """States each judge's accuracy on real unseen windows."""
    scores = ", the ".join(f"{f.judge} identifies {f.real:.0%} ({format_note(f)})" for f in accuracies)
    return f"Of real unseen windows the {scores}."


def identity_sentence(accuracies: Sequence[Figure], verdict_judge: str) -> str:
    """Answers by the judge whose verdict counts, or by another one if that is too weak."""
    reliable = {f.judge: f for f in accuracies if f.reliable}
    if not reliable:
        best = max(f.real for f in accuracies)
        return f"Undecided: the judges are too weak, the best identifies {best:.0%} of real unseen windows."
    f = reliable.get(verdict_judge, next(iter(reliable.values())))
    if f.generated is None:
        return "Not judged: there are no windows of users whom the judges know."
    others = "" if len(reliable) == len(accuracies) else " (the other judge is too weak)"
    return f"{compare_shares(f)}: the {f.judge} identifies {format_shares(f)}{others}."


def physics_sentence(figures: Sequence[Figure]) -> str:
    f, way = find_figure(figures, "plausible"), find_figure(figures, "forward in time")
    backwards = "" if way.generated is None or way.generated > 0.5 else ", but time runs backwards"
    return f"{compare_shares(f)}: {format_shares(f)} are plausible{backwards}."


def novelty_sentence(figures: Sequence[Figure]) -> str:
    whole, part, spread = (
        find_figure(figures, metric) for metric in ("suspected copies", "suspected copies of a part", "median variety")
    )
    f = max(whole, part, key=lambda figure: figure.generated)
    varied = "variety within a user is not measured, since some sets are too small"
    if None not in (spread.generated, spread.real):
        varied = f"variety within a user is {spread.generated / max(spread.real, 1e-9):.0%} of that of real ones"
    if f.real is None:
        return f"Undecided: {f.generated:.1%} are suspected copies, real windows are too few; {varied}."
    answer = "Yes" if f.generated <= f.real_range[1] else "Not all"
    return (
        f"{answer}: {f.generated:.1%} are suspected copies, whole or in part, against {f.real:.1%} of real "
        f"unseen windows; {varied}."
    )


def usefulness_sentence(figures: Sequence[Figure], points: Sequence[AugmentationPoint]) -> str:
    """Answers by the augmentation curve where there is one, else by the judge trained on generated windows alone."""
    if points:
        return curve_sentence(points)
    trained = find_figure(figures, "train on generated, test on real")
    if trained.generated is None:
        return "Not measured: there are no generated windows of some users."
    return (
        f"Not measured (give --augmentation=linear); a judge trained on generated windows alone "
        f"identifies {trained.generated:.0%} of real ones, one trained on as many real windows {trained.real:.0%}."
    )


def curve_sentence(points: Sequence[AugmentationPoint]) -> str:
    """Compares generated windows, nothing added and the best classical augmentation, at the largest budget."""
    budgets = [p.budget for p in points if p.source == "generated"]  # in order, all real windows last
    if not budgets:
        return cli.name_commands("Undecided: there are too few generated windows, sample more with sample.py.")
    largest = [p for p in points if p.budget == budgets[-1]]
    best = max((p for p in largest if p.source == "generated"), key=lambda p: p.accuracy)
    none = next(p for p in largest if p.source == "real")
    rival = max((p for p in largest if p.source not in ("real", "generated")), key=lambda p: p.accuracy)
    answer = "Yes" if best.low > max(none.high, rival.high) else "Not shown"
    added = f"with {best.share:.0%} generated windows added to {best.budget or 'all'} real windows of a user"
    return (
        f"{answer}: {added}, a judge identifies {best.accuracy:.1%} of unseen windows; "
        f"with nothing added {none.accuracy:.1%}, with {rival.source} {rival.accuracy:.1%}."
    )


def fidelity_sentence(told: Sequence[Figure], distance: Figure) -> str:
    """Answers by what gives generated windows away most, and by the distance in the features of the judge whose verdict
    counts; `told` are the AUCs of telling them from recorded ones, by each kind of features.
    """
    sentences = []
    if told := [f for f in told if f.generated is not None]:
        f = max(told, key=lambda figure: figure.generated - max(figure.real, 0.5))
        low, high = f.real_range
        alike = f.generated_range[0] <= max(high, 0.5)
        away = "differ most, but do not give them away" if alike else "give them away most"
        sentences.append(
            f"Their {f.judge} {away}: told from real ones with AUC {f.generated:.2f}, real ones from each other "
            f"{low:.2f} to {high:.2f}."
        )
    if distance.generated is None:
        sentences.append(f"Distance: not measured, {distance.note}." if told else f"Not measured, {distance.note}.")
    else:
        low, high = distance.real_range
        further = "Further than" if distance.generated > high else "Not further than"
        sentences.append(
            f"{further} real ones from each other: {distance.name} {distance.generated:.3f}, between real ones "
            f"{low:.3f} to {high:.3f}."
        )
    return " ".join(sentences)


def find_figure(figures: Sequence[Figure], metric: str, judge: str | None = None) -> Figure:
    """Returns the figure of this metric and judge."""
    return next(f for f in figures if f.metric == metric and f.judge == judge)


def compare_shares(figure: Figure) -> str:
    """Compares a share of generated windows with that of real ones; they differ only where the ranges do not meet."""
    if None in (figure.generated_range, figure.real_range):
        return "Undecided, there are too few for an interval"
    if figure.generated_range[1] < figure.real_range[0]:
        return "Less than real ones"
    return "More than real ones" if figure.generated_range[0] > figure.real_range[1] else "As much as real ones"


def format_shares(figure: Figure) -> str:
    return f"{figure.generated:.0%} of generated and {figure.real:.0%} of real unseen windows"


# ----------------------------------------------------------------------------- tables


def format_table(heading: str, figures: Sequence[Figure]) -> list[str]:
    shown = figures if len(figures) <= MAX_TABLE_ROWS else [f for f in figures if not f.detail]
    lines = ["", f"## {heading}", "", "| | generated | real, unseen | |", "|---|---|---|---|"]
    lines += [
        f"| {f.name} | {format_value(f.generated, f.generated_range)} | {format_value(f.real, f.real_range)} "
        f"| {format_note(f)} |"
        for f in shown
    ]
    return lines


def format_note(figure: Figure) -> str:
    """Returns the note, with a warning beside the accuracy of a judge that is too weak."""
    return figure.note + weakness(figure)


def weakness(figure: Figure) -> str:
    return WEAK_JUDGE_NOTE if figure.metric == "accuracy" and not figure.reliable else ""


def format_value(value: float | None, limits: Range | None) -> str:
    if value is None:
        return LEFT_OUT
    return f"{value:.3f}" if limits is None else f"{value:.3f} ({limits[0]:.3f} to {limits[1]:.3f})"


def format_user_table(users: Mapping[str, Sequence[Figure]]) -> list[str]:
    """Returns a table with a line per user, generated / real; all figures are by the judge whose verdict counts."""
    names = list(dict.fromkeys(f.metric for figures in users.values() for f in figures))
    lines = ["", "## Per user: generated / real", ""]
    lines += [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for user, figures in users.items():
        cells = {f.metric: " / ".join(LEFT_OUT if v is None else f"{v:.2f}" for v in f[2:4]) for f in figures}
        lines.append(f"| {user} | {' | '.join(cells[n] for n in names)} |")
    return [*lines, "", f"{LEFT_OUT}: left out; report.json says why."]


def format_curve(points: Sequence[AugmentationPoint]) -> list[str]:
    """Returns a table of accuracies on unseen windows for each number of real training windows."""
    lines = []
    for budget in dict.fromkeys(p.budget for p in points):
        of_budget = {(p.source, p.share): p for p in points if p.budget == budget}
        added = sorted({share for _, share in of_budget if share})
        none = format_point(of_budget["real", 0.0])
        lines += [
            "",
            f"{budget or 'All'} real windows per user ({none} with nothing added); added, as a share of them:",
            "",
        ]
        lines += [f"| | {' | '.join(f'{share:.0%}' for share in added)} |", "|---" * (len(added) + 1) + "|"]
        for source in dict.fromkeys(s for s, share in of_budget if share):
            cells = [format_point(of_budget[source, x]) if (source, x) in of_budget else "too few" for x in added]
            lines.append(f"| {source} | {' | '.join(cells)} |")
    note = (
        "Accuracy on real unseen windows, mean of the seeds; in brackets their lowest and highest. A model that was "
        "trained on all real windows passes on what it learned from them, which favors it where few of them are used: "
        "for a fair comparison train it with data.windows_per_user."
    )
    return [*lines, "", note]


def format_point(point: AugmentationPoint) -> str:
    return f"{point.accuracy:.1%} ({point.low:.1%} to {point.high:.1%})"
