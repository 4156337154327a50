"""Tables 3, 6 and 9 of the paper: VAST on YouCook2, without and with refinement."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import pytest

from mmts.reporting import published_vast
from mmts.reporting.cells import Clustering, Dataset
from mmts.reporting.comparison import PaperRow, method_of, paper_tables
from mmts.reporting.comparison_notes import further_notes, how_measured
from mmts.reporting.misprints import misprints
from mmts.reporting.page import page
from mmts.reporting.paper import Recipe
from mmts.reporting.published import CC3M, YOUCOOK2
from mmts.reporting.report import Report
from mmts.reporting.words import notes
from tests.reporting.test_reranked import with_reranking

MATCHING = {"matching": {"kind": "matching", "weight": 0.1}}
METHODS = {
    "smooth": ("info_nce", 0.0, 0.07, 0.07, "learnable"),  # has no matching
    "vast": ("info_nce", 0.0, 0.07, 0.07, "learnable"),
    "vast_ts": ("info_nce", 0.06, 0.07, 0.07, "scheduled"),
    "vast_mmts": ("info_nce", 0.06, 0.06, 0.09, "scheduled"),
    "vast_mmts_clip": ("info_nce", 0.06, 0.06, 0.09, "scheduled"),
    "vast_mmts_video": ("info_nce", 0.06, 0.06, 0.09, "scheduled"),
    "margin": ("max_margin", 0.0, 0.2, 0.2, "scheduled"),
    "margin_ics": ("max_margin", 0.0, 0.1, 0.3, "scheduled"),
}
CLUSTERINGS = {
    "default": Clustering("K-Means of sentence vectors", published=True),
    "clip": Clustering("K-Means of CLIP-t"),
    "video": Clustering("K-Means of VAST-v"),
}
PAPER = """
UniVL 28.9 57.6 70.0
MELTR 33.7 63.1 74.8
VLM 27.1 56.9 69.4
VAST 50.4 74.3 80.8
VAST + Ours 53.0 77.1 84.5
VAST (baseline) 50.4 74.3 80.8
S-BERT(text) 53.0 77.1 84.5
VAST-v(video) 52.2 76.3 84.0
CLIP-t(text) 52.5 76.4 84.4
CLIP (paper) – – – – – – 50.4 74.3 80.8 – – –
CLIP* 41.4 65.0 74.6 42.6 66.8 75.4 53.1 76.1 83.2 52.6 75.9 83.5
CLIP w/ TS 43.2 67.8 77.2 44.2 70.5 79.1 53.1 77.1 84.4 52.6 76.3 84.5
CLIP w/ ICS 41.0 65.2 74.5 42.1 66.9 75.0 52.9 75.7 83.1 52.7 76.4 83.6
CLIP w/ TS&ICS 43.1 67.8 77.3 44.4 70.4 79.2 53.0 77.1 84.5 52.7 76.3 84.6
MI-MM 37.9 61.7 72.7 38.5 63.2 73.4 54.3 76.9 83.4 53.5 76.8 83.7
MI-MM w/ TS 38.1 62.0 72.0 37.6 63.2 73.7 53.8 76.6 83.4 53.3 76.8 83.5
MI-MM w/ ICS 36.8 60.8 71.1 37.0 62.2 72.1 54.1 76.3 82.7 54.1 77.0 83.2
MI-MM w/ TS&ICS 38.1 62.8 72.7 38.1 63.2 74.2 53.9 76.7 83.7 52.8 76.8 83.7
"""


@pytest.fixture(scope="module")
def cook(tree: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Clips with sound and subtitles, on a source of kind youcook2, re-ranked."""
    folder = tmp_path_factory.mktemp("cook")
    tree.write(folder, "cook", sources=("main",), methods=METHODS, seeds=(0,))
    file = folder / "captions/cook/summary.json"
    summary = json.loads(file.read_text())
    summary["sources"]["main"] |= {"kind": "youcook2", "official": {"test": 3_491}}
    file.write_text(json.dumps(summary))
    for method in METHODS:
        _extend(folder / f"train/cook/{method}/0", method)
    dataset: Dataset = tree.loaded(folder, "cook", methods=METHODS, seeds=(0,))
    cells = {key: with_reranking(cell) for key, cell in dataset.cells.items()}
    return dataclasses.replace(dataset, cells=cells, clusterings=CLUSTERINGS)


