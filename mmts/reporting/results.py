"""The files of results/: tables, metrics, curves, figures and the pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from mmts.reporting.cells import Cell
from mmts.reporting.markdown import markdown
from mmts.reporting.page import page
from mmts.reporting.report import Report
from mmts.reporting.speed import Speed, speed_page
from mmts.reporting.tables import headline_metrics

_POINTS = 500  # of a longer curve every nth is kept, for a file that git can keep


def write_results(
    results: Path,
    reports: Sequence[Report],
    speeds: Mapping[str, Sequence[Speed]] = MappingProxyType({}),
    study: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """Writes the folder `results`: tables, metrics, curves, figures and the pages.

    Captions and pictures of a dataset that is not publishable go to `results/local` only, and so
    do `speeds` (by dataset), which differ from run to run. `study` has the files of the study's
    report by name.
    """
    for report in reports:
        _write_dataset(results, report)
    _curves(reports).to_csv(results / "curves.csv", index=False, lineterminator="\n")
    for name, table in (
        ("terms", _named(reports, lambda cell: cell.term_columns)),
        ("validation", _named(reports, lambda cell: cell.validated_columns)),
    ):
        table.to_csv(results / f"{name}.csv", index=False, lineterminator="\n")
    for name, content in study.items():
        _write(results / name, content)
    link = "study.html" if study else ""
    _write(results / "index.html", page(reports, private=False, study=link))
    local = [report for report in reports if not report.dataset.publishable]
    if local:
        _write(results / "local" / "index.html", page(local, private=True, speeds=speeds))
    if speeds:
        _write(results / "local" / "speed.md", speed_page(speeds))


def _write_dataset(results: Path, report: Report) -> None:
    dataset, tables = report.dataset, report.tables
    text = markdown(
        dataset, tables, report.public_figures, resamples=report.resamples, papers=report.papers
    )
    _write(results / f"{dataset.name}.md", text)
    for method, plan in dataset.plans.items():
        _write(results / "plan" / dataset.name / f"{method}.json", plan)
    sources = [overall.source for overall, *_ in tables]
    numbers = {source: headline_metrics(dataset, source) for source in sources}
    shown = numbers if len(numbers) > 1 else next(iter(numbers.values()))
    _write(results / "metrics" / f"{dataset.name}.json", json.dumps(shown, indent=2) + "\n")
    for figure in report.figures:
        hidden = figure.private and not dataset.publishable
        folder = results / "local" / "figures" if hidden else results / "figures"
        _write(folder / f"{dataset.name}-{figure.name}.png", figure.png)


def _curves(reports: Sequence[Report]) -> pd.DataFrame:
    """All cells' training curves below each other, for `dvc plots`."""
    tables = []
    for report in reports:
        for cell in report.dataset.cells.values():
            about: dict[str, Any] = {
                "dataset": report.dataset.name,
                "method": cell.method,
                "seed": cell.seed,
                "cell": f"{cell.method}/{cell.seed}",
            }
            curves = _thinned(cell)
            tables.append(curves.assign(**about)[[*about, *curves.columns]])
    return pd.concat(tables, ignore_index=True)


def _named(reports: Sequence[Report], columns: Callable[[Cell], Mapping[str, str]]) -> pd.DataFrame:
    """A row a name and logged step of all cells, for `dvc plots`.

    Args:
        columns: of the curves of a cell, by name.
    """
    rows: list[tuple[Any, ...]] = []
    for report in reports:
        for cell in report.dataset.cells.values():
            curves = _thinned(cell)
            about = (report.dataset.name, cell.method, f"{cell.method}/{cell.seed}")
            for name, column in columns(cell).items():
                logged = curves[["step", column]].dropna()
                rows += [(*about, name, *row) for row in logged.itertuples(index=False, name=None)]
    return pd.DataFrame(rows, columns=["dataset", "method", "cell", "name", "step", "value"])


def _thinned(cell: Cell) -> pd.DataFrame:
    """At most about _POINTS rows, evenly, and beside them all with a validation."""
    curves = cell.curves
    kept = curves[list(cell.validated_columns.values())].notna().any(axis=1).to_numpy(copy=True)
    kept[:: max(1, -(-len(curves) // _POINTS))] = True
    return curves.loc[kept]


def _write(file: Path, content: str | bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
