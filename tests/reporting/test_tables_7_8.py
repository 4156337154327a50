"""Tables 7 and 8 of the paper: VAST on SSv2-LT."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmts.reporting.cells import Clustering, Dataset
from mmts.reporting.comparison import PaperRow, paper_tables
from mmts.reporting.comparison_notes import further_notes, how_measured
from mmts.reporting.figure_ranges import ranges_figure
from mmts.reporting.markdown import markdown
from mmts.reporting.page import page
from mmts.reporting.published import SSV2_LT
from mmts.reporting.ranges import Ranges, ranges_of, ranges_table
from mmts.reporting.report import Report

METHODS = {
    "vast": ("info_nce", 0.0, 0.07, 0.07, "learnable"),
    "vast_ts": ("info_nce", 0.06, 0.07, 0.07, "scheduled"),
    "vast_mmts": ("info_nce", 0.06, 0.05, 0.09, "scheduled"),
}
CELLS = {
    "low": ("info_nce", 0.02, 0.05, 0.09, "scheduled"),
    "high": ("info_nce", 0.08, 0.07, 0.11, "scheduled"),
    "wide": ("info_nce", 0.11, 0.06, 0.10, "scheduled"),
}
PAPER = """
VAST 41.7 69.1 78.9 41.2 69.3 79.3
w/ TS 42.6 70.0 79.5 41.3 68.7 79.3
w/ TD 42.7 70.3 79.6 41.2 69.7 79.5
w/ TS&TD 43.2 70.3 79.7 41.8 70.3 80.0
"""
VAST = {
    "objective_numbers": {"label_smoothing": 0.1, "anchors_only": False},
    "terms": {"matching": {"kind": "matching", "weight": 0.1}},
}


@pytest.fixture(scope="module")
def actions(tree: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The rows of Table 7 but one."""
    return _actions(tree, tmp_path_factory.mktemp("actions"), METHODS)


