"""A row a query, the groups that queries belong to, and examples of retrievals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mmts.kinds.measure import MeasureKind
from mmts.metrics.groups import groups_of_names, groups_of_parts
from mmts.metrics.longtail import item_cluster, parts_of_clusters
from mmts.metrics.scores import Both, Scores, top_k
from mmts.search import Search
from mmts.settings.training import Evaluate

TOP = 5  # answers of an example


def query_table(source: str, search: Search, cluster_size: dict[int, int]) -> pd.DataFrame:
    """A row a query with its cluster and part; t2v first.

    A caption has its own cluster, an item the most frequent one of its captions. A cluster without
    training rows is tail.
    """
    pairs, items, captions = search.pairs, search.items, search.captions
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


def query_groups(queries: pd.DataFrame, search: Search) -> dict[str, Both]:
    """Head, medium and tail, then the groups that the samples name, by name.

    The groups of a media item are those of its first caption.
    """
    part, at = queries["part"].tolist(), len(search.captions)
    names = [
        own
        for sample in search.pairs.shards.samples
        for own in sample.get("groups", [[]] * len(sample["captions"]))
    ]
    first = search.pairs.first[search.items]
    of_texts, of_items = ([names[c] for c in rows] for rows in (search.captions, first))
    return {**groups_of_parts(part[:at], part[at:]), **groups_of_names(of_texts, of_items)}


def examples(
    source: str, measure: MeasureKind, search: Search, scores: Scores, settings: Evaluate
) -> list[dict[str, Any]]:
    """The first answers to some queries; the same queries for every method and seed."""
    pairs, items, captions = search.pairs, search.items, search.captions
    rng = np.random.default_rng(settings.seed)
    count = min(settings.examples, len(items), len(captions))
    shown = []
    for c in rng.choice(len(captions), count, replace=False):
        top = [
            {"id": (name := pairs.sample_ids[items[n]]), "sample_id": name, **facts}
            for n, facts in _answers(measure, search, scores, "t2v", c)
        ]
        caption = captions[c]
        sample_id = pairs.sample_ids[pairs.owner[caption]]
        query = pairs.caption_ids[caption], sample_id, pairs.captions[caption]
        shown.append(_example(source, "t2v", *query, top))
    for i in rng.choice(len(items), count, replace=False):
        top = [
            {"id": pairs.caption_ids[captions[n]], "text": pairs.captions[captions[n]],
             "sample_id": pairs.sample_ids[pairs.owner[captions[n]]], **facts}
            for n, facts in _answers(measure, search, scores, "v2t", i)
        ]  # fmt: skip
        sample_id = pairs.sample_ids[items[i]]
        shown.append(_example(source, "v2t", sample_id, sample_id, sample_id, top))
    return shown


def _answers(
    measure: MeasureKind, search: Search, scores: Scores, direction: str, query: int
) -> list[tuple[int, dict[str, Any]]]:
    """Places of the first answers to a query, and what retrievals.json says of each."""
    (of_query,) = getattr(scores, direction)(slice(query, query + 1))
    gains = measure.gains(search, direction, query)
    found = []
    for n in top_k(of_query, gains, TOP):
        facts = {"score": round(float(of_query[n]), 4), "match": bool(gains[n] == 1)}
        relevancy = {"relevancy": round(float(gains[n]), 4)} if measure.graded else {}
        found.append((int(n), facts | relevancy))
    return found


def _example(
    source: str, direction: str, query_id: str, sample_id: str, query: str,
    top: list[dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    return {
        "source": source, "direction": direction, "query_id": query_id,
        "sample_id": sample_id, "query": query, "top": top,
    }  # fmt: skip
