"""Vectors to cluster in a file: there and back, what is refused, and the clusters of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from mmts.cluster import UNKNOWN
from mmts.errors import InputError
from mmts.feature_files import NONE, read_features, write_features
from tests.test_cluster import CENTRES, SPLITS, cluster, kmeans, made

CAPTIONS = pd.DataFrame(
    {"caption_id": ["c0", "c1", "c2", "c3"], "sample_id": ["s0", "s0", "s1", "s2"]}
)


def test_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "below/x.parquet"
    vectors = np.array([[0.0, 2.0], [3.0, 4.0]], np.float32)
    write_features(path, "sample_id", ["s1", "s0"], vectors, ["s2"])
    found, rows = read_features(path, CAPTIONS)
    assert rows.tolist() == [1, 1, 0, NONE]
    np.testing.assert_allclose(found, [[0, 1], [0.6, 0.8]])
    write_features(path, "caption_id", ["c2", "c1", "c0", "c3"], np.eye(4, dtype=np.float32))
    found, rows = read_features(path, CAPTIONS)
    assert rows.tolist() == [2, 1, 0, 3] and np.array_equal(found, np.eye(4))


def table(**changes: Any) -> pd.DataFrame:
    columns = {"sample_id": ["s0", "s1", "s2"], "vector": [[1.0, 2.0]] * 3, **changes}
    return pd.DataFrame({k: v for k, v in columns.items() if v is not None})


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (table(sample_id=["s0", "s1", "s1"]), ": sample_id s1 stands twice; write it again with `"),
        (table(sample_id=["s0", "s1", "x"]),
         ": 1 of 3 are no sample_id of the captions table, such as x; write it again with `python"),
        (table(sample_id=["s0", "s1", "s2"])[:2],
         " lacks 1 of 3 sample_ids of the captions table, such as s2; write it again with `python"),
        (table(vector=[[1.0], [1.0], [1.0, 2.0]]),
         ": the vector of s2 has 2 numbers, that of s0 1; write it again with `python -m stages.f"),
        (table(vector=[[], [], []]), ": the vector of s0 is no list of finite numbers; write"),
        (table(vector=[[1.0, np.nan]] * 3), ": the vector of s0 is no list of finite numbers; wr"),
        (table(vector=[["a", "b"]] * 3), ": the vector of s0 is no list of finite numbers; write"),
        (table(vector=[1.0, 2.0, 3.0]), ": the vector of s0 is no list of finite numbers; write"),
        (table(vector=[None] * 3), " has no vector; write it again with `python -m stages.featur"),
        (table(vector=None), " lacks vector; write it again with `python -m stages.features`"),
        (table(sample_id=None),
         " has neither of sample_id and caption_id, and one tells whose vectors they are; write i"),
        (table(caption_id=["c0", "c1", "c2"]), " has both of sample_id and caption_id, and one te"),
        (table(sample_id=[0, 1, 2]), ": sample_id is of type int64, or has gaps; it must be text"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, made: pd.DataFrame, told: str) -> None:
    path = tmp_path / "x.parquet"
    made.to_parquet(path, index=False)
    with pytest.raises(InputError) as caught:
        read_features(path, CAPTIONS)
    message = str(caught.value)
    assert message.startswith(f"{path}{told}") and "\n" not in message


def test_a_file_that_is_not_there_or_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    with pytest.raises(InputError, match=r"x\.parquet.*; write it again with `python -m stages"):
        read_features(path, CAPTIONS)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"is not a Parquet file .*; write it again with `python"):
        read_features(path, CAPTIONS)


@pytest.mark.parametrize("column", ["sample_id", "caption_id"])
def test_clusters_of_a_file(tmp_path: Path, column: Any) -> None:
    captions, embeddings = made(SPLITS)
    path = tmp_path / "VAST-v.parquet"
    vectors = CENTRES[captions["centre"]] + 0.1 * np.random.default_rng(0).random((33, 2))
    write_features(path, column, captions[column], vectors)
    settings = kmeans(3, features="file", path=str(path), starts=3)
    found, centroids, facts = cluster(settings, captions, embeddings)
    number = captions["centre"].map({1: 0, 2: 1, 0: 2})
    assert found["cluster_id"].tolist() == number.tolist()
    assert centroids is not None and centroids.shape == (3, 2)
    assert (facts["label"], facts["published"]) == ("K-Means of VAST-v", False)
    assert settings.files == (str(path),)


def test_items_without_a_vector_are_in_no_cluster(tmp_path: Path) -> None:
    captions, embeddings = made(SPLITS)
    path = tmp_path / "x.parquet"
    lost = captions["sample_id"].isin(["s0", "s29"])
    kept = captions[~lost]
    write_features(path, "sample_id", kept["sample_id"], CENTRES[kept["centre"]], ["s0", "s29"])
    settings = kmeans(3, features="file", path=str(path))
    found = cluster(settings, captions, embeddings).table
    assert found.loc[lost, "cluster_id"].tolist() == [UNKNOWN] * 2
    assert found.loc[lost, "cluster_size"].tolist() == [0, 0]
    assert sorted(found.loc[~lost, "cluster_size"].unique()) == [5, 9, 13]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"features": "file"}, "features is file but path is missing; name a Parquet file that `"),
        ({"path": "x"}, "path is x but features is text; set features to file, or leave out path"),
    ],
)
def test_settings_that_do_not_fit(more: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        kmeans(3, **more)


def test_what_the_page_calls_clusters() -> None:
    makes: dict[str, Callable[[], Any]] = {
        "sentence vectors": lambda: kmeans(2),
        "words": lambda: kmeans(2, features="lsa"),
        "CLIP-t": lambda: kmeans(2, features="file", path="data/raw/x/CLIP-t.parquet"),
    }
    assert {name: make().made_of for name, make in makes.items()} == {n: n for n in makes}
