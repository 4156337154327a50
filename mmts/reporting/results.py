"""The files of results/: tables, metrics, curves, figures and the pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mmts.reporting.markdown import markdown
from mmts.reporting.page import page
from mmts.reporting.report import Report
from mmts.reporting.tables import headline_metrics


def write_results(results: Path, reports: Sequence[Report]) -> None:
    """Writes the folder `results`: tables, metrics, curves, figures and the pages.

    Captions and pictures of a dataset that is not publishable go to `results/local` only.
    """
    for report in reports:
        _write_dataset(results, report)
    _curves(reports).to_csv(results / "curves.csv", index=False, lineterminator="\n")
    _write(results / "index.html", page(reports, private=False))
    local = [report for report in reports if not report.dataset.publishable]
    if local:
        _write(results / "local" / "index.html", page(local, private=True))


def _write_dataset(results: Path, report: Report) -> None:
    dataset, tables = report.dataset, report.tables
    text = markdown(
        dataset, tables, report.public_figures, resamples=report.resamples, papers=report.papers
    )
    _write(results / f"{dataset.name}.md", text)
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
            tables.append(cell.curves.assign(**about)[[*about, *cell.curves.columns]])
    return pd.concat(tables, ignore_index=True)


def _write(file: Path, content: str | bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
