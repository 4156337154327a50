"""The paper's tables: numbers verbatim, footnotes where they are due, measured rows by recipe."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from statistics import mean
from types import SimpleNamespace
from typing import Any

import pytest

from mmts.kinds.schedule import SCHEDULES
from mmts.reporting.cells import Clustering, Dataset
from mmts.reporting.comparison import PaperRow, method_of, paper_tables
from mmts.reporting.figure_tau import tau_figure
from mmts.reporting.misprints import misprints
from mmts.reporting.page import page
from mmts.reporting.published import EK100, Published, Recipe
from mmts.reporting.results import write_results
from mmts.reporting.tables import setting
from tests.examples.adding import module_of

MMTS = Recipe("max_margin", ts=True, ics=True)
PRINTED = """
MME 43.0 34.0 38.5 50.1 46.9 48.5
JPoSE 49.9 38.1 44.1 55.5 51.6 53.5
EgoVLP 49.9 40.5 45.0 60.9 57.9 59.4
LaViLa 55.2 45.7 50.5 66.5 63.4 65.0
AVION 55.7 48.2 52.0 67.8 65.3 66.5
AVION + MM-TS 58.8 48.9 53.9 68.9 65.8 67.3
MI-MM 55.3 47.6 51.4 67.6 64.8 66.2
MI-MM w/ TS 58.4 48.6 53.6 69.4 64.8 66.9
MI-MM w/ ICS 56.4 48.4 52.4 68.2 66.0 67.1
MI-MM w/ TS&ICS 58.8 48.9 53.9 68.9 65.8 67.3
CLIP 47.0 39.8 43.1 64.4 61.2 62.8
CLIP w/ TS 55.0 41.7 48.4 69.1 64.6 66.8
CLIP w/ ICS 52.2 43.6 47.8 68.0 64.8 66.4
CLIP w/ TS&ICS 54.6 43.9 49.2 68.6 64.4 66.4
verbs & nouns 58.2 48.7 53.4 68.3 65.5 66.9
verbs 58.5 48.7 53.6 68.0 65.3 66.7
nouns 58.8 48.9 53.9 68.9 65.3 67.3
"""


def _rows(dataset: Dataset) -> list[PaperRow]:
    return [row for table in paper_tables(dataset) for row in table.rows]


def _with(dataset: Dataset, method: str, **changes: Any) -> Dataset:
    """The dataset with another run.json of one method."""
    cells = {
        key: dataclasses.replace(cell, run={**cell.run, **changes}) if key[0] == method else cell
        for key, cell in dataset.cells.items()
    }
    return dataclasses.replace(dataset, cells=cells)


def test_published_numbers_are_verbatim(ek100: SimpleNamespace) -> None:
    shown = [
        " ".join([row.label, *(entry.text for entry in row.entries)])
        for row in _rows(ek100.dataset)
        if row.kind == "published"
    ]
    assert shown == PRINTED.split("\n")[1:-1]


def test_footnotes_stand_exactly_where_averages_do_not_follow() -> None:
    found = [
        (row.label, at)
        for table in EK100.tables
        for row in table.rows
        for at in misprints(EK100, row)
    ]
    assert found == [("EgoVLP", 2), ("MI-MM w/ TS", 5), ("CLIP", 2), ("nouns", 5)]
    by_label = {row.label: row for table in EK100.tables for row in table.rows}
    assert misprints(EK100, by_label["CLIP"])[2] == (
        "CLIP: the paper prints mAP avg 43.1; the mean of its columns is 43.4."
    )
    assert misprints(EK100, by_label["nouns"])[5].endswith(
        "Table 4 prints nDCG t2v 65.8 for the same method, not 65.3."
    )


@pytest.mark.parametrize(
    ("average", "misprinted"), [(45.0, True), (45.1, False), (45.3, False), (45.4, True)]
)
def test_rounding_explains_a_tenth(average: float, misprinted: bool) -> None:
    row = Published("x", (49.9, 40.5, average, 50.0, 50.0, 50.0))  # the mean is 45.2
    assert (2 in misprints(EK100, row)) is misprinted


def test_marks_and_notes_belong_together(ek100: SimpleNamespace) -> None:
    for table in paper_tables(ek100.dataset):
        marks = [mark for row in table.rows for mark in row.marks if mark]
        assert marks == ["¹", "²"][: len(marks)]
        assert [note[0] for note in table.notes if note[0] in "¹²"] == marks
        assert all(not any(row.marks) for row in table.rows if row.kind == "measured")


def test_measured_rows_are_from_the_metrics_or_dashes(ek100: SimpleNamespace) -> None:
    measured = [row for row in _rows(ek100.dataset) if row.kind == "measured"]
    assert {row.label: row.method for row in measured} == {
        "max-margin, baseline": "margin",
        "max-margin, TS": "",
        "max-margin, ICS by noun": "",
        "max-margin, TS & ICS by noun": "margin_mmts",
        "InfoNCE, baseline": "nce",
        "InfoNCE, TS": "nce_wave",
        "InfoNCE, ICS by noun": "",
        "InfoNCE, TS & ICS by noun": "",
        "max-margin, TS & ICS by verb and noun": "",
        "max-margin, TS & ICS by verb": "margin_verb",
    }
    keys = [f"{m}/{d}" for m in ("mAP", "nDCG") for d in ("v2t", "t2v", "avg")]
    for row in measured:
        for entry, key in zip(row.entries, keys, strict=True):
            if not row.method:
                assert (entry.text, entry.std) == ("–", None)
            else:
                values = [c.metrics["main"][key] for c in ek100.dataset.of(row.method)]
                assert entry.mean == pytest.approx(100 * mean(values))


@pytest.mark.parametrize(
    "changes",
    [
        {"modulator": "learnable"},
        {"schedule": {"kind": "cosine", "update_every": "epoch"}},
        {"shift": {"kind": "log"}},
        {"clustering": {"shift": "verb", "relevancy": []}},
        {"clustering": {"shift": "default", "relevancy": ["noun"]}},
        {"alpha": 0.0},
        {"shift_max": 0.17},
        {"objective": "siglip"},
    ],
)
def test_a_method_with_another_property_does_not_fill_the_row(
    ek100: SimpleNamespace, changes: dict[str, Any]
) -> None:
    assert method_of(ek100.dataset, MMTS) == "margin_mmts"
    assert method_of(_with(ek100.dataset, "margin_mmts", **changes), MMTS) == ""


def test_a_triangle_is_not_the_papers_schedule(
    ek100: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the example, which the registry here does not have."""
    triangle, known = module_of("triangle").Kind(kind="triangle"), SCHEDULES.validated
    name = {"kind": "triangle"}
    monkeypatch.setattr(SCHEDULES, "validated", lambda v: triangle if v == name else known(v))
    of = {"InfoNCE, TS": "nce_wave", "max-margin, TS & ICS by noun": "margin_mmts"}
    for label, method in of.items():
        drawn = _with(ek100.dataset, method, schedule=name)
        measured = {row.label: row.method for row in _rows(drawn) if row.kind == "measured"}
        others = {label: method for label, method in of.items() if method not in measured.values()}
        assert others == {label: method} and measured[label] == ""
        assert setting(drawn, method).endswith(", triangle")
        figure = tau_figure(drawn)
        assert f"{setting(drawn, method)}): 5 triangle waves of height" in figure.alt
        assert "the triangle schedule" in figure.caption


