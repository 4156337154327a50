"""The report of clips with graded relevancy: its tables against slow loops over the queries."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from statistics import mean, stdev
from types import SimpleNamespace

import numpy as np
import pytest

from mmts.reporting.cells import Dataset
from mmts.reporting.figure_training import training_figure
from mmts.reporting.markdown import markdown
from mmts.reporting.results import write_results
from mmts.reporting.tables import Table, best_row, group_table, headline_metrics
from mmts.reporting.words import notes, stated

PARTS = ("head", "medium", "tail")
GROUPS = {"tail verb": {4, 5}, "tail noun": {4, 5}, "neither": {0, 1, 2, 3}}


def _slow(dataset: Dataset, method: str, key: str) -> list[float]:
    """A number of metrics.json in percent, one a seed, from the queries."""
    *group, metric, direction = key.split("/")
    column = {"mAP": "AP", "nDCG": "nDCG"}[metric]
    found = []
    for cell in dataset.of(method):
        means = []
        for wanted in ("v2t", "t2v") if direction == "avg" else (direction,):
            values = [
                getattr(row, column)
                for row in cell.queries.itertuples()
                if row.direction == wanted and group in ([], [row.part])
            ]
            means.append(sum(values) / len(values))
        found.append(100 * sum(means) / len(means))
    return found


def _keys(table: Table) -> list[str]:
    """The keys that the heads of a table's columns stand for."""
    if table.title == "All queries":
        return [f"{metric}/{label}" for metric, labels in table.groups for label in labels]
    return [
        f"{label}/{title.replace(' ', '/')}" for title, labels in table.groups for label in labels
    ]


@pytest.mark.parametrize("which", [0, 1])
def test_the_numbers_are_those_of_the_queries(ek100: SimpleNamespace, which: int) -> None:
    table = ek100.report.tables[0][which]
    keys = _keys(table)
    assert len(keys) == 6
    for row in table.rows:
        for entry, key in zip(row.entries, keys, strict=True):
            values = _slow(ek100.dataset, row.method, key)
            assert (entry.mean, entry.std) == pytest.approx((mean(values), stdev(values)))


def test_the_groups_of_the_annotations_have_a_table_without_differences(
    ek100: SimpleNamespace,
) -> None:
    table = ek100.report.tables[0][2]
    assert [labels for _, labels in table.groups] == [tuple(GROUPS)] * 2
    assert table.difference == ""
    for row in table.rows:
        assert row.difference is None
        cells = ek100.dataset.of(row.method)
        for entry, name in zip(row.entries, GROUPS, strict=False):
            key = f"{name.replace(' ', '_')}/mAP/avg"
            values = [100 * cell.metrics["main"][key] for cell in cells]
            assert entry.mean == pytest.approx(mean(values))
    assert any(n.startswith("Tail verb, tail noun: queries of") for n in notes(ek100.dataset, 9))


def test_recalls_have_no_table_of_groups(dataset: Dataset) -> None:
    assert group_table(dataset, "main") is None


def test_the_difference_and_the_best_are_those_of_the_average_map(ek100: SimpleNamespace) -> None:
    overall, by_part, _ = ek100.report.tables[0]
    assert (overall.difference, by_part.difference) == ("mAP avg", "tail mAP avg")
    for table, key in ((overall, "mAP/avg"), (by_part, "tail/mAP/avg")):
        for row in table.rows:
            score = mean(_slow(ek100.dataset, row.method, key))
            assert row.score.mean == pytest.approx(score)
            if row.method != row.baseline:
                assert row.difference.low < row.difference.value < row.difference.high
                rest = mean(_slow(ek100.dataset, row.baseline, key))
                assert row.difference.value == pytest.approx(score - rest)
    best = best_row(overall)
    assert best.score.mean == max(row.score.mean for row in overall.rows)
    text = markdown(ek100.dataset, ek100.report.tables, [], resamples=9).replace("\\", "")
    found = stated(ek100.dataset, overall)
    assert f"**{found.number}** mAP avg of {found.about.split()[3]} minus its baseline" in text
    assert found.text in text and found.verdict.startswith("The 95 % interval, ")
    of = f"{len(overall.rows)} methods (4 comparisons)"
    assert f"Highest of {of} on the test: {best.method}, {best.score.text}." in found.highest
    assert "rsum" not in text and "Recalls" not in text


def test_headline_metrics_are_measured_numbers_only(ek100: SimpleNamespace, tmp_path: Path) -> None:
    write_results(tmp_path, [ek100.report])
    found = json.loads((tmp_path / "metrics/kitchen.json").read_text())
    assert found == headline_metrics(ek100.dataset, "main")
    assert list(found) == list(ek100.dataset.methods)
    for method, numbers in found.items():
        assert list(numbers) == ["mAP", "mAP_v2t", "mAP_t2v", "nDCG", "tail_mAP"]
        tail = mean(_slow(ek100.dataset, method, "tail/mAP/avg"))
        assert numbers["tail_mAP"] == pytest.approx(tail, abs=0.005)


def test_the_figures_show_the_measure(ek100: SimpleNamespace) -> None:
    figures = {figure.name: figure for figure in ek100.report.figures}
    assert list(figures) == ["tail", "sizes", "classes", "tau", "training", "map"]
    tail = mean(_slow(ek100.dataset, "margin", "tail/mAP/avg"))
    assert f"tail {tail:.1f}" in figures["tail"].alt
    # at step 30 a fourth and a third of 1.5 + seed / 100
    assert "validation mAP at the end 37.8, validation nDCG at the end 50.3" in (
        figures["training"].alt
    )
    assert "the validation mAP and nDCG do" in figures["training"].caption


def test_training_without_validation_says_so(ek100: SimpleNamespace) -> None:
    cells = {
        key: dataclasses.replace(cell, curves=cell.curves.assign(val_mAP=np.nan, val_nDCG=np.nan))
        for key, cell in ek100.dataset.cells.items()
    }
    figure = training_figure(dataclasses.replace(ek100.dataset, cells=cells))
    assert "there was no validation" in figure.caption
    assert "validation" not in figure.alt


def test_the_classes_of_every_column_are_drawn_once(ek100: SimpleNamespace) -> None:
    dataset = ek100.dataset
    # 24, 15, 9, 6, 4 and 2 captions; verbs join the last three, nouns the last two
    sizes = {column: found.tolist() for column, found in dataset.class_sizes.items()}
    assert list(sizes) == ["verb", "noun", "verb_noun"]
    assert sizes == {
        "verb": [24, 15, 12, 9],
        "noun": [24, 15, 9, 6, 6],
        "verb_noun": [24, 15, 9, 6, 4, 2],
    }
    alt = next(figure for figure in ek100.report.figures if figure.name == "classes").alt
    assert "verb: 4 classes, from 24 down to 9 captions" in alt
    assert "verb and noun: 6 classes, from 24 down to 2 captions" in alt


def test_the_measure_is_the_one_that_evaluate_wrote(
    ek100: SimpleNamespace, dataset: Dataset
) -> None:
    assert ek100.dataset.measure.model_dump() == {"kind": "multi_instance"}
    assert dataset.measure.model_dump() == {"kind": "recall", "ks": (1, 5, 10)}