def _extend(trained: Any, method: str) -> None:
    """Let run.json and model.json be of VAST's losses and of an omni-modal model."""
    run = json.loads((trained / "run.json").read_text())
    if run["objective"] == "info_nce":
        run["objective_numbers"] = {"label_smoothing": 0.1, "anchors_only": False}
    run["clustering"]["shift"] = method.rpartition("mmts_")[2] if "mmts_" in method else "default"
    run["terms"] = {} if method == "smooth" else MATCHING
    (trained / "run.json").write_text(json.dumps(run))
    model = json.loads((trained / "model.json").read_text())
    model["model"] = {"kind": "omni", "streams": ["vision", "audio", "subtitle"]}
    model["streams"] = {"audio": {"kind": "audio"}, "subtitle": {"kind": "text"}}
    (trained / "model.json").write_text(json.dumps(model))
    curves = (trained / "curves.csv").read_text().splitlines()
    if run["terms"]:
        ends = (f",{run['objective']},matching", *[",1.0,0.5"] * (len(curves) - 1))
        curves = [line + end for line, end in zip(curves, ends, strict=True)]
    (trained / "curves.csv").write_text("\n".join(curves) + "\n")


def _cells(dataset: Dataset, **changes: Any) -> Dataset:
    """The dataset with other cells."""
    cells = {k: dataclasses.replace(cell, **changes) for k, cell in dataset.cells.items()}
    return dataclasses.replace(dataset, cells=cells)


def _runs(dataset: Dataset, **changes: Any) -> Dataset:
    """The dataset with another run.json of every method."""
    cells = {
        key: dataclasses.replace(cell, run={**cell.run, **changes})
        for key, cell in dataset.cells.items()
    }
    return dataclasses.replace(dataset, cells=cells)


def _measured(dataset: Dataset, table: int) -> list[PaperRow]:
    return [row for row in paper_tables(dataset)[table].rows if row.kind == "measured"]


def test_published_numbers_are_verbatim(cook: Dataset) -> None:
    shown = [
        " ".join([row.label, *(entry.text for entry in row.entries)])
        for table in paper_tables(cook)
        for row in table.rows
        if row.kind == "published"
    ]
    assert shown == PAPER.split("\n")[1:-1]
    assert not any(misprints(YOUCOOK2, row) for table in YOUCOOK2.tables for row in table.rows)


def test_rows_are_filled_by_what_methods_are(cook: Dataset) -> None:
    assert [[row.method for row in _measured(cook, table)] for table in range(3)] == [
        ["vast", "vast_mmts"],
        ["vast", "vast_mmts", "vast_mmts_video", "vast_mmts_clip"],
        ["vast", "vast_ts", "", "vast_mmts", "margin", "", "margin_ics", ""],
    ]
    assert [row.label for row in _measured(cook, 1)] == [
        "InfoNCE, learned temperature",
        "InfoNCE, TS & ICS by cluster of K-Means",
        "InfoNCE, TS & ICS by cluster of VAST-v",
        "InfoNCE, TS & ICS by cluster of CLIP-t",
    ]


def test_tables_have_the_numbers_of_both_sets(cook: Dataset) -> None:
    of = cook.of("vast_mmts")[0].metrics["main"]
    keys = [f"{d}/R@{k}" for d in ("t2v", "v2t") for k in (1, 5, 10)]
    both = [of[key] for key in keys] + [of[f"rerank/{key}"] for key in keys]
    [row] = [row for row in _measured(cook, 2) if row.method == "vast_mmts"]
    assert [entry.mean for entry in row.entries] == pytest.approx([100 * value for value in both])
    for table in (0, 1):
        refined = _measured(cook, table)[1].entries
        assert [entry.mean for entry in refined] == [entry.mean for entry in row.entries[6:9]]
    plain = _measured(_without_reranking(cook), 2)[0]
    assert [entry.text == "–" for entry in plain.entries] == [False] * 6 + [True] * 6


@pytest.mark.parametrize(
    "changes",
    [
        {"terms": {}},
        {"terms": {"matching": {"kind": "matching", "weight": 1.0}}},
        {"objective_numbers": {"label_smoothing": 0.2}},
        {"objective_numbers": {}},
        {"modulator": "scheduled"},
        {"modulator": "individual"},
        {"clustering": {"shift": "default", "relevancy": ["default"]}},
    ],
)
def test_another_loss_does_not_fill_the_baseline(cook: Dataset, changes: dict[str, Any]) -> None:
    baseline = published_vast.YOUCOOK2.tables[0].rows[3].recipe
    assert baseline is not None and method_of(cook, baseline, YOUCOOK2.streams) == "vast"
    assert method_of(_runs(cook, **changes), baseline, YOUCOOK2.streams) == ""
    assert method_of(cook, baseline) == ""  # of an experiment without sound and subtitles
    anchors = {"objective_numbers": {"label_smoothing": 0.1, "anchors_only": True}}
    assert method_of(_runs(cook, **anchors), baseline, YOUCOOK2.streams) == "vast"


