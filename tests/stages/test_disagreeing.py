"""Artifacts that do not agree, or that the report cannot take: one line, no traceback."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import Project
from tests.making import changed, take_in_hand
from tests.stages.test_bad_input import ARGUMENTS, TINY, params, refused


@pytest.fixture
def cell(project: Project) -> Project:
    """The tiny project, of whose cells the grid names the one that was evaluated."""
    project.params = changed(project.params, {"grid.methods": ["base"]})
    project.set()
    return project


def test_a_row_that_was_added_and_went_through_captions_alone(cell: Project) -> None:
    with open(Path("data/raw/tiny") / "pairs.csv", "a", encoding="utf-8") as file:
        file.write("images/004.jpg,one more,ball\n")
    assert cell.run("captions", *TINY).code == 0
    embedded = "data/embed/tiny/ids.parquet has 43 rows, but there are 44 captions; run `dvc repro`"
    for stage, arguments in (("cluster", TINY), ("report", ())):
        assert refused(cell, stage, arguments) == f"{embedded}"
    assert cell.run("embed", *TINY).code == 0
    found = refused(cell, "report", ())
    assert found.startswith("data/cluster/tiny/default.parquet: caption images/004.jpg#")
    assert found.endswith(" has no cluster; run `dvc repro -sf cluster`")
    for stage in ("cluster", "report"):
        assert cell.run(stage, *ARGUMENTS.get(stage, ())).code == 0


def test_as_many_captions_of_which_one_is_another(cell: Project) -> None:
    path = take_in_hand(Path("data/captions/tiny/captions.parquet"))
    rows = pd.read_parquet(path)
    rows.loc[5, "caption_id"] = "another"
    rows.to_parquet(path, index=False)
    for stage, arguments in (("cluster", TINY), ("report", ())):
        found = refused(cell, stage, arguments)
        assert found.startswith("data/embed/tiny/ids.parquet row 5 has the caption_id images/")
        assert "but the captions table has another; run `dvc repro`" in found


def test_features_of_fewer_pictures(cell: Project) -> None:
    path = take_in_hand(Path("data/embed/tiny/vision.npy"))
    np.save(path, np.load(path)[1:])
    params(cell, **{"clusterings.default.features": "vision"})
    assert refused(cell, "cluster").startswith(
        "data/embed/tiny/vision.npy has 31 rows, but there are 32 media items; run `dvc repro`"
    )


CELLS = "data/{}/tiny/base/0"
ODD_FILES = [
    (f"{CELLS.format('train')}/curves.csv", b"", "is not a CSV file (No columns to parse"),
    (f"{CELLS.format('train')}/curves.csv", b"step\n\xff\n", "is not a CSV file ('utf-8' codec"),
    (f"{CELLS.format('train')}/curves.csv", b"step,loss\n1,2\n", "lacks epoch; run `dvc repro`"),
    (f"{CELLS.format('train')}/run.json", b"[]", "is not as a stage writes it (Input should be a"),
    (f"{CELLS.format('train')}/model.json", b"{}", "towers is not as a stage writes it (Field"),
    (f"{CELLS.format('evaluate')}/metrics.json", b'{"pairs": {}}', "lacks rsum of pairs; run `dv"),
    (
        f"{CELLS.format('evaluate')}/measure.json",
        b'{"measure": "recal", "rerank": null}',
        "measure is not as a stage writes it (Value error, it is 'recal'",
    ),
    (f"{CELLS.format('evaluate')}/retrievals.json", b"[1]", "0 is not as a stage writes it (Inp"),
    ("data/captions/tiny/summary.json", b"{}", "sources is not as a stage writes it (Field"),
    ("data/captions/tiny/summary.json", b'{"sources": {}}', "has no source pairs, which captions"),
    ("data/shards/tiny/manifest.json", b'{"clips": 1}', "clips is not as a stage writes it (Inp"),
    (
        "data/cluster/tiny/kinds.json",
        b'{"kind": 1}',
        "label is not as a stage writes it (Field required",
    ),
    ("data/embed/tiny/caption_text.npy", b"junk", "is damaged ("),
]


@pytest.mark.parametrize(("name", "data", "message"), ODD_FILES)
def test_odd_files_that_report_reads(cell: Project, name: str, data: bytes, message: str) -> None:
    take_in_hand(Path(name)).write_bytes(data)
    found = refused(cell, "report", ())
    assert found.startswith((f"{name} ", f"{name}: ")), found
    assert message in found and "dvc repro" in found, found


@pytest.mark.parametrize(
    ("name", "column"),
    [
        (f"{CELLS.format('evaluate')}/queries.parquet", "rank"),
        ("data/captions/tiny/captions.parquet", "caption"),
        ("data/embed/tiny/ids.parquet", "sample_id"),
        ("data/cluster/tiny/default.parquet", "cluster_id"),
        ("data/cluster/tiny/kinds.parquet", "cluster_size"),
        ("data/shift/tiny/base/shift.parquet", "shift"),
    ],
)
def test_tables_that_report_reads_without_a_column(cell: Project, name: str, column: str) -> None:
    path = take_in_hand(Path(name))
    pd.read_parquet(path).rename(columns={column: "other"}).to_parquet(path, index=False)
    assert refused(cell, "report", ()).startswith(f"{name} lacks {column}; run `dvc repro")


def test_vectors_of_fewer_captions_in_the_report(cell: Project) -> None:
    path = take_in_hand(Path("data/embed/tiny/text.npy"))
    np.save(path, np.load(path)[:5])
    assert refused(cell, "report", ()).startswith(
        "data/embed/tiny/caption_text.npy names rows that text.npy does not have; run `dvc"
    )


def test_a_retrieval_of_a_picture_that_is_not_there(cell: Project) -> None:
    path = take_in_hand(Path(CELLS.format("evaluate"), "retrievals.json"))
    retrievals = json.loads(path.read_text())
    next(of for of in retrievals if of["direction"] == "t2v")["top"][0]["sample_id"] = "nowhere"
    path.write_text(json.dumps(retrievals))
    found = refused(cell, "report", ())
    assert found.startswith(f"{CELLS.format('evaluate')}/retrievals.json: ")
    assert "or an answer to it is not in queries.parquet or not in data/shards/tiny" in found
