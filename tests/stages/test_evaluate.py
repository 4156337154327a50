"""The stage `evaluate` where captions have graded relevancy, and cells that are not there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmts.metrics.mir import relevancy
from tests.conftest import CELL, Project
from tests.making import COLOURS, SHAPES, take_in_hand
from tests.metrics import mir_reference

BASE = (*CELL, "base")
CLASSES = {
    f"{colour} {shape}": (verb, noun)
    for verb, colour in enumerate(COLOURS)
    for noun, shape in enumerate(SHAPES)
}


@pytest.fixture
def graded(project: Project) -> Project:
    """The tiny project, packed with one caption an item: the colour as verb, the shape as noun."""
    path = take_in_hand(project.root / "data/captions/tiny/captions.parquet")
    rows = pd.read_parquet(path).drop_duplicates("sample_id")
    words = rows["caption"].str.split().str[1:3].str.join(" ")
    rows["verb_class"] = [CLASSES[both][0] for both in words]
    rows["noun_classes"] = [[CLASSES[both][1]] for both in words]
    rows["sentence"] = ~rows.assign(words=words).duplicated(["split", "words"])
    rows["groups"] = [["tail_noun"] if noun != [0] else [] for noun in rows["noun_classes"]]
    rows.to_parquet(path, index=False)
    project.set(datasets__tiny__evaluate__measure="multi_instance")
    assert project.run("pack", "--dataset", "tiny").code == 0
    return project


def test_rsum_is_0_to_600_in_every_file_and_line(project: Project) -> None:
    shutil.rmtree("data/cache/kept")  # or nothing is trained, nor told
    trained = project.run("train", *BASE)
    assert trained.code == 0, trained.err
    folder = Path("data/train/tiny/base/0")
    metrics = json.loads((folder / "metrics.json").read_text())
    rsum = 100 * sum(value for key, value in metrics.items() if "R@" in key)
    assert 100 < rsum <= 600 and metrics["val/rsum"] == pytest.approx(rsum)
    assert f", validation rsum {rsum:.1f}\n" in trained.out
    logged = pd.read_csv(folder / "curves.csv")["val_rsum"].dropna()
    assert logged.iloc[-1] == pytest.approx(rsum)
    evaluated = project.run("evaluate", *BASE)
    metrics = json.loads(Path("data/evaluate/tiny/base/0/metrics.json").read_text())["pairs"]
    for part in ("", "head/", "medium/", "tail/"):
        keys = [f"{part}{d}/R@{k}" for d in ("t2v", "v2t") for k in (1, 5, 10)]
        if keys[0] in metrics:
            assert metrics[f"{part}rsum"] == pytest.approx(100 * sum(metrics[k] for k in keys))
            low, high = (metrics[f"{part}rsum/{end}"] for end in ("low", "high"))
            assert 6 < low <= metrics[f"{part}rsum"] + 1e-9 and high <= 600
    assert f", rsum {metrics['rsum']:.1f}\n" in evaluated.out


def test_a_cell_with_graded_relevancy(graded: Project) -> None:
    rows = pd.read_parquet("data/captions/tiny/captions.parquet").query("split == 'test'")
    ran = graded.run("evaluate", *BASE)
    assert ran.code == 0, ran.err
    folder = Path("data/evaluate/tiny/base/0")
    metrics = json.loads((folder / "metrics.json").read_text())["pairs"]
    percent = {k: f"{100 * v:.1f}" for k, v in metrics.items()}
    assert ran.out.strip() == (
        f"seed 0, pairs: mAP {percent['mAP/avg']} (v2t {percent['mAP/v2t']}, "
        f"t2v {percent['mAP/t2v']}), nDCG {percent['nDCG/avg']}"
    )
    assert {"tail_noun/mAP/avg", "neither/nDCG/avg/low", "queries/t2v"} <= set(metrics)
    queries = pd.read_parquet(folder / "queries.parquet")
    assert list(queries.columns) == [
        "source", "direction", "query_id", "sample_id", "cluster_id", "cluster_size", "part", "AP",
        "nDCG",
    ]  # fmt: skip
    sentences = rows[rows["sentence"]]
    assert queries["query_id"].tolist() == [*sentences["caption_id"], *rows["sample_id"]]
    assert len(sentences) < len(rows) == metrics["queries/v2t"]
    shown = json.loads((folder / "retrievals.json").read_text())
    assert len(shown) == 4 and {type(a["match"]) for e in shown for a in e["top"]} == {bool}
    assert all((a["relevancy"] == 1) == a["match"] for e in shown for a in e["top"])
    assert not list(Path("data").rglob(".*.partial"))
    # the first answers of a query are those of the features, graded by the classes
    classes = list(zip(rows["verb_class"], rows["noun_classes"].map(list), strict=True))
    place = {name: n for n, name in enumerate(rows["sample_id"])}
    for example in shown:
        own = [classes[place[a["sample_id"]]] for a in example["top"]]
        (wanted,) = mir_reference.relevancy([classes[place[example["sample_id"]]]], own)
        assert [a["relevancy"] for a in example["top"]] == pytest.approx(wanted, abs=1e-4)
    ones = relevancy(classes, [c for c, s in zip(classes, rows["sentence"], strict=True) if s]) == 1
    assert np.array_equal(ones.sum(axis=1), np.ones(len(rows)))


def test_a_clip_whose_sentence_is_gone(graded: Project) -> None:
    path = graded.root / "data/captions/tiny/captions.parquet"
    rows = pd.read_parquet(path)
    test = rows[rows["split"] == "test"]
    first = test.index[test["sentence"]][-1]
    rows.loc[first, "sentence"] = False
    rows.to_parquet(path, index=False)
    assert graded.run("pack", "--dataset", "tiny").code == 0
    ran = graded.run("evaluate", *BASE)
    assert ran.code == 0
    assert ran.err.startswith("warning: 1 sentences are lost with their clips: another clip of")
