"""Every number behind a study's tables, one a line: `study.csv`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from mmts.metrics.longtail import PARTS
from mmts.reporting.study.cells import RECALLS
from mmts.reporting.study.rows import Parts, Row, Rows, row_name

COLUMNS = ("dataset", "row", "seed", "trials", "metric", "value")
Line = tuple[Any, ...]


def study_csv(studies: Sequence[Rows]) -> str:
    """The lines of all datasets; what is of no one seed has none."""
    lines = [(rows.dataset, *line) for rows in studies for line in _lines(rows)]
    table = pd.DataFrame(lines, columns=list(COLUMNS)).astype({"seed": "Int64", "trials": "Int64"})
    return table.to_csv(index=False, lineterminator="\n", float_format=lambda x: f"{x:.3f}")


def _lines(rows: Rows) -> Iterator[Line]:
    """row, seed, trials, metric, value."""
    records = rows.results.records
    for tried in rows.results.trials.values():
        for entry, _ in tried:
            about = row_name("trials", entry, trial=True)
            for key in entry.keys:
                yield from _of_record(about, None, records[key])
    for of_table in rows.by_table.values():
        for row in of_table:
            tuned = row.tested.entry.changes != row.tested.entry.varied
            trials = len(rows.results.trials[row.tested.entry.name]) if tuned else 0
            yield from _of_row(rows, row, trials)


def _of_row(rows: Rows, row: Row, trials: int) -> Iterator[Line]:
    for record in row.tested.records:
        yield from _of_record(row.name, trials, record)
    parts: Parts = (None, *PARTS) if row.name in rows.chosen else (None,)
    if "class_size" in row.tested.records[0]:
        parts = (None, "tail")
    for part in parts:
        for metric in RECALLS:
            values = rows.results.values(row.tested, metric, part)
            for seed, value in zip(row.tested.seeds, values, strict=True):
                yield row.name, seed, trials, _named(metric, part), value
    for contrast in {c.name: c for c in row.contrasts.values()}.values():  # own may be the best
        for part in contrast.parts:
            found = rows.results.contrast(contrast.terms, part)
            for end, value in (("", found.value), (" low", found.low), (" high", found.high)):
                yield row.name, None, trials, _named(contrast.name, part) + end, value


def _of_record(name: str, trials: int | None, record: Any) -> Iterator[Line]:
    validated = record["validation"]["val/rsum"]
    yield name, record["seed"], trials, "validation rsum", validated
    yield name, record["seed"], trials, "CPU seconds", record["cpu_seconds"]


def _named(metric: str, part: str | None) -> str:
    return metric if part is None else f"{part}/{metric}"
