"""One trained cell on the test split: metrics with intervals, a row a query, examples."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mmts.errors import InputError
from mmts.evaluation.queries import examples, query_groups, query_table
from mmts.kinds.measure import MeasureKind, default_measure
from mmts.kinds.rerank import RerankKind
from mmts.metrics.groups import group_metrics
from mmts.metrics.scores import Both, ProductScores, RerankedScores, Scores, candidates
from mmts.search import Rows, Search
from mmts.settings.training import Evaluate
from mmts.shards.samples import column
from mmts.training.pairs import Pairs

__all__ = ["RERANK", "Evaluation", "evaluate"]

RERANK = "rerank/"
"""Start of the keys, and of the columns of queries, after re-ranking."""


class Evaluation(NamedTuple):
    """metrics: by source. queries: a row a query. retrievals: examples, before re-ranking."""

    measure: MeasureKind
    rerank: RerankKind | None
    metrics: dict[str, dict[str, float]]
    queries: pd.DataFrame
    retrievals: list[dict[str, Any]]

    @property
    def judges(self) -> dict[str, Any]:
        """What measure.json has: the settings of the measure, and of the re-ranking."""
        both = {"measure": self.measure, "rerank": self.rerank}
        return {name: of and of.model_dump(mode="json") for name, of in both.items()}

    def told(self, source: str) -> str:
        """Return the main numbers of a source on one line."""
        found = self.metrics[source]
        said = self.measure.summary(found)
        again = {k.removeprefix(RERANK): v for k, v in found.items() if k.startswith(RERANK)}
        return f"{said}; re-ranked: {self.measure.summary(again)}" if again else said


def evaluate(
    vision: Rows, text: Rows, pairs: Pairs, cluster_size: dict[int, int], settings: Evaluate,
    model: Any = None,
) -> Evaluation:  # fmt: skip
    """Retrieval within each source of the split, by the measure of the settings.

    With `settings.rerank` the same numbers once more, under `rerank/`.

    Args:
        vision, text: unit rows of all items and of all captions of `pairs`.
        cluster_size: training rows of each cluster_id of the packed clustering.
        model: what re-ranking may ask, in evaluation mode.

    Raises:
        InputError: a source without captions to search among, or what the measure or the re-ranking
            raises.
    """
    from threadpoolctl import threadpool_limits

    measure = settings.measure or default_measure(pairs.classes_of is not None)
    measure.check(pairs.classes_of is not None)
    metrics, tables, retrievals = {}, [], []
    of_item = np.array(column(pairs.shards.samples, "source"), dtype=object)
    for source in dict.fromkeys(of_item):
        search = _search(measure, source, pairs, np.flatnonzero(of_item == source))
        queries = query_table(source, search, cluster_size)
        with threadpool_limits(1):  # its products are small beside what waiting threads would cost
            first = search.scores(vision, text)
            scores: Scores = first.held() if measure.held else first
            values = measure.measured(search, scores)
            metrics[source] = _metrics(measure, search, queries, values, settings)
            _add(queries, values, "")
            retrievals += examples(source, measure, search, scores, settings)
        if settings.rerank is not None:
            again = reranked(settings.rerank, model, search, first, scores)
            with threadpool_limits(1):
                values = measure.measured(search, again)
                found = _metrics(measure, search, queries, values, settings)
            metrics[source] |= {f"{RERANK}{key}": value for key, value in found.items()}
            _add(queries, values, RERANK)
        tables.append(queries)
    rows = pd.concat(tables, ignore_index=True)
    return Evaluation(measure, settings.rerank, metrics, rows, retrievals)


def reranked(
    rerank: RerankKind, model: Any, search: Search, first: ProductScores, scores: Scores
) -> RerankedScores:
    """Return the scores after re-ranking.

    Args:
        scores: `first`, or the same in memory.
    """
    import torch
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        chosen = candidates(scores, rerank.candidates)
    with torch.inference_mode():
        new = rerank.rescore(model, search, first, chosen)
    return RerankedScores(scores, chosen, new)


def _search(measure: MeasureKind, source: str, pairs: Pairs, items: Any) -> Search:
    """The items of a source and those captions of them that the measure takes."""
    every = Search(pairs, items, np.flatnonzero(np.isin(pairs.owner, items)))
    captions = every.captions[measure.captions(every)]
    if not len(captions):
        raise InputError(f"source {source} has no captions to search among; run `dvc repro`")
    return Search(pairs, items, captions)


def _add(queries: pd.DataFrame, values: dict[str, Both], prefix: str) -> None:
    for name, both in values.items():
        queries[f"{prefix}{name}"] = np.concatenate(both)


def _metrics(
    measure: MeasureKind, search: Search, queries: pd.DataFrame, values: dict[str, Both],
    settings: Evaluate,
) -> dict[str, float]:  # fmt: skip
    """The metrics of a source: of all queries, and of each group under its name and a slash.

    `.../low` and `.../high` bound the 95 % bootstrap interval. A group without queries in a
    direction is left out.
    """
    of = {name: np.concatenate(both) for name, both in values.items()}
    at = len(search.captions)
    found = group_metrics(
        {m: Both(numbers[:at], numbers[at:]) for m, numbers in measure.of_queries(of).items()},
        groups := query_groups(queries, search),
        key=measure.key, totals=measure.totals,
        items=Both(search.owner, np.arange(len(search.items))) if measure.by_item else None,
        resamples=settings.bootstrap, seed=settings.seed,
    )  # fmt: skip
    metrics: dict[str, float] = {}
    for group, of_group in found.items():
        prefix = "" if group == "all" else f"{group}/"
        for direction, rows in (("t2v", slice(0, at)), ("v2t", slice(at, None))):
            part = queries[["direction"]].assign(**of)[rows]
            if group != "all":
                part = part[getattr(groups[group], direction)]
            of_group |= measure.counts(part, direction)
        metrics |= {f"{prefix}{key}": value for key, value in of_group.items()}
    return metrics
