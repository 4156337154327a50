"""Table 1 of the paper: CC3M, tested on Flickr30K and COCO; published and measured rows apart."""

from __future__ import annotations

import dataclasses
import json
from statistics import mean, stdev
from types import SimpleNamespace
from typing import Any

import pytest

from mmts.reporting.cells import Clustering, Dataset, Source
from mmts.reporting.comparison import PaperTable, method_of, paper_tables
from mmts.reporting.comparison_notes import how_measured
from mmts.reporting.markdown import markdown
from mmts.reporting.misprints import misprints
from mmts.reporting.page import page
from mmts.reporting.published import CC3M, Recipe
from mmts.reporting.report import Report

METHODS = {
    "sogclr": ("sogclr", 0.0, 0.01, 0.01, "scheduled"),
    "learned": ("info_nce", 0.0, 0.01, 0.01, "learnable"),
    "plain": ("info_nce", 0.0, 0.01, 0.01, "scheduled"),
    "mmts": ("info_nce", 0.04, 0.03, 0.07, "scheduled"),
}
PRINTED = """
CLIP RN50 40.9 50.9 45.9 21.3 26.9 24.1
CLIP + Ours RN50 41.5 54.3 47.9 21.2 28.4 24.8
"""


@pytest.fixture(scope="module")
def cc3m(tree: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Trained on source a of kind cc3m, with coverage; tested on b (coco) and c (flickr30k)."""
    folder = tmp_path_factory.mktemp("cc3m")
    tree.write(folder, "pairs", sources=("a", "b", "c"), methods=METHODS, seeds=(0, 1))
    file = folder / "captions/pairs/summary.json"
    summary = json.loads(file.read_text())
    for name, kind in zip("abc", ("cc3m", "coco", "flickr30k"), strict=True):
        summary["sources"][name]["kind"] = kind
    counts = {"train": {"listed": 80, "there": 60}, "val": {"listed": 9, "there": 9}}
    summary["sources"]["a"]["coverage"] = counts
    file.write_text(json.dumps(summary))
    found: Dataset = tree.loaded(folder, "pairs", methods=METHODS, seeds=(0, 1))
    return found


def _table(dataset: Dataset) -> PaperTable:
    [table] = paper_tables(dataset)
    return table


def _of_kind(dataset: Dataset, **kinds: str) -> Dataset:
    """The dataset with sources of other kinds."""
    sources = [dataclasses.replace(s, kind=kinds.get(s.name, s.kind)) for s in dataset.sources]
    return dataclasses.replace(dataset, sources=tuple(sources))


def _with(dataset: Dataset, method: str, **changes: Any) -> Dataset:
    cells = {
        key: dataclasses.replace(cell, run={**cell.run, **changes}) if key[0] == method else cell
        for key, cell in dataset.cells.items()
    }
    return dataclasses.replace(dataset, cells=cells)


def test_published_numbers_are_verbatim_and_their_averages_follow(cc3m: Dataset) -> None:
    shown = [
        " ".join([row.label, row.backbone, *(entry.text for entry in row.entries)])
        for row in _table(cc3m).rows
        if row.kind == "published"
    ]
    assert shown == PRINTED.split("\n")[1:-1]
    assert [misprints(CC3M, row) for table in CC3M.tables for row in table.rows] == [{}, {}]


def test_measured_rows_are_found_by_what_they_are_and_the_others_follow(cc3m: Dataset) -> None:
    rows = [row for row in _table(cc3m).rows if row.kind == "measured"]
    assert [(row.method, row.further) for row in rows] == [
        ("plain", False), ("mmts", False), ("sogclr", True), ("learned", True),
    ]  # fmt: skip
    assert [row.label for row in rows[:3]] == [
        "InfoNCE, baseline", "InfoNCE, TS & ICS by cluster of K-Means", "SogCLR, τ 0.01",
    ]  # fmt: skip
    assert rows[3].label.startswith("InfoNCE, learned τ ")
    assert {row.backbone for row in rows} == {"video_vit"}


def test_columns_are_image_and_text_retrieval_of_each_source(cc3m: Dataset) -> None:
    table = _table(cc3m)
    assert table.groups == tuple((n, ("IR@1", "TR@1", "Avg")) for n in ("Flickr30K", "MSCOCO"))
    [row] = [row for row in table.rows if row.method == "mmts"]
    for start, source in ((0, "c"), (3, "b")):
        of = [cell.metrics[source] for cell in cc3m.of("mmts")]
        images, texts = [m["t2v/R@1"] for m in of], [m["v2t/R@1"] for m in of]
        averages = [(i + t) / 2 for i, t in zip(images, texts, strict=True)]
        for entry, values in zip(row.entries[start:], (images, texts, averages), strict=False):
            assert entry.mean == pytest.approx(100 * mean(values))
            assert entry.std == pytest.approx(100 * stdev(values))


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("mmts", {"clustering": {"shift": "class", "relevancy": []}}),
        ("mmts", {"alpha": 0.0}),
        ("mmts", {"modulator": "learnable"}),
        ("plain", {"objective": "cyclip"}),
        ("plain", {"modulator": "learnable"}),
        ("plain", {"alpha": 0.01, "schedule": {"kind": "cosine"}}),
    ],
)
def test_another_method_does_not_fill_a_row(
    cc3m: Dataset, method: str, changes: dict[str, Any]
) -> None:
    recipes = {
        "plain": Recipe("info_nce"),
        "mmts": Recipe("info_nce", ts=True, ics=True, column=""),
    }
    by_class = dataclasses.replace(
        cc3m, clusterings={**cc3m.clusterings, "class": Clustering("classes", "noun", True)}
    )
    assert method_of(by_class, recipes[method]) == method
    assert method_of(_with(by_class, method, **changes), recipes[method]) == ""


def test_another_clustering_than_the_papers_does_not_fill_a_row(cc3m: Dataset) -> None:
    recipe = Recipe("info_nce", ts=True, ics=True, column="")
    assert method_of(cc3m, recipe) == "mmts"
    other = {"default": Clustering("HDBSCAN")}
    assert method_of(dataclasses.replace(cc3m, clusterings=other), recipe) == ""


def test_only_what_is_trained_on_cc3m_and_tested_on_its_tests_shows_the_table(
    cc3m: Dataset,
) -> None:
    assert paper_tables(_of_kind(cc3m, a="table")) == ()
    assert paper_tables(_of_kind(cc3m, b="table", c="table")) == ()
    assert paper_tables(_of_kind(cc3m, a="coco", b="cc3m")) == ()  # b has no training rows
    table = _table(_of_kind(cc3m, c="table"))
    [row] = [row for row in table.rows if row.method == "mmts"]
    assert [entry.text for entry in row.entries[:3]] == ["–"] * 3
    assert all(entry.mean is not None for entry in row.entries[3:])
    assert "Nothing was tested on a source of kind flickr30k." in table.notes[-1]


def test_the_note_says_what_does_not_compare(cc3m: Dataset) -> None:
    [note] = _table(cc3m).notes
    assert (
        "Trained on 60 images (60 of 80 listed images are there), tested on 20 images and 40 "
        in note
    )
    assert "captions of Flickr30K and on 20 images and 40 captions of MSCOCO" in note
    assert "The official training list has 3,318,333 images" in note
    assert note.count("do not compare with the published ones") == 2
    tests = {"flickr30k": "c", "coco": "b"}
    official = dataclasses.replace(CC3M, listed=60, tests=dict.fromkeys(tests, (20, 40)))
    assert "compare" not in how_measured(cc3m, official, tests)
    bare = tuple(Source(s.name, s.kind, s.publishable, s.credit) for s in cc3m.sources)
    uncounted = how_measured(dataclasses.replace(cc3m, sources=bare), official, tests)
    assert "Trained on 60 images, tested on" in uncounted


def test_both_pages_mark_every_row(cc3m: Dataset, reports: list[Report]) -> None:
    report = dataclasses.replace(reports[0], papers=paper_tables(cc3m))
    text = markdown(report.dataset, report.tables, [], resamples=1, papers=report.papers)
    html = page([report], private=False)
    assert text.count("| published |") == html.count(">published<") == 2
    assert text.count("| measured |") == html.count(">measured<") == 4
    assert html.count('class="measured further"') == 2
    assert "| CLIP + Ours | published | RN50 | 41.5 | 54.3 | 47.9 | 21.2 | 28.4 | 24.8 |" in text
    assert "Flickr30K IR@1 | Flickr30K TR@1 | Flickr30K Avg | MSCOCO IR@1" in text
    assert html.count('<th class="first" scope="col">IR@1</th>') == 2
