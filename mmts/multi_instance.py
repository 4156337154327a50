"""mAP and nDCG of one similarity matrix: of all queries, of groups of them, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmts.metrics.bootstrap import interval, item_weights, resampled_shares
from mmts.metrics.mir import PerQuery, per_query

Mask = NDArray[np.bool_]
Metrics = dict[str, dict[str, float]]


Classes = Sequence[tuple[int, Sequence[int]]]


class Group(NamedTuple):
    """Which queries belong to a group: v2t is [V], t2v is [T]."""

    v2t: Mask
    t2v: Mask


def multi_instance_metrics(
    similarity: NDArray[np.floating],
    relevancy: NDArray[np.float64],
    groups: Mapping[str, Group],
    *,
    resamples: int,
    seed: int,
) -> Metrics:
    """Multi-instance mAP and nDCG (`mmts.metrics.mir`) of all queries and of each group.

    A group restricts the queries, never what they are ranked against. `.../low` and `.../high`
    bound the 95 % bootstrap interval over queries.

    Args:
        similarity: [V, T].
        relevancy: [V, T] in [0, 1].
        groups: by name; a group without a query in a direction is left out.
        resamples, seed: of the bootstrap.

    Returns:
        `{"all" or the group: {"mAP/v2t": ..., "mAP/v2t/low": ..., "queries/v2t": ...}}`, with v2t,
        t2v and avg of mAP and nDCG; fractions in [0, 1].

    Raises:
        InputError: as `mmts.metrics.mir.per_query`.
    """
    values = per_query(similarity, relevancy)
    everything = Group(*(np.ones(n, dtype=bool) for n in similarity.shape))
    found = {}
    for name, group in {"all": everything, **groups}.items():
        if group.v2t.any() and group.t2v.any():
            found[name] = _metrics(values.average_precision, values.ndcg, group, resamples, seed)
    return found


def _metrics(
    precision: PerQuery, ndcg: PerQuery, group: Group, resamples: int, seed: int
) -> dict[str, float]:
    found: dict[str, float] = {}
    drawn, means = {}, {}
    for direction in ("v2t", "t2v"):
        chosen = getattr(group, direction)
        both = np.stack([getattr(m, direction)[chosen] for m in (precision, ndcg)], axis=1)
        weights = item_weights(len(both), resamples, seed)
        means[direction] = both.mean(axis=0)
        drawn[direction] = resampled_shares(weights, np.arange(len(both)), both)
        found[f"queries/{direction}"] = len(both)
    means["avg"] = (means["v2t"] + means["t2v"]) / 2
    drawn["avg"] = (drawn["v2t"] + drawn["t2v"]) / 2
    for column, metric in enumerate(("mAP", "nDCG")):
        for direction in ("v2t", "t2v", "avg"):
            key = f"{metric}/{direction}"
            found[key] = float(means[direction][column])
            found[f"{key}/low"], found[f"{key}/high"] = interval(drawn[direction][:, column])
    return found


def groups_of_classes(
    videos: Classes, texts: Classes, tail: Mapping[str, frozenset[int]]
) -> dict[str, Group]:
    """Queries of a tail verb, of a tail noun, and of neither.

    Args:
        videos, texts: (verb class, noun classes) of each clip and each sentence.
        tail: the tail classes, `verb` and `noun`; without both there are no groups. A query is of
            a tail noun if any of its nouns is one.
    """
    if not {"verb", "noun"} <= tail.keys():
        return {}
    verb = Group(*(np.array([v in tail["verb"] for v, _ in of]) for of in (videos, texts)))
    noun = Group(
        *(np.array([not tail["noun"].isdisjoint(ns) for _, ns in of]) for of in (videos, texts))
    )
    neither = Group(*(~(v | n) for v, n in zip(verb, noun, strict=True)))
    return {"tail verbs": verb, "tail nouns": noun, "neither": neither}


def table(found: Metrics) -> str:
    """The metrics in percent as lines of text, with the intervals of the averages."""
    heads = [f"{metric} {d}" for metric in ("mAP", "nDCG") for d in ("v2t", "t2v", "avg")]
    lines = [f"{'queries':<12}{'v2t':>7}{'t2v':>7}" + "".join(f"{head:>10}" for head in heads)]
    for name, metrics in found.items():
        counts = f"{metrics['queries/v2t']:>7.0f}{metrics['queries/t2v']:>7.0f}"
        values = "".join(f"{100 * metrics[head.replace(' ', '/')]:>10.2f}" for head in heads)
        lines.append(f"{name:<12}{counts}{values}")
    for metric in ("mAP", "nDCG"):
        low, high = (100 * found["all"][f"{metric}/avg/{end}"] for end in ("low", "high"))
        lines.append(f"95 % interval of {metric} avg, all queries: {low:.2f} to {high:.2f}")
    return "\n".join(lines)
