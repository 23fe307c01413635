"""What the report says follows from the figures alone."""

from mdiff_jax.evaluation import report
from mdiff_jax.metrics.augmentation_utility import AugmentationPoint
from mdiff_jax.metrics.comparison import Figure


def share(metric: str, generated: float, real: float) -> Figure:
    return Figure("?", metric, generated, real, "", (generated - 0.05, generated + 0.05), (real - 0.05, real + 0.05))


def test_only_where_intervals_part_is_there_a_difference():
    for generated, answer in ((0.5, "Less than"), (0.75, "As much as"), (0.95, "More than")):
        assert report.compare_shares(share("plausible", generated, 0.8)).startswith(answer)


def test_a_judge_too_weak_is_not_asked():
    weak = share("accuracy", 1, 0.2)._replace(note="chance 0.17", judge="convolutional judge", reliable=False)
    able = share("accuracy", 0.4, 0.9)._replace(judge="linear judge")
    for verdict_judge in (weak.judge, able.judge):
        assert "the linear judge identifies 40%" in report.identity_sentence([able, weak], verdict_judge)
        assert "Undecided" in report.identity_sentence([weak, able._replace(reliable=False)], verdict_judge)
    assert "convolutional judge identifies 20% (chance 0.17: THE JUDGE IS TOO WEAK" in report.judges_sentence(
        [able, weak]
    )
    assert "TOO WEAK" in report.format_note(weak) and "TOO WEAK" not in report.format_note(able)


def test_of_two_reliable_judges_the_one_whose_verdict_counts_is_asked():
    linear = share("accuracy", 0.4, 0.9)._replace(judge="linear judge")
    convolutional = share("accuracy", 0.7, 0.9)._replace(judge="convolutional judge")
    for figures in ([linear, convolutional], [convolutional, linear]):
        for chosen in figures:
            assert f"the {chosen.judge} identifies {chosen.generated:.0%}" in report.identity_sentence(
                figures, chosen.judge
            )


def test_time_that_runs_backwards_is_said():
    figures = [share("plausible", 0.8, 0.8), share("forward in time", 0.1, 0.98)]
    assert "backwards" in report.physics_sentence(figures)
    assert "backwards" not in report.physics_sentence([figures[0], share("forward in time", 0.9, 0.98)])


def test_generated_windows_must_beat_nothing_and_the_classical_ones():
    def points(generated: float) -> list[AugmentationPoint]:
        values = [("real", 0.0, 0.7), ("generated", 1.0, generated), ("shift", 1.0, 0.8)]
        return [AugmentationPoint(0, source, added, v, v - 0.01, v + 0.01) for source, added, v in values]

    assert "Yes: with 100% generated windows added to all real" in report.usefulness_sentence([], points(0.85))
    assert "Not shown" in report.usefulness_sentence([], points(0.75)) and "shift 80.0%" in report.curve_sentence(
        points(0.75)
    )
    assert "too few" in report.curve_sentence(points(0.85)[::2])
    text = "\n".join(report.format_curve([*points(0.85)[:2], AugmentationPoint(0, "shift", 2.0, 0.8, 0.7, 0.9)]))
    assert "| generated | 85.0% (84.0% to 86.0%) | too few |" in text


def test_an_installed_report_names_the_command(monkeypatch):
    alone = [AugmentationPoint(0, "real", 0.0, 0.7, 0.6, 0.8)]
    assert "more with sample.py" in report.curve_sentence(alone)
    monkeypatch.setattr(report.cli, "INSTALLED", True)
    assert "more with mdiff sample" in report.curve_sentence(alone)


def test_long_tables_leave_details_out():
    figures = [share(f"metric {k}", 0.5, 0.5) for k in range(report.MAX_TABLE_ROWS - 1)]
    detail = share("distance of a measure", 0.5, 0.5)._replace(detail=True)
    for rows, shown in (([*figures, detail], True), ([*figures, figures[0], detail], False)):
        assert ("distance of a measure" in "\n".join(report.format_table("?", rows))) == shown


def test_without_an_interval_nothing_is_decided():
    figure = share("plausible", 0.2, 0.9)._replace(generated_range=None)
    assert report.compare_shares(figure).startswith("Undecided")


def test_what_is_left_out_stands_as_a_dash_with_the_reason():
    absent = Figure("?", "coverage", None, None, "left out: needs 6 windows, has 5")
    assert report.format_table("?", [absent])[-1] == "| coverage | – | – | left out: needs 6 windows, has 5 |"
    lines = report.format_user_table({"a": [absent], "b": [absent._replace(generated=0.5)]})
    assert "| a | – / – |" in lines and "| b | 0.50 / – |" in lines
    assert "Not measured, left out: needs 6" in report.fidelity_sentence([], absent)


def test_the_verdict_names_what_gives_windows_away_most():
    told = [share("told", 0.9, 0.4)._replace(judge="levels"), share("told", 0.95, 0.7)._replace(judge="gradients")]
    absent = Figure("?", "told", None, None, "left out: needs 10 windows, has 5", judge="row statistics")
    near = share("kernel distance", 0.1, 0.2)
    said = report.fidelity_sentence([*told, absent], near)
    assert "Their levels give them away most: told from real ones with AUC 0.90" in said and "0.35 to 0.45" in said
    assert "Not further than real ones from each other" in said
    said = report.fidelity_sentence([told[0]._replace(generated_range=(0.45, 1))], near)
    assert "do not give them away" in said, "the intervals meet"
    said = report.fidelity_sentence(told, absent)
    assert "AUC 0.90" in said and "Distance: not measured, left out" in said