@pytest.fixture(scope="module")
def grid(tree: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Cells of Table 8, and one of another alpha."""
    return _actions(tree, tmp_path_factory.mktemp("grid"), METHODS | CELLS)


def _actions(tree: SimpleNamespace, folder: Path, methods: dict[str, Any]) -> Dataset:
    """Clips of a source of kind ssv2, with templates as clusters, trained with VAST's losses."""
    tree.write(folder, "actions", sources=("main",), methods=methods, seeds=(0,))
    file = folder / "captions/actions/summary.json"
    summary = json.loads(file.read_text())
    summary["sources"]["main"]["kind"] = "ssv2"
    file.write_text(json.dumps(summary))
    dataset: Dataset = tree.loaded(folder, "actions", methods=methods, seeds=(0,))
    cells = {
        key: dataclasses.replace(cell, run={**cell.run, **VAST})
        for key, cell in dataset.cells.items()
    }
    templates = {"default": Clustering("classes", column="template", published=True)}
    return dataclasses.replace(dataset, cells=cells, clusterings=templates)


def _measured(dataset: Dataset) -> list[PaperRow]:
    return [row for row in paper_tables(dataset)[0].rows if row.kind == "measured"]


def test_published_numbers_of_table_7_are_verbatim(actions: Dataset) -> None:
    [table] = paper_tables(actions)
    shown = [
        " ".join([row.label, *(entry.text for entry in row.entries)])
        for row in table.rows
        if row.kind == "published"
    ]
    assert table.title.startswith("Table 7 of the paper") and shown == PAPER.split("\n")[1:-1]
    assert table.groups == (("t2v", ("R@1", "R@5", "R@10")), ("v2t", ("R@1", "R@5", "R@10")))


def test_rows_of_table_7_are_filled_by_what_methods_are(actions: Dataset) -> None:
    rows = _measured(actions)
    assert [(row.label, row.method) for row in rows] == [
        ("InfoNCE, learned temperature", "vast"),
        ("InfoNCE, TS", "vast_ts"),
        ("InfoNCE, ICS by template", ""),
        ("InfoNCE, TS & ICS by template", "vast_mmts"),
    ]
    of = actions.of("vast_mmts")[0].metrics["main"]
    wanted = [100 * of[f"{d}/R@{k}"] for d in ("t2v", "v2t") for k in (1, 5, 10)]
    assert [entry.mean for entry in rows[3].entries] == pytest.approx(wanted)
    assert {entry.text for entry in rows[2].entries} == {"–"}
    means = {"default": Clustering("K-Means of sentence vectors", published=True)}
    other = dataclasses.replace(actions, clusterings=means)
    assert [row.method for row in _measured(other)] == ["vast", "vast_ts", "", ""]


@pytest.mark.parametrize(
    ("train", "test", "sentence"),
    [
        (50_418, 2_610, "or its 6,960 validation clips; here it is the 2,610, and numbers of"),
        (50_418, 6_960, "or its 6,960 validation clips; here it is the 6,960, and numbers of"),
        (60, 2_610, "SSv2-LT has 50,418 clips to train on, 2,610 to test on (15 a class)"),
    ],
)
def test_the_note_tells_of_which_clips_the_numbers_are(
    actions: Dataset, train: int, test: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmts.reporting.comparison_notes._queries", lambda *_: (test, test))
    packed = dataclasses.replace(actions, packed={"train": train})
    note = how_measured(packed, SSV2_LT, {"ssv2": "main"})
    assert sentence in note
    assert f"Trained on {train:,} clips, tested on {test:,} clips and {test:,} captions." in note


def test_a_long_tail_that_was_drawn_is_told(actions: Dataset) -> None:
    drawn = dataclasses.replace(actions, long_tail={"seed": 3})
    said = "The clips are a long tail drawn here with seed 3, not those of the paper."
    assert further_notes(drawn, SSV2_LT) == (said, *SSV2_LT.notes)
    assert further_notes(actions, SSV2_LT) == SSV2_LT.notes


def _ranges(dataset: Dataset) -> Ranges:
    found = ranges_of(dataset)
    assert found is not None
    return found


def _lines(dataset: Dataset, kind: str) -> list[str]:
    return [
        " ".join([row.label, *(e.text + m for e, m in zip(row.entries, row.marks, strict=True))])
        for row in ranges_table(_ranges(dataset)).rows
        if row.kind == kind
    ]


def test_published_numbers_of_table_8_are_verbatim(actions: Dataset) -> None:
    table = ranges_table(_ranges(actions))
    assert table.groups == (("t2v R@1 at alpha", ("0.02", "0.04", "0.06", "0.08")),)
    assert _lines(actions, "published") == [
        "shifts 0.05–0.09 42.7 43.2 43.2 42.3",
        "shifts 0.06–0.10 43.4 43.0 43.1 42.8",
        "shifts 0.07–0.11 43.0 43.2 42.9 42.8",
    ]
    assert "The best of the twelve published numbers is 43.4" in table.notes[1]


def test_cells_of_table_8_are_filled_by_shifts_and_alpha(grid: Dataset) -> None:
    score = {m: f"{100 * grid.of(m)[0].metrics['main']['t2v/R@1']:.1f}" for m in METHODS | CELLS}
    assert _lines(grid, "published")[0] == "shifts 0.05–0.09 42.7 43.2 43.2 42.3 –"
    assert _lines(grid, "measured") == [
        f"shifts 0.05–0.09 {score['low']} – {score['vast_mmts']} – –¹",  # 0.05 - 0.11 / 2
        f"shifts 0.06–0.10 – – – – {score['wide']}",
        f"shifts 0.07–0.11 – – – {score['high']} –",
    ]
    table = ranges_table(_ranges(grid))
    assert [row.method for row in table.rows if row.kind == "measured"] == [
        "2 methods", "wide", "high",
    ]  # fmt: skip
    assert table.notes[0].startswith("¹ The lowest tau, shift_min − alpha/2, would be 0 or less")


def test_the_page_shows_table_8_and_its_heat_maps(grid: Dataset, reports: list[Report]) -> None:
    ranges = _ranges(grid)
    [figure] = ranges_figure(grid, ranges)
    assert "Published: shifts 0.05–0.09 42.7 at alpha 0.02, 43.2 at alpha 0.04" in figure.alt
    assert "shifts 0.05–0.09" in (measured := figure.alt.partition("Measured: ")[2])
    assert "none at alpha 0.08, unsound at alpha 0.11; shifts 0.06–0.10 none" in measured
    table = ranges_table(ranges)
    shown = dataclasses.replace(reports[0], papers=(table,), figures=(figure,))
    html = page([shown], private=False)
    assert html.count(">published<") == html.count(">measured<") == 3 and figure.alt in html
    text = markdown(grid, (), (figure,), resamples=10, papers=(table,))
    assert "| shifts 0.05–0.09 | published | 42.7 | 43.2 | 43.2 | 42.3 | – |" in text


def test_one_cell_has_no_heat_maps_and_other_datasets_no_table_8(
    actions: Dataset, dataset: Dataset
) -> None:
    assert ranges_figure(actions, _ranges(actions)) == []
    assert ranges_of(dataset) is None
