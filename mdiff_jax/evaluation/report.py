"""Figures in words: the verdict first, then tables, then how they were obtained. Markdown."""

from collections.abc import Mapping, Sequence

from mdiff_jax.evaluation.measures import FIDELITY, IDENTITY, NOVELTY, PHYSICS, USEFUL
from mdiff_jax.metrics.augmentation_utility import AugmentationPoint
from mdiff_jax.metrics.bootstrap import Range
from mdiff_jax.metrics.comparison import Figure

WEAK_JUDGE_NOTE = ": THE JUDGE IS TOO WEAK to decide anything"
BRACKETS = (
    "In brackets: 5 to 95 %, for shares over whole walks or generated windows drawn anew, for distances over the ways "
    "to halve the unseen windows."
)
PICTURES = {
    IDENTITY: "confusion.png",
    PHYSICS: "envelopes.png",
    NOVELTY: "closest.png",
    FIDELITY: "sheet.png",
    USEFUL: "curves.png",
}
LONG = 12  # rows of a table; what goes beyond is in report.json


def format_markdown(
    verdict: Sequence[str],
    figures: Sequence[Figure],
    users: Mapping[str, Sequence[Figure]],
    points: Sequence[AugmentationPoint],
    about: Mapping[str, str],
    warnings: Sequence[str],
) -> str:
    """The whole report. `verdict` is that of `state_verdict`, `users` maps a name to a user's figures, `points` are the
    curve of augmentation or none.
    """
    lines = ["# Can these windows be trusted?", ""]
    lines += [f"- **{warning}**" for warning in warnings]
    lines += [f"- {sentence}" for sentence in verdict]
    for question in dict.fromkeys(f.question for f in figures):
        lines += format_table(question, [f for f in figures if f.question == question])
        if question == USEFUL and points:
            lines += format_curve(points)
        if question != USEFUL or points:
            lines += ["", f"![{question}]({PICTURES[question]})"]
    lines += format_user_table(users)
    lines += ["", "## How they were obtained", "", *(f"- {name}: {value}" for name, value in about.items())]
    return "\n".join(lines) + f"\n\n{BRACKETS}\n"


# ----------------------------------------------------------------------------- verdict


def state_verdict(figures: Sequence[Figure], points: Sequence[AugmentationPoint], verdict_judge: str) -> list[str]:
    """What the judges are worth, then what the figures say, one sentence a question; `verdict_judge` is the judge whose
    verdict counts.
    """
    accuracies = [f for f in figures if f.metric == "accuracy"]
    return [
        judges_sentence(accuracies),
        identity_sentence(accuracies, verdict_judge),
        physics_sentence(figures),
        novelty_sentence(figures),
        usefulness_sentence(figures, points),
        fidelity_sentence(find_figure(figures, "kernel distance", verdict_judge)),
    ]


def judges_sentence(accuracies: Sequence[Figure]) -> str:
    """What they score where the truth is known, and nobody was taught."""
    worth = ", the ".join(f"{f.judge} names {f.real:.0%} ({format_note(f)})" for f in accuracies)
    return f"Can they be judged? Of real unseen windows the {worth}."


def identity_sentence(accuracies: Sequence[Figure], verdict_judge: str) -> str:
    """By the judge whose verdict counts, or another one if that is too weak."""
    reliable = {f.judge: f for f in accuracies if f.reliable}
    if not reliable:
        best = max(f.real for f in accuracies)
        return f"{IDENTITY} Nobody can say: the judges are too weak, the best names {best:.0%} of real unseen windows."
    f = reliable.get(verdict_judge, next(iter(reliable.values())))
    others = "" if len(reliable) == len(accuracies) else " (the other judge is too weak)"
    return f"{IDENTITY} {compare_shares(f)}: the {f.judge} names {format_shares(f)}{others}."


def physics_sentence(figures: Sequence[Figure]) -> str:
    f, way = find_figure(figures, "plausible"), find_figure(figures, "forward in time")
    backwards = "" if way.generated > 0.5 else ", but time runs backwards"
    return f"{PHYSICS} {compare_shares(f)}: plausible are {format_shares(f)}{backwards}."


def novelty_sentence(figures: Sequence[Figure]) -> str:
    whole, part, spread = (
        find_figure(figures, metric) for metric in ("suspected copies", "suspected copies of a part", "median variety")
    )
    f = max(whole, part, key=lambda figure: figure.generated)
    answer = "Yes" if f.generated <= f.real_range[1] else "Not all"
    varied = spread.generated / max(spread.real, 1e-9)
    return (
        f"{NOVELTY} {answer}: suspected copies, whole or in part, are {f.generated:.1%}, of real unseen windows "
        f"{f.real:.1%}; within a user windows vary {varied:.0%} as much as real ones."
    )


def usefulness_sentence(figures: Sequence[Figure], points: Sequence[AugmentationPoint]) -> str:
    """By the curve where there is one, else by what generated windows alone teach."""
    if points:
        return curve_sentence(points)
    taught = [f for f in figures if f.metric == "train on generated, test on real"]
    if not taught:
        return f"{USEFUL} Not asked: there are no generated windows of some users."
    return (
        f"{USEFUL} Not asked (give --augmentation=linear); a judge that saw generated windows alone names "
        f"{taught[0].generated:.0%} of real ones, one that saw as many real windows {taught[0].real:.0%}."
    )


