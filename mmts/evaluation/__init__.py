"""One trained cell on the test split: metrics with intervals, a row a query, examples."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mmts.evaluation import graded, recall
from mmts.evaluation.queries import Rows
from mmts.metrics.recall import to_percent
from mmts.settings.training import Evaluate
from mmts.shards.samples import column
from mmts.training.pairs import Pairs

__all__ = ["Evaluation", "evaluate", "summary"]


class Evaluation(NamedTuple):
    """metrics: by source. queries: a row a query. retrievals: examples."""

    metrics: dict[str, dict[str, float]]
    queries: pd.DataFrame
    retrievals: list[dict[str, Any]]


def evaluate(
    vision: Rows, text: Rows, pairs: Pairs, cluster_size: dict[int, int], settings: Evaluate
) -> Evaluation:
    """Retrieval within each source of the split.

    Recalls (`recall.evaluate_source`), or where the captions have graded relevancy
    multi-instance mAP and nDCG (`graded.evaluate_source`).

    Args:
        vision, text: unit rows of all items and of all captions of `pairs`.
        cluster_size: training rows of each cluster_id of the packed clustering.
    """
    from threadpoolctl import threadpool_limits

    within = recall if pairs.classes_of is None else graded
    metrics, queries, retrievals = {}, [], []
    of_item = np.array(column(pairs.shards.samples, "source"), dtype=object)
    for source in dict.fromkeys(of_item):
        items = np.flatnonzero(of_item == source)
        with threadpool_limits(1):  # its products are small beside what waiting threads would cost
            metrics[source], rows, shown = within.evaluate_source(
                source, items, vision, text, pairs, cluster_size, settings
            )
        queries.append(rows)
        retrievals += shown
    return Evaluation(metrics, pd.concat(queries, ignore_index=True), retrievals)


def summary(metrics: dict[str, float]) -> str:
    """The main numbers of one source on one line, in percent."""
    percent = {key: f"{to_percent(key) * value:.1f}" for key, value in metrics.items()}
    if "mAP/avg" in metrics:
        return (
            f"mAP {percent['mAP/avg']} (v2t {percent['mAP/v2t']}, t2v {percent['mAP/t2v']}), "
            f"nDCG {percent['nDCG/avg']}"
        )
    return f"t2v R@1 {percent['t2v/R@1']}, v2t R@1 {percent['v2t/R@1']}, rsum {percent['rsum']}"
