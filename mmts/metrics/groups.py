"""Means over all queries and over groups of them, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mmts.metrics.bootstrap import interval, item_weights, resampled_shares
from mmts.metrics.longtail import PARTS
from mmts.metrics.scores import Both

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Groups = Mapping[str, Both]
"""Of each group, which queries of each direction belong to it."""
Totals = Mapping[str, tuple[Sequence[str], float]]
Metrics = dict[str, dict[str, float]]
DIRECTIONS = Both._fields
STREAMS = {"v2t": 0, "t2v": 1}  # of the draws, where those of the directions are independent


def group_metrics(
    numbers: Mapping[str, Both], groups: Groups, *, key: Callable[[str, str], str], totals: Totals,
    items: Both | None, resamples: int, seed: int,
) -> Metrics:  # fmt: skip
    """Means over the queries of each direction, and totals over both, with bootstrap intervals.

    A group restricts the queries, never what they are ranked against.

    Args:
        numbers: of each query, by metric.
        groups: by name; a group without a query in a direction is left out.
        key: (metric, direction) -> what the mean is called.
        totals: by name, the metrics that are summed over both directions, and a factor.
        items: the media item of each query. Items are drawn anew with all their queries; or with
            None the queries of each direction, independently of those of the other. What they are
            ranked against stays.
        resamples, seed: of the bootstrap.

    Returns:
        `{"all" or the group: {key: value, "<key>/low": ..., "<key>/high": ...}}`, the bounds of the
        95 % interval.
    """
    of_query = {
        d: np.stack([getattr(both, d) for both in numbers.values()], axis=1).astype(np.float64)
        for d in DIRECTIONS
    }
    if items is None:
        items = Both(*(np.arange(len(of_query[d])) for d in DIRECTIONS))
        weights = {
            d: item_weights(len(of_query[d]), resamples, (seed, STREAMS[d])) for d in DIRECTIONS
        }
    else:
        weights = dict.fromkeys(DIRECTIONS, item_weights(len(items.v2t), resamples, seed))
    everything = Both(*(np.ones(len(of_query[d]), dtype=bool) for d in DIRECTIONS))
    found: Metrics = {}
    for name, group in {"all": everything, **groups}.items():
        if not (group.t2v.any() and group.v2t.any()):
            continue
        found[name], means, drawn = {}, {}, {}
        for d in DIRECTIONS:
            chosen = np.flatnonzero(getattr(group, d))
            of_group = of_query[d][chosen]
            samples = resampled_shares(weights[d], getattr(items, d)[chosen], of_group)
            for column, metric in enumerate(numbers):
                means[metric, d], drawn[metric, d] = of_group[:, column].mean(), samples[:, column]
                found[name] |= _bounded(key(metric, d), means[metric, d], drawn[metric, d])
        for total, (metrics, factor) in totals.items():
            parts = [(metric, d) for d in DIRECTIONS for metric in metrics]
            value = factor * sum(means[part] for part in parts)
            samples = np.sum([drawn[part] for part in parts], axis=0)
            found[name] |= _bounded(total, value, factor * samples)
    return found


def _bounded(key: str, value: float, drawn: Floats) -> dict[str, float]:
    low, high = interval(drawn)
    return {key: float(value), f"{key}/low": low, f"{key}/high": high}


def groups_of_parts(texts: Sequence[str], items: Sequence[str]) -> dict[str, Both]:
    """Queries whose cluster is `head`, `medium` or `tail`, from the part of each query."""
    return {
        part: Both(*(np.array([own == part for own in of]) for of in (texts, items)))
        for part in PARTS
    }


def groups_of_names(
    texts: Sequence[Collection[str]], items: Sequence[Collection[str]]
) -> dict[str, Both]:
    """A group for each name, and `neither` for queries that have none; {} where none has any.

    Args:
        texts, items: the names of the groups of each text query, and of each media item.
    """
    names = sorted({name for of in (texts, items) for own in of for name in own})
    if not names:
        return {}
    found = {
        name: Both(*(np.array([name in own for own in of]) for of in (texts, items)))
        for name in names
    }
    found["neither"] = Both(*(np.array([not own for own in of]) for of in (texts, items)))
    return found
