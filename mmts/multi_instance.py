"""mAP and nDCG of all queries and of groups of them, with intervals: for cells and for `mir`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmts.errors import InputError
from mmts.metrics.bootstrap import interval, item_weights, resampled_shares
from mmts.metrics.longtail import PARTS
from mmts.metrics.mir import Values, per_query

Mask = NDArray[np.bool_]
Metrics = dict[str, dict[str, float]]
DIRECTIONS = ("v2t", "t2v")


class Group(NamedTuple):
    """Which queries belong to a group: v2t is [V], t2v is [T]."""

    v2t: Mask
    t2v: Mask


class Ids(NamedTuple):
    """Names of the queries: v2t are the V clips, t2v the T sentences."""

    v2t: Sequence[str]
    t2v: Sequence[str]


def query_values(
    similarity: NDArray[np.floating[Any]], relevancy: NDArray[np.float64], ids: Ids
) -> Values:
    """Average precision and nDCG of every query (`mmts.metrics.mir`).

    Args:
        similarity: [V, T].
        relevancy: [V, T] in [0, 1].
        ids: what an error calls a query without an item of relevancy 1.

    Raises:
        InputError: as `mmts.metrics.mir.per_query`.
    """
    for axis, (direction, names) in enumerate(ids._asdict().items()):
        without = np.flatnonzero(relevancy.max(axis=1 - axis) < 1)
        if len(without):
            others = f" (so have {len(without) - 1:,} others of {len(names):,})"
            raise InputError(
                f"{direction} query {names[without[0]]} has no {('sentence', 'clip')[axis]} of "
                f"relevancy 1, one of the same verb and nouns{others if len(without) > 1 else ''}; "
                "put back what is missing, or leave the query out"
            )
    return per_query(similarity, relevancy)


def multi_instance_metrics(
    values: Values, groups: Mapping[str, Group], *, resamples: int, seed: int
) -> Metrics:
    """Multi-instance mAP and nDCG of all queries and of each group.

    A group restricts the queries, never what they are ranked against. `.../low` and `.../high`
    bound the 95 % bootstrap interval. The clips and the sentences are drawn anew, independently of
    each other, as queries; what they are ranked against stays.

    Args:
        values: what `query_values` gives.
        groups: by name; a group without a query in a direction is left out.
        resamples, seed: of the bootstrap.

    Returns:
        `{"all" or the group: {"mAP/v2t": ..., "mAP/v2t/low": ..., "queries/v2t": ...}}`, with v2t,
        t2v and avg of mAP and nDCG; fractions in [0, 1].
    """
    of_query = {
        direction: np.stack([getattr(metric, direction) for metric in values], axis=1)
        for direction in DIRECTIONS
    }
    weights = {
        direction: item_weights(len(of_query[direction]), resamples, (seed, stream))
        for stream, direction in enumerate(DIRECTIONS)
    }
    everything = Group(*(np.ones(len(of_query[d]), dtype=bool) for d in DIRECTIONS))
    return {
        name: _metrics(of_query, weights, group)
        for name, group in {"all": everything, **groups}.items()
        if group.v2t.any() and group.t2v.any()
    }


def _metrics(
    of_query: Mapping[str, NDArray[np.float64]], weights: Mapping[str, NDArray[np.float32]],
    group: Group,
) -> dict[str, float]:  # fmt: skip
    found: dict[str, float] = {}
    drawn, means = {}, {}
    for direction in DIRECTIONS:
        chosen = np.flatnonzero(getattr(group, direction))
        both = of_query[direction][chosen]
        means[direction] = both.mean(axis=0)
        drawn[direction] = resampled_shares(weights[direction], chosen, both)
        found[f"queries/{direction}"] = len(both)
    means["avg"] = (means["v2t"] + means["t2v"]) / 2
    drawn["avg"] = (drawn["v2t"] + drawn["t2v"]) / 2
    for column, metric in enumerate(("mAP", "nDCG")):
        for direction in (*DIRECTIONS, "avg"):
            key = f"{metric}/{direction}"
            found[key] = float(means[direction][column])
            found[f"{key}/low"], found[f"{key}/high"] = interval(drawn[direction][:, column])
    return found


def groups_of_parts(videos: Sequence[str], texts: Sequence[str]) -> dict[str, Group]:
    """Queries whose cluster is `head`, `medium` or `tail`, from the part of each query."""
    return {
        part: Group(*(np.array([own == part for own in of]) for of in (videos, texts)))
        for part in PARTS
    }


def groups_of_names(
    videos: Sequence[Collection[str]], texts: Sequence[Collection[str]]
) -> dict[str, Group]:
    """A group for each name, and `neither` for queries that have none; {} where none has any.

    Args:
        videos, texts: the names of the groups of each clip and of each sentence.
    """
    names = sorted({name for of in (videos, texts) for own in of for name in own})
    if not names:
        return {}
    found = {
        name: Group(*(np.array([name in own for own in of]) for of in (videos, texts)))
        for name in names
    }
    found["neither"] = Group(*(np.array([not own for own in of]) for of in (videos, texts)))
    return found


def table(found: Metrics) -> str:
    """The metrics in percent as lines of text, with the intervals of the averages."""
    heads = [f"{metric} {d}" for metric in ("mAP", "nDCG") for d in (*DIRECTIONS, "avg")]
    lines = [f"{'queries':<12}{'v2t':>7}{'t2v':>7}" + "".join(f"{head:>10}" for head in heads)]
    for name, metrics in found.items():
        counts = f"{metrics['queries/v2t']:>7.0f}{metrics['queries/t2v']:>7.0f}"
        values = "".join(f"{100 * metrics[head.replace(' ', '/')]:>10.2f}" for head in heads)
        lines.append(f"{name.replace('_', ' '):<12}{counts}{values}")
    for metric in ("mAP", "nDCG"):
        low, high = (100 * found["all"][f"{metric}/avg/{end}"] for end in ("low", "high"))
        lines.append(f"95 % interval of {metric} avg, all queries: {low:.2f} to {high:.2f}")
    return "\n".join(lines)
