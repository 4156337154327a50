"""EPIC-KITCHENS-100 annotations without videos, through the stage commands."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mmts.metrics.longtail import parts_of_clusters
from mmts.shards import cluster_sizes
from tests import making
from tests.conftest import Project
from tests.making_ek100 import Row, write_ek100

KITCHENS = ("--dataset", "kitchens")
CLASSES = ("noun", "verb", "verb_noun")


@pytest.fixture
def kitchens(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sentence_folder: Path,
) -> Project:
    """A project with one dataset, `kitchens`, and no video, as the working folder."""
    source = {"kind": "ek100", "videos": None, "val_share": 0.0}
    vision = {"name": "small_cnn", "weights": "random", "frozen": False, "image_size": 32}
    text = {"name": "sentence", "weights": str(sentence_folder), "frozen": True}
    dataset: dict[str, Any] = {
        **making.PARAMS["datasets"]["tiny"],
        "captions": {"sources": {"ek100": source}},
        "embed": {"model": str(sentence_folder), "batch_size": 8},
        "towers": {"vision": vision, "text": text},
        "clusterings": {
            "default": {"kind": "column", "column": "noun"},
            **{name: {"kind": "column", "column": name} for name in CLASSES},
        },
    }
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path, capsys.readouterr)
    changes = {
        "grid.datasets": ["kitchens"], "datasets": {"kitchens": dataset},
        "methods.base.clustering": "verb", "methods.mmts.clustering": "verb_noun",
    }  # fmt: skip
    project.params = making.changed(making.PARAMS, changes)
    project.set()
    return project


def label(row: Row, column: str) -> str:
    return "_".join(row[f"{part}_class"] for part in column.split("_"))


def test_annotations_alone_give_clusters_and_shifts(kitchens: Project) -> None:
    train, test = write_ek100(kitchens.root / "data/raw/kitchens")
    assert kitchens.run("plan").code == 0
    ran = kitchens.run("captions", *KITCHENS)
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "train: 60 captions of 60 clips", "val: 0 captions of 0 clips",
        "test: 13 captions of 13 clips",
    ]  # fmt: skip
    warned = ran.err.splitlines()
    assert len(warned) == 3 and all(
        line.startswith("warning: data/raw/kitchens/") for line in warned
    )
    assert "60 clips of the official file's 67,217: 67,157 are missing" in warned[0]
    assert kitchens.run("embed", *KITCHENS).code == 0
    ran = kitchens.run("cluster", *KITCHENS)
    assert (ran.code, ran.err) == (0, "")
    assert "noun: 4 clusters of " in ran.out and "clusters of 0" not in ran.out
    for column in CLASSES:
        official = Counter(label(row, column) for row in train)
        table = pd.read_parquet(f"data/cluster/kitchens/{column}.parquet")
        labels = json.loads(Path(f"data/cluster/kitchens/{column}.json").read_text())["labels"]
        assert len(table) == len(train) + len(test)
        of_train = table.iloc[: len(train)]
        assert [labels[i] for i in of_train["cluster_id"]] == [label(row, column) for row in train]
        assert of_train["cluster_size"].tolist() == [official[label(r, column)] for r in train]
    ran = kitchens.run("shift", *KITCHENS)
    assert (ran.code, ran.err) == (0, "")
    for method, column in (("base", "verb"), ("mmts", "verb_noun")):
        shift = pd.read_parquet(f"data/shift/kitchens/{method}/shift.parquet")
        official = Counter(label(row, column) for row in train)
        assert shift["cluster_size"].tolist() == sorted(official.values(), reverse=True)
    assert (shift["shift"].max(), shift["shift"].min()) == (0.3, 0.1)


def test_a_class_that_training_lacks_is_of_size_0_and_tail(kitchens: Project) -> None:
    write_ek100(kitchens.root / "data/raw/kitchens")
    for stage in ("captions", "embed", "cluster"):
        assert kitchens.run(stage, *KITCHENS).code == 0
    table = pd.read_parquet("data/cluster/kitchens/noun.parquet")
    assert table.iloc[-1].tolist() == ["ek100/P03_01_20", -1, 0]
    assert parts_of_clusters(cluster_sizes(table)).get(-1, "tail") == "tail"
    kitchens.set(methods__mmts__per_dataset={"kitchens": {"clustering": "noun"}})
    assert kitchens.run("shift", *KITCHENS).code == 0
    shift = pd.read_parquet("data/shift/kitchens/mmts/shift.parquet")
    assert shift["cluster_id"].min() == 0 and shift["cluster_size"].min() > 0


def test_features_of_media_that_there_are_none_of(kitchens: Project, cnn_weights: Path) -> None:
    write_ek100(kitchens.root / "data/raw/kitchens")
    assert kitchens.run("captions", *KITCHENS).code == 0
    tower = {"name": "small_cnn", "weights": str(cnn_weights), "frozen": True, "image_size": 32}
    kitchens.set(datasets__kitchens__towers__vision=tower)
    ran = kitchens.run("embed", *KITCHENS)
    assert ran.code == 1 and len(ran.err.splitlines()) == 1
    assert ran.err.startswith(
        "error: datasets.kitchens.towers.vision.frozen is true but ek100/P01_"
    )
    assert not Path("data/embed/kitchens").exists()


def test_bad_rows_are_one_line_and_leave_nothing(kitchens: Project) -> None:
    raw = kitchens.root / "data/raw/kitchens"
    train, _ = write_ek100(raw)
    train[4]["verb_class"] = "97"
    write_ek100(raw, train=train)
    ran = kitchens.run("captions", *KITCHENS)
    assert ran.code == 1
    assert ran.err.startswith(
        "error: data/raw/kitchens/EPIC_100_retrieval_train.csv line 6: verb_class is '97'; it must"
    )
    assert len(ran.err.splitlines()) == 1 and not Path("data/captions/kitchens").exists()