def curve_sentence(points: Sequence[AugmentationPoint]) -> str:
    """Where most real windows are used, the best point against nothing and against the best of the classical ones."""
    made = [p for p in points if p.source == "generated"]
    if not made:
        return f"{USEFUL} Nobody can say: there are too few generated windows, draw more with sample.py."
    budget = made[-1].budget  # they come in order, all real windows last
    mine = [p for p in points if p.budget == budget]
    best = max((p for p in mine if p.source == "generated"), key=lambda p: p.accuracy)
    none = next(p for p in mine if p.source == "real")
    rival = max((p for p in mine if p.source not in ("real", "generated")), key=lambda p: p.accuracy)
    answer = "Yes" if best.low > max(none.high, rival.high) else "Not shown"
    added = f"to {budget or 'all'} real windows a user {best.share:.0%} generated ones added"
    return (
        f"{USEFUL} {answer}: {added}, a judge names {best.accuracy:.1%} of unseen windows; nothing added "
        f"{none.accuracy:.1%}, {rival.source} {rival.accuracy:.1%}."
    )


def fidelity_sentence(f: Figure) -> str:
    """By the distance `f` in the features of the judge whose verdict counts."""
    answer = (
        "Not further than real ones from each other" if f.generated <= f.real_range[1] else "Further than real ones"
    )
    low, high = f.real_range
    return f"{FIDELITY} {answer}: {f.name} {f.generated:.3f}, between real ones {low:.3f} to {high:.3f}."


def find_figure(figures: Sequence[Figure], metric: str, judge: str | None = None) -> Figure:
    return next(f for f in figures if f.metric == metric and f.judge == judge)


def compare_shares(figure: Figure) -> str:
    """A share of generated windows beside that of real ones: only where the ranges part is there a difference."""
    if figure.generated_range[1] < figure.real_range[0]:
        return "Less than real ones"
    return "More than real ones" if figure.generated_range[0] > figure.real_range[1] else "As much as real ones"


def format_shares(figure: Figure) -> str:
    return f"{figure.generated:.0%} of generated and {figure.real:.0%} of real unseen windows"


# ----------------------------------------------------------------------------- tables


def format_table(heading: str, figures: Sequence[Figure]) -> list[str]:
    shown = figures if len(figures) <= LONG else [f for f in figures if not f.detail]
    lines = ["", f"## {heading}", "", "| | generated | real, unseen | |", "|---|---|---|---|"]
    lines += [
        f"| {f.name} | {format_value(f.generated, f.generated_range)} | {format_value(f.real, f.real_range)} "
        f"| {format_note(f)} |"
        for f in shown
    ]
    return lines


def format_note(figure: Figure) -> str:
    """The note, with a judge's weakness beside its accuracy."""
    weak = figure.metric == "accuracy" and not figure.reliable
    return figure.note + (WEAK_JUDGE_NOTE if weak else "")


def format_value(value: float, limits: Range | None) -> str:
    return f"{value:.3f}" if limits is None else f"{value:.3f} ({limits[0]:.3f} to {limits[1]:.3f})"


def format_user_table(users: Mapping[str, Sequence[Figure]]) -> list[str]:
    """A line a user: generated / real. All figures are of the judge whose verdict counts."""
    names = list(dict.fromkeys(f.metric for figures in users.values() for f in figures))
    lines = ["", "## User by user: generated / real", ""]
    lines += [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for user, figures in users.items():
        cells = {f.metric: f"{f.generated:.2f} / {f.real:.2f}" for f in figures}
        lines.append(f"| {user} | {' | '.join(cells.get(n, 'too few') for n in names)} |")
    return lines


def format_curve(points: Sequence[AugmentationPoint]) -> list[str]:
    """Accuracy on unseen windows, a table for each number of real ones."""
    lines = []
    for budget in dict.fromkeys(p.budget for p in points):
        mine = {(p.source, p.share): p for p in points if p.budget == budget}
        added = sorted({share for _, share in mine if share})
        none = format_point(mine["real", 0.0])
        lines += ["", f"{budget or 'All'} real windows a user ({none} with nothing added), and so many added:", ""]
        lines += [f"| | {' | '.join(f'{share:.0%}' for share in added)} |", "|---" * (len(added) + 1) + "|"]
        for source in dict.fromkeys(s for s, share in mine if share):
            cells = [format_point(mine[source, x]) if (source, x) in mine else "too few" for x in added]
            lines.append(f"| {source} | {' | '.join(cells)} |")
    note = (
        "Accuracy on real unseen windows, mean of the seeds; in brackets their lowest and highest. A model that was "
        "trained on all real windows hands on what it learnt from them, which flatters it where few of them are used: "
        "for a fair small number train it with data.windows_per_user."
    )
    return [*lines, "", note]


def format_point(point: AugmentationPoint) -> str:
    return f"{point.accuracy:.1%} ({point.low:.1%} to {point.high:.1%})"