@pytest.mark.parametrize("numbers", [{"label_smoothing": 0.1}, {"anchors_only": True}])
def test_the_rows_of_other_experiments_have_neither(cook: Dataset, numbers: dict[str, Any]) -> None:
    recipe = CC3M.tables[0].rows[1].recipe
    assert recipe == Recipe("info_nce", ts=True, ics=True, column="")
    plain = _cells(_runs(cook, terms={}, objective_numbers={}), streams={})
    assert method_of(plain, recipe) == "vast_mmts"
    assert method_of(_runs(plain, objective_numbers=numbers), recipe) == ""


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ((60, 20, 40), "The official splits have 10,337 clips to train on and 3,491 to test on"),
        ((9_283, 3_216, 3_216), "These are the clips of VAST's files. The paper does not say"),
        ((10_337, 3_491, 3_492), "These are the official splits. VAST's files have 9,283"),
    ],
)
def test_the_note_tells_of_which_clips_the_numbers_are(
    cook: Dataset, counts: tuple[int, int, int], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmts.reporting.comparison_notes._queries", lambda *_: counts[1:])
    packed = dataclasses.replace(cook, packed={"train": counts[0]})
    note = how_measured(packed, YOUCOOK2, {"youcook2": "main"})
    assert sentence in note
    assert ("do not compare" in note) is (counts[0] != 9_283)
    said = f"Trained on {counts[0]:,} clips, tested on {counts[1]:,} clips and {counts[2]:,} cap"
    assert said in note and "(InfoNCE with label smoothing 0.1, and either loss with 0.1 ×" in note


def test_notes_tell_what_the_papers_own_rerun_is(cook: Dataset) -> None:
    first, second, third = paper_tables(cook)
    assert "2.7 are the rerun's and −0.1 is MM-TS's" in first.notes[0]
    assert "R@1 53.1" in second.notes[0]
    assert "standard error of 0.88 points" in third.notes[1]
    assert any("Here the last epoch is measured" in note for note in first.notes)
    assert any("which temperature draws wrong pairs" in note for note in first.notes)


def test_further_notes_tell_what_is_otherwise(cook: Dataset) -> None:
    said = "With refinement: re-ranked, here the best 7 of each query by <guessing>, in VAST 50."
    assert further_notes(cook, YOUCOOK2)[0] == said
    deaf = _without_reranking(_cells(cook, streams={"subtitle": "text"}, sees=False))
    assert further_notes(deaf, YOUCOOK2)[:2] == (
        "The models here read no audio and no vision, those of the paper do.",
        "Nothing was re-ranked here, so that columns with refinement are empty.",
    )
    assert "The vision side reads subtitle (text) alone, no frames and no pictures." in notes(
        deaf, 9
    )


def test_cluster_sizes_stand_beside_those_of_table_10(cook: Dataset) -> None:
    assert not any("in the paper 106" in note for note in further_notes(cook, YOUCOOK2))
    train = cook.captions["split"] == "train"
    ids = cook.captions["cluster_id"].mask(train, range(len(cook.captions))) // 5
    many = dataclasses.replace(cook, captions=cook.captions.assign(cluster_id=ids))
    assert further_notes(many, YOUCOOK2)[1] == (
        "Training captions of the largest and the smallest clusters: in the paper (Table 10) 106, "
        "106, 106, 101, 92, …, 12, 12, 11, 10, 9; here 5, 5, 5, 5, 5, …, 5, 5, 5, 5, 5."
    )


def test_the_page_has_the_wide_table(cook: Dataset, reports: list[Report]) -> None:
    report = dataclasses.replace(reports[0], papers=paper_tables(cook))
    html = page([report], private=False)
    assert html.count(">published<") == 18 and html.count(">measured<") == 14
    assert html.count('colspan="3"><span>t2v, with refinement</span>') == 3


def _without_reranking(dataset: Dataset) -> Dataset:
    cells = {
        key: dataclasses.replace(
            cell, rerank=None,
            metrics={s: {k: v for k, v in of.items() if not k.startswith("rerank/")}
                     for s, of in cell.metrics.items()},
        )
        for key, cell in dataset.cells.items()
    }  # fmt: skip
    return dataclasses.replace(dataset, cells=cells)
