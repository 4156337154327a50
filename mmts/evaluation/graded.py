"""Multi-instance mAP and nDCG of a source whose captions have graded relevancy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from mmts.errors import InputError
from mmts.evaluation.queries import TOP, Answer, Ints, Rows, examples, query_table
from mmts.metrics.relevancy import relevancy
from mmts.multi_instance import (
    Group,
    Ids,
    groups_of_names,
    groups_of_parts,
    multi_instance_metrics,
    query_values,
)
from mmts.settings.training import Evaluate
from mmts.training.pairs import Pairs


def evaluate_source(
    source: str, items: Ints, vision: Rows, text: Rows, pairs: Pairs,
    cluster_size: dict[int, int], settings: Evaluate,
) -> tuple[dict[str, float], pd.DataFrame, list[dict[str, Any]]]:  # fmt: skip
    """The metrics of `mmts.multi_instance`, queries with their AP and nDCG, and examples.

    All clips are searched for and among; of the captions, those that are sentences. The classes
    and groups of a clip are those of its first caption. Metrics of a group of queries have its
    name and a slash before theirs.

    Raises:
        InputError: no sentence, or a query without an item of relevancy 1.
    """
    captions = np.flatnonzero(pairs.searched() & np.isin(pairs.owner, items))
    if not len(captions):
        raise InputError(f"source {source} has no sentence to search among; run `dvc repro`")
    queries = query_table(source, items, captions, pairs, cluster_size)
    assert pairs.classes_of is not None
    clips, sentences = (
        [pairs.classes_of[c] for c in rows] for rows in (pairs.first[items], captions)
    )
    similarity, gains = vision[items] @ text[captions].T, relevancy(clips, sentences)
    ids = Ids(
        [pairs.sample_ids[i] for i in items.tolist()],
        [pairs.caption_ids[c] for c in captions.tolist()],
    )
    values = query_values(similarity, gains, ids)
    for name, metric in (("AP", values.average_precision), ("nDCG", values.ndcg)):
        queries[name] = np.concatenate([metric.t2v, metric.v2t])
    found = multi_instance_metrics(
        values, query_groups(queries, items, captions, pairs),
        resamples=settings.bootstrap, seed=settings.seed,
    )  # fmt: skip
    metrics = {
        key if group == "all" else f"{group}/{key}": value
        for group, of_group in found.items()
        for key, value in of_group.items()
    }

    def answers(direction: str, query: int) -> Iterator[Answer]:
        if direction == "t2v":
            place = int(np.searchsorted(captions, query))
            scores, gain, rows = similarity[:, place], gains[:, place], items
        else:
            place = int(np.searchsorted(items, query))
            scores, gain, rows = similarity[place], gains[place], captions
        for n in np.lexsort((gain, -scores))[:TOP]:  # of equal scores the least relevant first
            facts = {"match": bool(gain[n] == 1), "relevancy": round(float(gain[n]), 4)}
            yield Answer(rows[n], float(scores[n]), facts)

    return metrics, queries, examples(source, items, captions, pairs, settings, answers)


def query_groups(
    queries: pd.DataFrame, items: Ints, captions: Ints, pairs: Pairs
) -> dict[str, Group]:
    """Head, medium and tail, then the groups that the samples name, by name."""
    part = queries["part"].tolist()
    names = [
        own
        for sample in pairs.shards.samples
        for own in sample.get("groups", [[]] * len(sample["captions"]))
    ]
    of_clips, of_sentences = ([names[c] for c in rows] for rows in (pairs.first[items], captions))
    return {
        **groups_of_parts(part[len(captions) :], part[: len(captions)]),
        **groups_of_names(of_clips, of_sentences),
    }