def test_a_clustering_counts_by_its_column_not_its_name(ek100: SimpleNamespace) -> None:
    named = _with(ek100.dataset, "margin_mmts", clustering={"shift": "noun", "relevancy": []})
    assert method_of(named, MMTS) == "margin_mmts"
    by_noun = {"verb": Clustering("classes", "noun", True)}
    others = dataclasses.replace(ek100.dataset, clusterings=by_noun)
    assert method_of(others, MMTS) == "margin_verb"
    other = {"verb": Clustering("a tree", "noun", False)}
    assert method_of(dataclasses.replace(ek100.dataset, clusterings=other), MMTS) == ""


def test_another_test_set_is_told(ek100: SimpleNamespace) -> None:
    first, *others = paper_tables(ek100.dataset)
    assert "Trained on 60 clips, tested on 20 clips and 26 sentences" in first.notes[-1]
    assert "do not compare with the published ones" in first.notes[-1]
    assert not any("Trained" in note for table in others for note in table.notes)


def test_other_datasets_do_not_show_the_papers_tables(
    dataset: Dataset, ek100: SimpleNamespace
) -> None:
    assert paper_tables(dataset) == ()
    sources = tuple(dataclasses.replace(s, kind="table") for s in ek100.dataset.sources)
    assert paper_tables(dataclasses.replace(ek100.dataset, sources=sources)) == ()


def test_both_pages_mark_every_row(ek100: SimpleNamespace, tmp_path: Path) -> None:
    write_results(tmp_path, [ek100.report])
    text = (tmp_path / "kitchen.md").read_text()
    html = page([ek100.report], private=False)
    assert text.count("| published |") == html.count(">published<") == 17
    assert text.count("| measured |") == html.count(">measured<") == 13
    assert "| CLIP | published | 47.0 | 39.8 | 43.1² |" in text
    assert "| InfoNCE, ICS by noun | measured | – | – | – | – | – | – |" in text
    assert re.search(r"\| max-margin, baseline \(margin\) \| measured \| video\\_vit \| \d", text)
    published = {"58.8", "48.9", "53.9"}
    assert not published & set(
        re.findall(r"\d\d\.\d", (tmp_path / "metrics/kitchen.json").read_text())
    )
