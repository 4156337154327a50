"""Tables 7 and 8 of the paper: VAST on SSv2-LT."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import pytest

from mmts.reporting.cells import Clustering, Dataset
from mmts.reporting.comparison import PaperRow, paper_tables
from mmts.reporting.comparison_notes import further_notes, how_measured
from mmts.reporting.published import SSV2_LT

METHODS = {
    "vast": ("info_nce", 0.0, 0.07, 0.07, "learnable"),
    "vast_ts": ("info_nce", 0.06, 0.07, 0.07, "scheduled"),
    "vast_mmts": ("info_nce", 0.06, 0.05, 0.09, "scheduled"),
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
    """Clips of a source of kind ssv2, with templates as clusters, trained with VAST's losses."""
    folder = tmp_path_factory.mktemp("actions")
    tree.write(folder, "actions", sources=("main",), methods=METHODS, seeds=(0,))
    file = folder / "captions/actions/summary.json"
    summary = json.loads(file.read_text())
    summary["sources"]["main"]["kind"] = "ssv2"
    file.write_text(json.dumps(summary))
    dataset: Dataset = tree.loaded(folder, "actions", methods=METHODS, seeds=(0,))
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
