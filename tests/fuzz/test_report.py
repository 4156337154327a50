"""What the report reads of cells and clusterings, as somebody else may hand it to us."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmts.reporting.cells import Dataset
from mmts.reporting.clusters import described_clusters
from mmts.reporting.comparison import paper_tables
from mmts.reporting.gallery import gallery
from mmts.reporting.load import load_dataset
from mmts.reporting.tables import group_table, overall_table, part_table
from mmts.reporting.words import notes
from tests.fuzz.hostile import fewer, odd_json
from tests.fuzz.odd_tables import odd_csv, odd_parquet
from tests.fuzz.outcome import Refused, outcome
from tests.fuzz.test_score_files import arrays
from tests.reporting import graded
from tests.reporting.conftest import METHODS, write_tree

CHOSEN = {
    "pictures": {name: METHODS[name] for name in ("plain", "margin")},
    "clips": {name: graded.METHODS[name] for name in ("nce", "nce_learned")},
}


@pytest.fixture(scope="module")
def made(folder: Path) -> dict[str, SimpleNamespace]:
    """A dataset of pictures and one of clips: the folder, the shards, and the files by ending."""
    found = {}
    for name, methods in CHOSEN.items():
        data = folder / name
        shards = write_tree(data, name, seeds=(0,), methods=methods, clips=name == "clips")
        read: dict[str, list[Path]] = {}
        for path in sorted(path for path in data.rglob("*") if path.is_file()):
            read.setdefault(path.suffix, []).append(path)
        found[name] = SimpleNamespace(data=data, shards=shards, files=read)
    return found


def _shown(name: str, of: SimpleNamespace) -> Dataset:
    """The dataset, once most of what its report shows, but for figures, was made of it."""
    dataset = load_dataset(of.data, name, methods=list(CHOSEN[name]), seeds=[0])
    draws = {"resamples": 20, "seed": 0}
    for source in dataset.test_sources:
        overall_table(dataset, source, **draws), part_table(dataset, source, **draws)
        group_table(dataset, source)
        gallery(dataset, source, dataset.methods[0], of.shards, count=1, seed=0)
    notes(dataset, 20), paper_tables(dataset), described_clusters(dataset, seed=0, count=1)
    return dataset


def _is_refused_or_shown(
    made: dict[str, SimpleNamespace], ending: str, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(tuple(CHOSEN)))
    of = made[name]
    path = data.draw(st.sampled_from(of.files[ending]))
    whole = path.read_bytes()
    if ending == ".json":
        odd = data.draw(odd_json(json.loads(whole)))
    elif ending == ".parquet":
        odd = data.draw(odd_parquet(pq.read_table(path)))
    elif ending == ".csv":
        odd = data.draw(odd_csv(list(csv.reader(whole.decode().splitlines()))))
    else:
        odd = data.draw(arrays(np.load(path)))
    path.write_bytes(odd)
    try:
        found = outcome(_shown, name, of)
    finally:
        path.write_bytes(whole)
    if not isinstance(found, Refused):
        assert found.captions["cluster_id"].dtype.kind in "iu"
        assert all(np.isfinite(of["shift"]).all() for of in found.shifts.values())
        assert {*found.captions["source"]} <= {source.name for source in found.sources}


@fewer(4)
@given(st.data())
def test_json(made: dict[str, SimpleNamespace], data: st.DataObject) -> None:
    _is_refused_or_shown(made, ".json", data)


@fewer(5)
@given(st.data())
def test_tables(made: dict[str, SimpleNamespace], data: st.DataObject) -> None:
    _is_refused_or_shown(made, ".parquet", data)


@fewer(12)
@given(st.data())
def test_curves(made: dict[str, SimpleNamespace], data: st.DataObject) -> None:
    _is_refused_or_shown(made, ".csv", data)


@fewer(12)
@given(st.data())
def test_vectors(made: dict[str, SimpleNamespace], data: st.DataObject) -> None:
    _is_refused_or_shown(made, ".npy", data)
