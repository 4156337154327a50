"""One trained cell on the test split: recalls, their intervals, the long-tail breakdown."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmts.metrics.bootstrap import interval, item_weights, resampled_shares
from mmts.metrics.longtail import PARTS, item_cluster, parts_of_clusters
from mmts.metrics.recall import Ranks, retrieval_ranks, top_k
from mmts.settings import Evaluate
from mmts.training.data import Pairs

KS = (1, 5, 10)
Rows = NDArray[np.float32]


class Evaluation(NamedTuple):
    """metrics: by source, see `source_metrics`. queries: a row a query. retrievals: examples."""

    metrics: dict[str, dict[str, float]]
    queries: pd.DataFrame
    retrievals: list[dict[str, Any]]


def evaluate(
    vision: Rows, text: Rows, pairs: Pairs, cluster_size: dict[int, int], settings: Evaluate
) -> Evaluation:
    """Retrieval within each source of the split.

    Args:
        vision, text: unit rows of all items and of all captions of `pairs`.
        cluster_size: training rows of each cluster_id of the packed clustering.
    """
    metrics, queries, retrievals = {}, [], []
    of_item = np.array([sample["source"] for sample in pairs.shards.samples], dtype=object)
    for source in dict.fromkeys(of_item):
        items = np.flatnonzero(of_item == source)
        captions = np.flatnonzero(np.isin(pairs.owner, items))
        owner = np.searchsorted(items, pairs.owner[captions])
        ranks = retrieval_ranks(vision[items], text[captions], owner)
        found = query_table(source, ranks, pairs, items, captions, owner, cluster_size)
        metrics[source] = source_metrics(found, len(items), settings)
        retrievals += examples(source, vision, text, pairs, items, captions, settings)
        queries.append(found.drop(columns="item"))
    return Evaluation(metrics, pd.concat(queries, ignore_index=True), retrievals)


def query_table(
    source: str, ranks: Ranks, pairs: Pairs, items: NDArray[np.int64], captions: NDArray[np.int64],
    owner: NDArray[np.int64], cluster_size: dict[int, int],
) -> pd.DataFrame:  # fmt: skip
    """A row a query with its rank, cluster and part; t2v first.

    A caption has its own cluster, an image the most frequent one of its captions.
    """
    parts = parts_of_clusters(cluster_size)
    sample_ids = [pairs.sample_ids[i] for i in items]
    of_caption = [int(c) for c in pairs.cluster_id[captions]]
    by_item: list[list[int]] = [[] for _ in items]
    for item, cluster in zip(owner, of_caption, strict=True):
        by_item[item].append(cluster)
    clusters = of_caption + [item_cluster(found) for found in by_item]
    return pd.DataFrame(
        {
            "source": source,
            "direction": ["t2v"] * len(captions) + ["v2t"] * len(items),
            "query_id": [pairs.caption_ids[c] for c in captions] + sample_ids,
            "sample_id": [sample_ids[i] for i in owner] + sample_ids,
            "cluster_id": np.array(clusters, dtype=np.int32),
            "cluster_size": np.array([cluster_size.get(c, 0) for c in clusters], dtype=np.int64),
            "part": [parts.get(c, "tail") for c in clusters],
            "rank": np.concatenate([ranks.t2v, ranks.v2t]),
            "item": np.concatenate([owner, np.arange(len(items))]),
        }
    )


def source_metrics(queries: pd.DataFrame, items: int, settings: Evaluate) -> dict[str, float]:
    """Metrics of one source: of all queries, and under head/, medium/ and tail/.

    Recalls are fractions, `rsum` is the sum of the six; `.../low` and `.../high` bound the 95 %
    bootstrap interval over media items. A part without queries in a direction is left out.
    """
    weights = item_weights(items, settings.bootstrap, settings.seed)
    found = _metrics_of(queries, weights, "")
    for part in PARTS:
        found |= _metrics_of(queries[queries["part"] == part], weights, f"{part}/")
    return found


def _metrics_of(
    queries: pd.DataFrame, weights: NDArray[np.float32], prefix: str
) -> dict[str, float]:
    found: dict[str, float] = {}
    sums, total = np.zeros(len(weights)), 0.0
    for direction in ("t2v", "v2t"):
        rows = queries[queries["direction"] == direction]
        if rows.empty:
            return {}
        rank = rows["rank"].to_numpy()
        hits = np.stack([rank <= k for k in KS], axis=1)
        samples = resampled_shares(weights, rows["item"].to_numpy(), hits)
        sums, total = sums + samples.sum(axis=1), total + float(hits.mean(axis=0).sum())
        for column, k in enumerate(KS):
            key = f"{prefix}{direction}/R@{k}"
            found[key] = float(hits[:, column].mean())
            found[f"{key}/low"], found[f"{key}/high"] = interval(samples[:, column])
        found[f"{prefix}{direction}/median_rank"] = float(np.median(rank))
        found[f"{prefix}{direction}/queries"] = len(rows)
    found[f"{prefix}rsum"] = total
    found[f"{prefix}rsum/low"], found[f"{prefix}rsum/high"] = interval(sums)
    return found


def examples(
    source: str, vision: Rows, text: Rows, pairs: Pairs, items: NDArray[np.int64],
    captions: NDArray[np.int64], settings: Evaluate,
) -> list[dict[str, Any]]:  # fmt: skip
    """The top 5 answers of some queries; the same queries for every method and seed."""
    rng = np.random.default_rng(settings.seed)
    count = min(settings.examples, len(items))
    shown = []
    for c in rng.choice(captions, count, replace=False):
        order, scores = top_k(text[c], vision[items], items == pairs.owner[c], 5)
        top = [
            {"id": pairs.sample_ids[i], "sample_id": pairs.sample_ids[i],
             "score": round(float(s), 4), "match": bool(i == pairs.owner[c])}
            for i, s in zip(items[order], scores, strict=True)
        ]  # fmt: skip
        shown.append(_example(source, "t2v", pairs.caption_ids[c], pairs, pairs.owner[c],
                              pairs.captions[c], top))  # fmt: skip
    for i in rng.choice(items, count, replace=False):
        order, scores = top_k(vision[i], text[captions], pairs.owner[captions] == i, 5)
        top = [
            {"id": pairs.caption_ids[c], "text": pairs.captions[c],
             "sample_id": pairs.sample_ids[pairs.owner[c]], "score": round(float(s), 4),
             "match": bool(pairs.owner[c] == i)}
            for c, s in zip(captions[order], scores, strict=True)
        ]  # fmt: skip
        sample_id = pairs.sample_ids[i]
        shown.append(_example(source, "v2t", sample_id, pairs, i, sample_id, top))
    return shown


def _example(
    source: str, direction: str, query_id: str, pairs: Pairs, item: int, query: str,
    top: list[dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    return {
        "source": source, "direction": direction, "query_id": query_id,
        "sample_id": pairs.sample_ids[item], "query": query, "top": top,
    }  # fmt: skip
