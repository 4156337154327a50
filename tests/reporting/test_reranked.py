"""A report of cells with re-ranking: each table twice, and the first set as it was."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest

from mmts.kinds.rerank import RerankKind
from mmts.reporting.cells import Cell, Dataset
from mmts.reporting.markdown import markdown
from mmts.reporting.page import page
from mmts.reporting.report import Report, dataset_report
from mmts.reporting.tables import headline_metrics
from mmts.reporting.words import notes, stated
from tests.reporting.conftest import SETTINGS

WORDS = "re-ranked: the best 7 of each query by <guessing>"


class Guess(RerankKind):
    kind: Literal["guess"] = "guess"
    candidates: int = 7
    label = "<guessing>"

    def score(self, *_: Any) -> Any:
        raise NotImplementedError


def with_reranking(cell: Cell) -> Cell:
    """Ranks one better, and the numbers of the ranks."""
    queries = cell.queries.assign(**{"rerank/rank": np.maximum(cell.queries["rank"] - 1, 1)})
    metrics = {}
    for source, of in cell.metrics.items():
        again = dict(of)
        for part in ("", "head", "medium", "tail"):
            rows = queries[queries["source"] == source]
            rows = rows[rows["part"] == part] if part else rows
            total, prefix = 0.0, f"{part}/" if part else ""
            for direction in ("t2v", "v2t"):
                rank = rows.loc[rows["direction"] == direction, "rerank/rank"]
                for k in (1, 5, 10):
                    again[f"{prefix}{direction}/R@{k}"] = hits = float((rank <= k).mean())
                    total += 100 * hits
            again[f"{prefix}rsum"] = total
        metrics[source] = {**of, **{f"rerank/{key}": value for key, value in again.items()}}
    return dataclasses.replace(cell, queries=queries, metrics=metrics, rerank=Guess())


@pytest.fixture(scope="module")
def both(dataset: Dataset, data: SimpleNamespace) -> tuple[Report, Report]:
    """The report without re-ranking, and with it."""
    cells = {key: with_reranking(cell) for key, cell in dataset.cells.items()}
    again = dataclasses.replace(dataset, cells=cells)
    shards = data.shards["open"]
    return dataset_report(dataset, SETTINGS, shards), dataset_report(again, SETTINGS, shards)


def test_the_tables_without_reranking_are_as_ever(both: tuple[Report, Report]) -> None:
    plain, again = (report.tables[0] for report in both)
    assert [table.title for table in plain] == ["All queries", "By cluster size"]
    assert [table.title for table in again] == [
        title for table in plain for title in (table.title, f"{table.title}, re-ranked")
    ]
    assert again[::2] == plain
    assert stated(both[1].dataset, again[0]) == stated(both[0].dataset, plain[0])
    assert [g.t2v for g in both[0].galleries] == [g.t2v for g in both[1].galleries]


def test_the_others_are_of_the_new_ranks(both: tuple[Report, Report]) -> None:
    dataset, (_, overall, _, by_part) = both[1].dataset, both[1].tables[0]
    for row in overall.rows:
        hits = [
            100 * np.mean([
                (rows["rerank/rank"] <= 1).mean()
                for rows in [cell.queries[cell.queries["direction"] == "t2v"]]
            ])
            for cell in dataset.of(row.method)
        ]  # fmt: skip
        assert row.entries[0].mean == pytest.approx(np.mean(hits))
    rows = {row.method: row for row in overall.rows}
    gain = rows["mmts"].difference
    assert gain is not None and gain.low < gain.value < gain.high
    difference = rows["mmts"].score.mean - rows["plain"].score.mean  # type: ignore[operator]
    assert gain.value == pytest.approx(difference)
    tail = {row.method: row for row in by_part.rows}["mmts"].difference
    assert tail is not None and tail.low < tail.value < tail.high


def test_page_and_markdown_say_what_it_is(both: tuple[Report, Report]) -> None:
    report = both[1]
    html = page([report], private=False)
    assert "<h4>All queries, re-ranked</h4>" in html
    assert "Re-ranked: the best 7 of each query by &lt;guessing&gt;. They get" in html
    figures = [figure.name for figure in report.figures]
    assert figures[:2] == ["tail", "tail-rerank"] and figures[2:] == [
        figure.name for figure in both[0].figures[1:]
    ]
    assert ", re-ranked. plain: head " in report.figures[1].alt
    text = markdown(report.dataset, report.tables, report.figures, resamples=9)
    assert "**All queries, re-ranked**" in text
    said = notes(report.dataset, 9)
    assert any(line.startswith("After re-ranking: Median rank of the right") for line in said)
    assert f"R{WORDS[1:]}. They get new scores" in " ".join(said)
    assert not any("re-rank" in line.lower() for line in notes(both[0].dataset, 9))


def test_headline_metrics_have_both(both: tuple[Report, Report]) -> None:
    plain, again = (headline_metrics(report.dataset, "main") for report in both)
    for method, of in plain.items():
        assert {k: v for k, v in again[method].items() if k in of} == of
        assert again[method]["rerank_rsum"] > of["rsum"]
        assert list(again[method]) == [*of, *(f"rerank_{name}" for name in of)]
