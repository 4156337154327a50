"""Recall at 50, a re-ranking by a function, and another measure: metrics, tables and page."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.examples.adding import add, tiny
from tests.pipeline.project import Project
from tests.pipeline.test_reruns import cells

pytestmark = pytest.mark.long
METHODS = ["info_nce", "info_nce_mmts"]
JUDGED = cells(*METHODS) - {f"train@my_pairs-{method}" for method in METHODS}


def metrics_of(project: Project, method: str = "info_nce") -> dict[str, float]:
    path = project.folder / f"data/evaluate/my_pairs/{method}/0/metrics.json"
    found: dict[str, float] = json.loads(path.read_text())["my_pairs"]
    return found


def queries_of(project: Project, method: str = "info_nce") -> pd.DataFrame:
    return pd.read_parquet(project.folder / f"data/evaluate/my_pairs/{method}/0/queries.parquet")


def table_rows(text: str, title: str) -> list[list[str]]:
    """Fields of the rows of a table of results/my_pairs.md, the head first."""
    _, _, rest = text.partition(f"**{title}**\n\n")
    assert rest, title
    lines = rest.partition("\n\n")[0].splitlines()
    return [[field.strip() for field in line.strip("|").split("|")] for line in lines]


def results(project: Project) -> tuple[str, str]:
    """The Markdown without its escapes, and the text of the page."""
    folder = project.folder / "results"
    page = html.unescape((folder / "index.html").read_text(encoding="utf-8"))
    return (folder / "my_pairs.md").read_text(encoding="utf-8").replace("\\", ""), page


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, warm_commands: Path) -> Project:
    """A tiny project, evaluated as it is; 64 pictures of which half are for the test."""
    found = tiny(tmp_path_factory.mktemp("measures") / "p", methods=METHODS, seeds=[0])
    found.set(datasets__my_pairs__captions__sources__my_pairs__split__train=0.4)
    found.set(datasets__my_pairs__captions__sources__my_pairs__split__test=0.5)
    found.set(datasets__my_pairs__train__batch_size=8)
    found.use(warm_commands)
    found.repro()
    return found


def test_recall_at_50_runs_evaluate_and_report_alone(project: Project) -> None:
    before, rows = metrics_of(project), queries_of(project)
    add(project, "recall_at_50")
    assert project.repro() == JUDGED
    found = metrics_of(project)
    for direction in ("t2v", "v2t"):
        rank = rows.loc[rows["direction"] == direction, "rank"]
        assert (rank > 10).any() and found[f"{direction}/R@50"] == pytest.approx(
            (rank <= 50).mean()
        )
        assert f"tail/{direction}/R@50/high" in found
    assert {key: found[key] for key in before} == before  # rsum among them, and its bounds
    wanted = 100 * sum(found[f"{d}/R@{k}"] for d in ("t2v", "v2t") for k in (1, 5, 10))
    assert found["rsum"] == pytest.approx(wanted)
    text, page = results(project)
    head, _, *lines = table_rows(text, "All queries")
    assert head[2:11] == [*(f"{d} R@{k}" for d in ("t2v", "v2t") for k in (1, 5, 10, 50)), "rsum"]
    assert lines[0][5].replace("*", "").startswith(f"{100 * found['t2v/R@50']:.1f}")
    assert lines[0][10].replace("*", "").startswith(f"{wanted:.1f}")
    assert page.count('<th scope="col">R@50</th>') == 2


def test_a_reranking_shows_both_sets(project: Project) -> None:
    add(project, "rerank")
    assert project.repro() == JUDGED
    found, rows = metrics_of(project), queries_of(project)
    assert {key.removeprefix("rerank/") for key in found} == {
        key for key in found if not key.startswith("rerank/")
    }
    plain, again = rows["rank"], rows["rerank/rank"]
    assert (plain != again).any()
    # no answer comes to the candidates or leaves them, and behind them nothing moves
    assert ((plain <= 6) == (again <= 6)).all()
    assert (plain[plain > 6] == again[plain > 6]).all()
    for prefix, column in (("", "rank"), ("rerank/", "rerank/rank")):
        total = 0.0
        for direction in ("t2v", "v2t"):
            rank = rows.loc[rows["direction"] == direction, column]
            total += sum(100 * (rank <= k).mean() for k in (1, 5, 10))
        assert found[f"{prefix}rsum"] == pytest.approx(total)
        assert (
            found[f"{prefix}rsum/low"] <= total + 1e-9
            and total - 1e-9 <= found[f"{prefix}rsum/high"]
        )
    # captions of one picture share a colour and no more, so that words help to find it
    assert found["rerank/t2v/R@1"] >= found["t2v/R@1"]
    text, page = results(project)
    words = "Re-ranked: the best 6 of each query by words shared with a picture's other captions"
    assert words in text
    for title, start in (("All queries", ""), ("By cluster size", "tail/")):
        for prefix, more in (("", ""), ("rerank/", ", re-ranked")):
            head, _, *lines = table_rows(text, f"{title}{more}")
            for method, line in zip(METHODS, lines, strict=True):
                fields = dict(zip(head, (field.replace("*", "") for field in line), strict=True))
                name = "rsum tail" if start else "rsum"
                value = metrics_of(project, method)[f"{prefix}{start}rsum"]
                assert line[0] == method and fields[name].startswith(f"{value:.1f}")
                assert fields["Δ tail rsum [95 %]" if start else "Δ rsum [95 %]"]
            assert f"<h4>{title}{more}</h4>" in page
    assert "After re-ranking: Median rank of the right answer" in text
    assert f"R{words[1:]}. They get new scores in each direction" in text
    assert "tail-rerank.png" in text and "by cluster size, re-ranked" in page
    shown = json.loads((project.folder / "results/metrics/my_pairs.json").read_text())
    for method in METHODS:
        value = metrics_of(project, method)["rerank/rsum"]
        assert shown[method]["rerank_rsum"] == pytest.approx(value, abs=0.006)


def test_another_measure_is_one_file(project: Project) -> None:
    """Beside the re-ranking: the log, the tables, the figures and the page are the measure's."""
    ranks = queries_of(project)
    add(project, "reciprocal_rank")
    assert project.repro() == cells(*METHODS)
    rows, found = queries_of(project), metrics_of(project)
    for prefix in ("", "rerank/"):
        both = []
        for direction in ("t2v", "v2t"):
            rank = ranks.loc[ranks["direction"] == direction, f"{prefix}rank"]
            both.append(float(np.mean([1 / r for r in rank])))
            assert found[f"{prefix}MRR/{direction}"] == pytest.approx(both[-1])
        assert found[f"{prefix}MRR/avg"] == pytest.approx(sum(both) / 2)
        assert found[f"{prefix}MRR/avg/low"] < sum(both) / 2 < found[f"{prefix}MRR/avg/high"]
    assert rows["reciprocal_rank"].tolist() == pytest.approx((1 / ranks["rank"]).tolist())
    folder = project.folder / "data/train/my_pairs/info_nce/0"
    logged = pd.read_csv(folder / "curves.csv")["val_MRR"].dropna()
    assert logged.iloc[-1] == json.loads((folder / "metrics.json").read_text())["val/MRR/avg"]
    plotted = pd.read_csv(project.folder / "results/validation.csv")
    assert set(plotted["name"]) == {"MRR"} and set(plotted["method"]) == set(METHODS)
    assert logged.iloc[-1] in plotted["value"].tolist()
    text, page = results(project)
    head, _, *lines = table_rows(text, "All queries")
    assert head[2:] == [
        *(f"mean reciprocal rank {d}" for d in ("t2v", "v2t", "avg")), "Δ MRR [95 %]"
    ]  # fmt: skip
    assert lines[0][4].replace("*", "").startswith(f"{100 * found['MRR/avg']:.1f}")
    assert "rsum" not in text and "Recalls" not in text
    assert "MRR, the mean reciprocal rank, is in percent." in text
    assert (
        f"95 % interval of the MRR over test items: info_nce {100 * found['MRR/avg/low']:.1f}"
        in text
    )
    assert re.search(r"info_nce: loss from .*, validation MRR at the end \d", page)
    assert "Bars of mean MRR on my_pairs by cluster size" in page
    local = (project.folder / "results/local/index.html").read_text(encoding="utf-8")
    assert re.search(r"cluster · reciprocal rank [01]\.\d\d<", local)
