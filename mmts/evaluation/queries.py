"""What recalls and multi-instance metrics share: a row a query, and examples of retrievals."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmts.metrics.longtail import item_cluster, parts_of_clusters
from mmts.settings.training import Evaluate
from mmts.training.pairs import Pairs

Rows = NDArray[np.float32]
Ints = NDArray[np.int64]
TOP = 5  # answers of an example


class Answer(NamedTuple):
    """One of the first answers to a query: the row of an item or of a caption, and its score.

    facts: what else retrievals.json says of it.
    """

    row: int
    score: float
    facts: dict[str, Any]


def query_table(
    source: str, items: Ints, captions: Ints, pairs: Pairs, cluster_size: dict[int, int]
) -> pd.DataFrame:
    """A row a query with its cluster and part; t2v first.

    A caption has its own cluster, an item the most frequent one of its captions. A cluster without
    training rows is tail.

    Args:
        items, captions: the queries, as rows of `pairs`.
    """
    parts = parts_of_clusters(cluster_size)
    sample_ids = [pairs.sample_ids[i] for i in items]
    cluster_id = pairs.cluster_id.tolist()
    clusters = [cluster_id[c] for c in captions] + [
        item_cluster(cluster_id[pairs.first[i] : pairs.first[i + 1]]) for i in items
    ]
    return pd.DataFrame(
        {
            "source": source,
            "direction": ["t2v"] * len(captions) + ["v2t"] * len(items),
            "query_id": [pairs.caption_ids[c] for c in captions] + sample_ids,
            "sample_id": [pairs.sample_ids[i] for i in pairs.owner[captions]] + sample_ids,
            "cluster_id": np.array(clusters, dtype=np.int32),
            "cluster_size": np.array([cluster_size.get(c, 0) for c in clusters], dtype=np.int64),
            "part": [parts.get(c, "tail") for c in clusters],
        }
    )


def examples(
    source: str, items: Ints, captions: Ints, pairs: Pairs, settings: Evaluate,
    answers: Callable[[str, int], Iterable[Answer]],
) -> list[dict[str, Any]]:  # fmt: skip
    """The first answers to some queries; the same queries for every method and seed.

    Args:
        items, captions: the queries, as rows of `pairs`.
        answers: (direction, row of the query) -> its first answers, the best first.
    """
    rng = np.random.default_rng(settings.seed)
    count = min(settings.examples, len(items), len(captions))
    owner = pairs.owner
    shown = []
    for c in rng.choice(captions, count, replace=False):
        top = [
            {"id": pairs.sample_ids[i], "sample_id": pairs.sample_ids[i],
             "score": round(score, 4), **facts}
            for i, score, facts in answers("t2v", c)
        ]  # fmt: skip
        query = pairs.caption_ids[c], pairs.sample_ids[owner[c]], pairs.captions[c]
        shown.append(_example(source, "t2v", *query, top))
    for i in rng.choice(items, count, replace=False):
        top = [
            {"id": pairs.caption_ids[c], "text": pairs.captions[c],
             "sample_id": pairs.sample_ids[owner[c]], "score": round(score, 4), **facts}
            for c, score, facts in answers("v2t", i)
        ]  # fmt: skip
        sample_id = pairs.sample_ids[i]
        shown.append(_example(source, "v2t", sample_id, sample_id, sample_id, top))
    return shown


def _example(
    source: str, direction: str, query_id: str, sample_id: str, query: str,
    top: list[dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    return {
        "source": source, "direction": direction, "query_id": query_id,
        "sample_id": sample_id, "query": query, "top": top,
    }  # fmt: skip
