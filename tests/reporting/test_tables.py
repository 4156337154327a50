"""The tables against slow loops over the ranks."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mmts.reporting.cells import Clustering, Dataset
from mmts.reporting.intervals import Interval
from mmts.reporting.markdown import markdown
from mmts.reporting.page import page
from mmts.reporting.report import Report
from mmts.reporting.tables import (
    Table,
    best_row,
    headline_metrics,
    overall_table,
    part_table,
    setting,
)
from mmts.reporting.words import Headline, bounds, notes, signed, stated

DRAWS = {"resamples": 100, "seed": 0}


def _slow(dataset: Dataset, method: str, key: str) -> tuple[float, float]:
    """Mean and standard deviation over seeds of a recall or an rsum, from the ranks."""
    part, _, rest = key.rpartition("/") if key.endswith("rsum") else _split(key)
    numbers = []
    for cell in dataset.of(method):
        wanted = (
            [rest] if rest != "rsum" else [f"{d}/R@{k}" for d in ("t2v", "v2t") for k in (1, 5, 10)]
        )
        total = 0.0
        for recall in wanted:
            direction, k = recall.split("/R@")
            ranks = [
                row.rank
                for row in cell.queries.itertuples()
                if row.direction == direction and part in ("", row.part)
            ]
            total += 100 * sum(rank <= int(k) for rank in ranks) / len(ranks)
        numbers.append(total)
    mean = sum(numbers) / len(numbers)
    variance = sum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1)
    return mean, variance**0.5


def _split(key: str) -> tuple[str, str, str]:
    fields = key.split("/")
    return ("/".join(fields[:-2]), "/", "/".join(fields[-2:]))


OVERALL = ["t2v/R@1", "t2v/R@5", "t2v/R@10", "v2t/R@1", "v2t/R@5", "v2t/R@10", "rsum"]
BY_PART = [
    f"{part}/{key}" for key in ("rsum", "t2v/R@1", "v2t/R@1") for part in ("head", "medium", "tail")
]


@pytest.mark.parametrize(("make", "keys"), [(overall_table, OVERALL), (part_table, BY_PART)])
def test_means_and_deviations_are_those_of_the_ranks(dataset: Dataset, make, keys) -> None:  # type: ignore[no-untyped-def]
    table: Table = make(dataset, "main", **DRAWS)
    assert [row.method for row in table.rows] == list(dataset.methods)
    assert sum(len(labels) for _, labels in table.groups) == len(keys)
    for row in table.rows:
        for entry, key in zip(row.entries, keys, strict=True):
            assert (entry.mean, entry.std) == pytest.approx(_slow(dataset, row.method, key))


def test_only_methods_beside_the_baseline_have_a_difference(dataset: Dataset) -> None:
    rows = {row.method: row for row in overall_table(dataset, "main", **DRAWS).rows}
    assert rows["plain"].difference is rows["margin"].difference is None
    gain = rows["mmts"].difference
    assert gain is not None
    means = [rows[method].entries[-1].mean for method in ("mmts", "plain")]
    assert gain.value == pytest.approx(means[0] - means[1])
    assert gain.low < gain.value < gain.high


def test_the_difference_by_part_is_that_of_the_tail(dataset: Dataset) -> None:
    table = part_table(dataset, "main", **DRAWS)
    tails = {row.method: row.entries[2].mean for row in table.rows}
    gain = next(row.difference for row in table.rows if row.method == "mmts")
    assert gain is not None
    assert gain.value == pytest.approx(tails["mmts"] - tails["plain"])


def test_the_best_of_each_column_is_bold_in_the_markdown(dataset: Dataset) -> None:
    tables = (overall_table(dataset, "main", **DRAWS), part_table(dataset, "main", **DRAWS))
    text = markdown(dataset, [tables], [], resamples=100)
    lines = [
        line for line in text.splitlines() if line.startswith(("| plain", "| mmts", "| margin"))
    ]
    assert len(lines) == 6
    for rows in (lines[:3], lines[3:]):
        fields = [[field.strip() for field in line.split("|")[3:-2]] for line in rows]
        for column in zip(*fields, strict=True):
            numbers = [float(re.sub(r"[*]| ±.*", "", field)) for field in column]
            bold = [field.startswith("**") for field in column]
            assert bold == [number == max(numbers) for number in numbers]


def _with_rsum(dataset: Dataset, rsum: dict[str, float]) -> Dataset:
    cells = {
        key: dataclasses.replace(
            cell, metrics={"main": {**cell.metrics["main"], "rsum": rsum[key[0]]}}
        )
        for key, cell in dataset.cells.items()
    }
    return dataclasses.replace(dataset, cells=cells)


def test_numbers_that_read_the_same_are_both_best(dataset: Dataset) -> None:
    close = _with_rsum(dataset, {"plain": 250.01, "mmts": 250.03, "margin": 249})
    rows = overall_table(close, "main", **DRAWS).rows
    assert [row.entries[-1].text for row in rows] == ["250.0", "250.0", "249.0"]
    assert [row.entries[-1].best for row in rows] == [True, True, False]
    assert best_row(overall_table(close, "main", **DRAWS)).method == "mmts"


def _stated(dataset: Dataset) -> Headline:
    return stated(dataset, overall_table(dataset, "main", **DRAWS))


@pytest.mark.parametrize("best", ["plain", "mmts", "margin"])
def test_no_result_decides_which_comparison_is_stated(dataset: Dataset, best: str) -> None:
    rsum = {"plain": 200.0, "mmts": 210.0, "margin": 190.0}
    rsum[best] = 300.0
    found = _stated(_with_rsum(dataset, rsum))
    gain = overall_table(dataset, "main", **DRAWS).rows[1].difference
    assert gain is not None
    assert found.number == signed(gain.value)
    assert found.about == "rsum of mmts minus its baseline plain"
    assert f"The 95 % interval, {bounds(gain)}, " in found.verdict
    assert found.highest.startswith(
        f"Highest of 3 methods (1 comparison) on the test: {best}, 300.0."
    )
    flatters = "It was picked on the test items, which flatters it."
    assert (flatters in found.highest) == (best != "mmts")


@pytest.mark.parametrize(
    ("methods", "compared"),
    [
        (("plain", "mmts", "sigmoid"), "mmts minus its baseline plain"),
        (("plain", "margin", "margin_mmts", "mmts"), "margin_mmts minus its baseline margin"),
        (("plain", "sigmoid", "cyclip", "margin"), "cyclip minus its baseline plain"),
        (("mmts", "plain"), "plain minus its baseline mmts"),
        (("plain", "margin"), "margin"),
        (("mmts",), "mmts"),
    ],
)
def test_mmts_or_the_last_method_is_stated(
    many: Report, methods: tuple[str, ...], compared: str
) -> None:
    some = dataclasses.replace(many.dataset, methods=methods)
    found = _stated(some)
    assert found.about == f"rsum of {compared}"
    alone = "No method here has a baseline to compare it with."
    assert (found.verdict == alone) == (" minus " not in compared) == found.number[0].isdigit()
    assert bool(found.highest) == (len(methods) > 1)


def test_the_verdict_says_what_the_interval_means(dataset: Dataset) -> None:
    table = overall_table(dataset, "main", **DRAWS)
    for gain, meaning in (
        (Interval(2, 0.1, 4), "The 95 % interval, +0.1 to +4.0, excludes zero."),
        (
            Interval(2, -0.1, 4),
            "The 95 % interval, −0.1 to +4.0, holds zero, so this may be chance.",
        ),
        (None, "Its difference to its baseline plain could not be measured."),
    ):
        rows = tuple(dataclasses.replace(r, difference=gain) for r in table.rows)
        found = stated(dataset, dataclasses.replace(table, rows=rows))
        assert found.verdict.startswith(meaning)
        one = dataclasses.replace(dataset, seeds=(0,))
        several = stated(one, dataclasses.replace(table, rows=rows))
        assert ("One seed" in several.verdict) == (gain is not None)


def test_the_winner_is_nowhere_stated_without_its_count(reports: list[Report]) -> None:
    """Page and Markdown alike."""
    for report in reports:
        found = stated(report.dataset, report.tables[0][0])
        text = markdown(report.dataset, report.tables, [], resamples=100)
        told = f"**{found.number}** {found.text}".replace("_", "\\_")
        assert told in text and "Best:" not in text
        html = page([report], private=False)
        card = html[html.index('<ul class="cards">') : html.index("</ul>")]
        for words in (f"<b>{found.number}</b>", found.about, found.verdict, found.highest):
            assert words in card
        assert "the best method" not in card
        for shown in report.galleries:
            assert shown.method == "mmts"


def test_one_seed_has_no_spread_and_says_so(tree: SimpleNamespace, data: SimpleNamespace) -> None:
    dataset = tree.loaded(data.folder, "open", seeds=(1,))
    table = overall_table(dataset, "main", **DRAWS)
    assert {entry.spread for row in table.rows for entry in row.entries} == {""}
    text = markdown(dataset, [(table, part_table(dataset, "main", **DRAWS))], [], resamples=100)
    assert "One seed only (1): there is no standard deviation." in text
    assert "±" not in text


def test_the_markdown_says_how_the_numbers_were_made(dataset: Dataset) -> None:
    tables = (overall_table(dataset, "main", **DRAWS), part_table(dataset, "main", **DRAWS))
    text = markdown(dataset, [tables], [], resamples=100)
    assert "20 test items, 40 text queries (t2v) and 20 vision queries (v2t)" in text
    assert "seeds 0, 1, 2" in text
    for words in ("thirds of the training rows", "Ties count against", "paired bootstrap (100"):
        assert words in text


def test_median_ranks_and_the_intervals_of_rsum_are_told(dataset: Dataset) -> None:
    (told,) = [line for line in notes(dataset, 100) if line.startswith("Median rank")]
    for method in dataset.methods:
        ranks = [
            np.mean(dataset.values(method, "main", f"{direction}/median_rank"))
            for direction in ("t2v", "v2t")
        ]
        rsum = np.mean(dataset.values(method, "main", "rsum"))
        wanted = f"{method} {ranks[0]:.3g} and {ranks[1]:.3g}, {rsum - 10:.0f} to {rsum + 20:.0f}"
        assert wanted in told


def test_headline_metrics_are_rounded_percent_points(dataset: Dataset) -> None:
    found = headline_metrics(dataset, "main")
    assert list(found) == ["plain", "mmts", "margin"]
    for method, numbers in found.items():
        for name, key in (("rsum", "rsum"), ("t2v_R1", "t2v/R@1"), ("tail_rsum", "tail/rsum")):
            assert numbers[name] == pytest.approx(_slow(dataset, method, key)[0], abs=0.005)
            assert numbers[name] == round(numbers[name], 2)


def test_the_setting_is_the_range_of_tau(dataset: Dataset) -> None:
    assert setting(dataset, "plain") == "τ 0.05"
    assert setting(dataset, "mmts") == "τ 0.01–0.1"
    assert setting(dataset, "margin") == "margin 0.2"


def test_the_setting_of_a_learned_tau_is_as_logged(many: Report) -> None:
    # 0.1 (1 - step / 80) up to step 38, plus 0.001, the mean over seeds of seed / 1000
    assert setting(many.dataset, "sigmoid") == "learned τ 0.0535–0.101"
    assert setting(many.dataset, "individual") == "learned τ 0.0173–0.071"
    assert setting(many.dataset, "free") == "τ 1"
    assert setting(many.dataset, "margin_mmts") == "margin 0–0.4"


def test_the_setting_tells_that_alike_pairs_are_left_out(many: Report) -> None:
    (key, cell) = next(item for item in many.dataset.cells.items() if item[0][0] == "margin")
    alike = {**cell.run, "clustering": {"shift": "default", "relevancy": ["default"]}}
    cells = {**many.dataset.cells, key: dataclasses.replace(cell, run=alike)}
    dataset = dataclasses.replace(many.dataset, cells=cells, seeds=(key[1],))
    assert setting(dataset, "margin").endswith(", without alike pairs")
    assert not setting(dataset, "margin_mmts").endswith("pairs")


def test_the_setting_tells_of_label_smoothing(dataset: Dataset) -> None:
    (key, cell) = next(item for item in dataset.cells.items() if item[0][0] == "plain")
    numbers = {"objective_numbers": {"label_smoothing": 0.1, "anchors_only": True}}
    cells = {**dataset.cells, key: dataclasses.replace(cell, run={**cell.run, **numbers})}
    smoothed = dataclasses.replace(dataset, cells=cells, seeds=(key[1],))
    told = "τ 0.05, label smoothing 0.1, gradients to anchors alone"
    assert setting(smoothed, "plain") == told


def test_the_setting_tells_which_numbers_of_a_loss_term_are_not_the_defaults(
    dataset: Dataset,
) -> None:
    (key, cell) = next(item for item in dataset.cells.items() if item[0][0] == "margin")
    told = []
    for tau in (None, 0.07):
        term = {"kind": "matching", "weight": 0.1, "floor": 1e-4, "tau": tau}
        run = {**cell.run, "terms": {"matching": term}}
        cells = {**dataset.cells, key: dataclasses.replace(cell, run=run)}
        told.append(setting(dataclasses.replace(dataset, cells=cells, seeds=(key[1],)), "margin"))
    assert told == [
        "margin 0.2, plus 0.1 × matching", "margin 0.2, plus 0.1 × matching (tau 0.07)"
    ]  # fmt: skip


def test_the_setting_tells_of_other_clusters_than_the_default(many: Report) -> None:
    (key, cell) = next(i for i in many.dataset.cells.items() if i[0][0] == "margin_mmts")
    used = {**cell.run, "clustering": {"shift": "clip", "relevancy": []}}
    cells = {**many.dataset.cells, key: dataclasses.replace(cell, run=used)}
    clusterings = {**many.dataset.clusterings, "clip": Clustering("K-Means of CLIP-t")}
    dataset = dataclasses.replace(
        many.dataset, cells=cells, seeds=(key[1],), clusterings=clusterings
    )
    assert setting(dataset, "margin_mmts") == "margin 0–0.4, clusters clip (K-Means of CLIP-t)"


def test_every_method_but_the_two_baselines_has_a_difference(many: Report) -> None:
    table, _ = many.tables[0]
    means = {row.method: row.entries[-1].mean for row in table.rows}
    for row in table.rows:
        assert (row.difference is None) == (row.method in ("plain", "margin"))
        if row.difference is not None:
            assert row.difference.value == pytest.approx(means[row.method] - means[row.baseline])
    text = markdown(many.dataset, many.tables, many.public_figures, resamples=100)
    for words in ("| SigLIP, learned τ 0.0535–0.101 |", "| arctanh InfoNCE, τ 1 |", "| SogCLR, "):
        assert words in text
    assert "the first method in the grid that has a temperature too, or a margin too" in text


def test_a_part_that_a_source_lacks_is_a_dash(dataset: Dataset) -> None:
    cells = {
        key: dataclasses.replace(
            cell,
            metrics={"main": {k: v for k, v in cell.metrics["main"].items() if "tail" not in k}},
            queries=cell.queries.assign(part=cell.queries["part"].replace("tail", "medium")),
        )
        for key, cell in dataset.cells.items()
    }
    table = part_table(dataclasses.replace(dataset, cells=cells), "main", **DRAWS)
    assert table.rows[1].entries[2].text == "–"
    assert table.rows[1].difference is None


def test_signs_are_shown() -> None:
    assert (signed(1.25), signed(-0.34), signed(0)) == ("+1.2", "−0.3", "+0.0")


def test_several_sources_have_a_table_each(tree: SimpleNamespace, tmp_path: Path) -> None:
    from mmts.reporting.report import dataset_report
    from mmts.reporting.results import write_results

    shards = tree.write(tmp_path / "data", "two", sources=("a", "b"), seeds=(0,))
    report = dataset_report(tree.loaded(tmp_path / "data", "two", (0,)), tree.settings, shards)
    write_results(tmp_path / "results", [report])
    text = (tmp_path / "results/two.md").read_text()
    assert "## Test source a" in text
    assert "## Test source b" in text
    assert text.count("| plain |") == 4
    metrics = json.loads((tmp_path / "results/metrics/two.json").read_text())
    assert list(metrics) == ["a", "b"]
    assert metrics["a"]["mmts"]["rsum"] != metrics["b"]["mmts"]["rsum"]
    assert {f.name for f in (tmp_path / "results/figures").iterdir()} >= {
        "two-tail-a.png", "two-tail-b.png",
    }  # fmt: skip
