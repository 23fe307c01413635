"""What an evaluation found: as text, as a table, as a page, and as files."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mdiff_jax.evaluation import blind_sheet, charts, html_report, report, report_figures
from mdiff_jax.metrics.augmentation_utility import AugmentationPoint
from mdiff_jax.metrics.comparison import Figure
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.progress import doing
from mdiff_jax.runtime.workdir import write_json, write_text

TITLE = "Can these windows be trusted?"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Report:
    """Generated windows judged beside real, unseen ones, as `mdiff_jax.evaluate` returns it.

    `verdict` holds answers, a `question` and a `text` each; a figure has a `metric`, perhaps a `judge`, the `generated`
    and the `real` value, None where it is left out, and their ranges, 5 to 95 %. Shown in a notebook it is verdict,
    figures and a sheet of windows; `print` writes the verdict.

        report = mdiff_jax.evaluate(samples, "runs/gait")
        report.to_dataframe()
        report.save("report")
    """

    verdict: Sequence[report.Answer]
    warnings: Sequence[str]  # that make the figures less trustworthy
    figures: Sequence[Figure]
    users: Mapping[str, Sequence[Figure]]  # user → figures of that user's windows alone
    points: Sequence[AugmentationPoint]  # accuracy with windows added, where that was asked for
    copies: Sequence[Mapping[str, Any]]  # suspected ones, the most similar first
    about: Mapping[str, str]  # how the figures were obtained
    checkpoint_steps: Sequence[int]  # of prior and decoder
    pictures: report_figures.Pictures
    blind: blind_sheet.Pictures
    training: Sequence[charts.Panel]
    origin: Mapping[str, Mapping[str, Any]]  # settings of samples and model

    def __repr__(self) -> str:
        return "\n".join([*self.warnings, *(" ".join(answer) for answer in self.verdict)])

    def _repr_html_(self) -> str:
        return html_report.format_excerpt(self.page())

    def to_dataframe(self, by_user: bool = False) -> Any:
        """Returns the figures as a pandas DataFrame, a row each; with `by_user` those of each user alone.

        Columns: question, metric, judge, generated, generated_low, generated_high, real, real_low, real_high, reliable,
        note; ranges are from 5 to 95 %, and what is left out is missing. Raises InputError where pandas is missing.
        """
        try:
            import pandas
        except ImportError:
            raise InputError("there is no pandas to make a DataFrame: pip install pandas") from None
        return pandas.DataFrame(self.rows(by_user))

    def rows(self, by_user: bool = False) -> list[dict[str, Any]]:
        """Returns the rows of `to_dataframe` as dicts."""
        if by_user:
            return [{"user": user} | make_row(f) for user, of_user in self.users.items() for f in of_user]
        return [make_row(f) for f in self.figures]

    def save(self, folder: str | Path) -> list[Path]:
        """Writes report.html, report.md, report.json and figures into a folder, which is made where there is none;
        returns these files.
        """
        folder = Path(folder)
        with doing("drawing the report"):
            plots = report_figures.plot_report_figures(folder, self.pictures)
            plots += blind_sheet.write_blind_sheet(folder, self.blind)
        write_text(folder / "report.md", self.to_markdown(plots))
        write_json(folder / "report.json", self.to_json())
        html_report.write_page(folder / html_report.FILE, self.page())
        return [folder / name for name in (html_report.FILE, "report.md", "report.json", *plots)]

    def to_markdown(self, plots: Sequence[str] = ()) -> str:
        """Returns the whole report as Markdown, with these files of plots in their places."""
        return report.format_markdown(
            self.verdict, self.figures, self.users, self.points, self.about, self.warnings, plots
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the contents of report.json."""
        return {
            "about": self.about,
            "warnings": self.warnings,
            "verdict": [" ".join(answer) for answer in self.verdict],
            "figures": [{"name": f.name} | f._asdict() | {"note": report.format_note(f)} for f in self.figures],
            "users": {user: [{"name": f.metric} | f._asdict() for f in own] for user, own in self.users.items()},
            "confusion": {title: table.tolist() for title, table in self.pictures.confusion.items()},
            "augmentation": [p._asdict() for p in self.points],
            "suspected_copies": self.copies,
            "checkpoint_steps": self.checkpoint_steps,
        }

    def page(self) -> html_report.Page:
        """Returns what report.html shows."""
        p = self.pictures
        return html_report.Page(
            title=TITLE,
            verdict=self.verdict,
            warnings=self.warnings,
            figures=self.figures,
            sheet=p.sheet,
            zero_doppler=p.zero_doppler,
            num_users=p.num_users,
            users=self.users,
            judged=p.judged,
            confusion=p.confusion,
            envelopes=charts.envelope_panels(p.envelopes),
            pairs=p.pairs,
            copies=self.copies,
            points=self.points,
            augmentation=charts.augmentation_panels(self.points),
            spectra=charts.spectra_panels(p.spectra) if p.spectra else (),
            blind=self.blind,
            training=self.training,
            tables={"Method": self.about, **self.origin},
        )


def make_row(figure: Figure) -> dict[str, Any]:
    """Returns a figure as a row of a table."""
    row: dict[str, Any] = {"question": figure.question, "metric": figure.metric, "judge": figure.judge}
    for kind in ("generated", "real"):
        low, high = getattr(figure, f"{kind}_range") or (None, None)
        row |= {kind: getattr(figure, kind), f"{kind}_low": low, f"{kind}_high": high}
    return row | {"reliable": figure.reliable, "note": report.format_note(figure)}
