"""Recalls of a source, their intervals, and the long-tail breakdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmts.evaluation.queries import TOP, Answer, Ints, Rows, examples, query_table
from mmts.metrics.bootstrap import interval, item_weights, resampled_shares
from mmts.metrics.longtail import PARTS
from mmts.metrics.recall import KS, retrieval_ranks, rsum, top_k
from mmts.settings.training import Evaluate
from mmts.training.pairs import Pairs


def evaluate_source(
    source: str, items: Ints, vision: Rows, text: Rows, pairs: Pairs,
    cluster_size: dict[int, int], settings: Evaluate,
) -> tuple[dict[str, float], pd.DataFrame, list[dict[str, Any]]]:  # fmt: skip
    """The metrics of `source_metrics`, queries with the rank of the best right answer, examples."""
    captions = np.flatnonzero(np.isin(pairs.owner, items))
    owner = np.searchsorted(items, pairs.owner[captions])
    ranks = retrieval_ranks(vision[items], text[captions], owner)
    queries = query_table(source, items, captions, pairs, cluster_size)
    queries["rank"] = np.concatenate([ranks.t2v, ranks.v2t])
    of_item = queries.assign(item=np.concatenate([owner, np.arange(len(items))]))
    metrics = source_metrics(of_item, len(items), settings)

    def answers(direction: str, query: int) -> Iterator[Answer]:
        if direction == "t2v":
            own = items == pairs.owner[query]
            order, scores = top_k(text[query], vision[items], own, TOP)
            rows = items[order]
        else:
            own = pairs.owner[captions] == query
            order, scores = top_k(vision[query], text[captions], own, TOP)
            rows = captions[order]
        for row, place, score in zip(rows, order, scores, strict=True):
            yield Answer(row, float(score), {"match": bool(own[place])})

    return metrics, queries, examples(source, items, captions, pairs, settings, answers)


def source_metrics(queries: pd.DataFrame, items: int, settings: Evaluate) -> dict[str, float]:
    """Metrics of one source: of all queries, and under head/, medium/ and tail/.

    Recalls are fractions, `rsum` is the sum of the six in percent points, 0 to 600; `.../low` and
    `.../high` bound the 95 % bootstrap interval over media items. A part without queries in a
    direction is left out.
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
    sums, recalls = np.zeros(len(weights)), dict[str, float]()
    for direction in ("t2v", "v2t"):
        rows = queries[queries["direction"] == direction]
        if rows.empty:
            return {}
        rank = rows["rank"].to_numpy()
        hits = np.stack([rank <= k for k in KS], axis=1)
        samples = resampled_shares(weights, rows["item"].to_numpy(), hits)
        sums = sums + samples.sum(axis=1)
        for column, k in enumerate(KS):
            key = f"{prefix}{direction}/R@{k}"
            found[key] = recalls[key] = float(hits[:, column].mean())
            found[f"{key}/low"], found[f"{key}/high"] = interval(samples[:, column])
        found[f"{prefix}{direction}/median_rank"] = float(np.median(rank))
        found[f"{prefix}{direction}/queries"] = len(rows)
    found[f"{prefix}rsum"] = rsum(recalls)
    found[f"{prefix}rsum/low"], found[f"{prefix}rsum/high"] = interval(100 * sums)
    return found
