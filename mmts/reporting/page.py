"""The results page: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mmts.kinds.objective import label
from mmts.reporting.gallery import data_uri
from mmts.reporting.report import Report
from mmts.reporting.speed import COLUMNS, NOTES, Speed
from mmts.reporting.style import Figure, method_colours
from mmts.reporting.tables import Table
from mmts.reporting.words import (
    bounds,
    notes,
    plural,
    signed,
    stated,
    test_size,
)

if TYPE_CHECKING:
    from jinja2 import Template


def page(
    reports: Sequence[Report],
    *,
    private: bool,
    speeds: Mapping[str, Sequence[Speed]] = MappingProxyType({}),
    study: str = "",
) -> str:
    """The page of the reports; with `private`, of all their captions and pictures too.

    Without `private`, a dataset that is not publishable shows numbers and figures only. `speeds`,
    by dataset, differ from run to run: they are for a page that git ignores. `study` is where the
    study's page is, from this one.
    """
    template = page_template("page.html.j2")
    sections = [_section(report, private or report.dataset.publishable) for report in reports]
    more = (
        bool(speeds)
        or any(report.dataset.measure.graded or report.papers for report in reports)
        or any(shown.video for section in sections for shown in section["galleries"])
    )
    for section in sections:
        section["speeds"] = speeds.get(section["name"], ())
    shown = {report.dataset.objective(m) for report in reports for m in report.dataset.methods}
    objectives = {kind: label(kind) for kind in sorted(shown)}
    about = {
        "private": private, "objectives": objectives, "more_style": more,
        "speed_columns": COLUMNS, "speed_notes": NOTES, "study": study,
    }  # fmt: skip
    return template.render(sections=sections, **about) + "\n"


def page_template(name: str) -> Template:
    """A template of this package, with the filters that templates use."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mmts.reporting", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"signed": signed, "bounds": bounds, "plural": plural}
    return environment.get_template(name)


@dataclass(frozen=True)
class Whisker:
    """A difference and its interval drawn in a box 100 wide, and where zero lies in it."""

    low: float
    value: float
    high: float
    zero: float


def whiskers(table: Table) -> dict[str, Whisker]:
    """The differences of a table on one common scale, by method."""
    gains = {row.method: row.difference for row in table.rows if row.difference}
    ends = [end for gain in gains.values() for end in (gain.low, gain.high, 0.0)]
    low, high = min(ends, default=0.0), max(ends, default=0.0)
    span = (high - low) or 1.0

    def place(value: float) -> float:
        return round(4 + 92 * (value - low) / span, 1)

    return {
        method: Whisker(place(gain.low), place(gain.value), place(gain.high), place(0.0))
        for method, gain in gains.items()
    }


def _section(report: Report, full: bool) -> dict[str, Any]:
    """What the template shows of one dataset; captions and pictures only if `full`."""
    dataset = report.dataset
    figures = report.figures if full else report.public_figures
    return {
        "name": dataset.name,
        "full": full,
        "facts": _facts(report),
        "colours": method_colours(dataset),
        "measure": dataset.measure,
        "sources": [_source(report, tables) for tables in report.tables],
        "papers": report.papers,
        "notes": notes(dataset, report.resamples, names=full),
        "figures": [
            (figure, shown_width(figure), data_uri(figure.png, "image/png")) for figure in figures
        ],
        "clusters": report.clusters if full else ((), ()),
        "galleries": [g for g in report.galleries if g.t2v or g.v2t] if full else (),
        "plans": dataset.plans,
        "credits": [source for source in dataset.sources if source.credit],
    }


def _source(report: Report, tables: tuple[Table, ...]) -> dict[str, Any]:
    overall = tables[0]
    return {
        "name": overall.source,
        "size": test_size(report.dataset, overall.source),
        "stated": stated(report.dataset, overall),
        "tables": [(table, whiskers(table)) for table in tables],
    }


def shown_width(figure: Figure) -> int:
    """The width to show the figure at, in CSS pixels: its PNG has 1.5 pixels for each."""
    return round(int.from_bytes(figure.png[16:20], "big") / 1.5)


def _facts(report: Report) -> str:
    dataset = report.dataset
    train = dataset.captions[dataset.captions["split"] == "train"]
    return " · ".join(
        [
            plural(train["sample_id"].nunique(), "training item"),
            plural(len(train), "training caption"),
            plural(train["cluster_id"].nunique(), "cluster"),
            plural(len(dataset.methods), "method"),
            plural(len(dataset.seeds), "seed"),
        ]
    )
