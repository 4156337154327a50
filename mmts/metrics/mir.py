"""Multi-instance retrieval: mAP and nDCG over graded relevancy, in both directions.

Both are those of the EPIC-KITCHENS-100 challenge (arXiv 2006.13256). A row of the similarities is a
video (a query of v2t), a column a sentence (a query of t2v).

Items of equal similarity are ranked by rising relevancy, the least relevant first, whatever their
order in the input. Among the orders of equal items this gives the lowest nDCG. For mAP the items
of relevancy 1 come last among their equals, as in `mmts.metrics.recall`; that can only lower the
precision of binary relevancy, but with graded items before a one it is not always the minimum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmts.errors import InputError
from mmts.metrics.relevancy import relevancy
from mmts.metrics.scores import MatrixScores, Scores, as_numpy

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Ids",
    "PerQuery",
    "Values",
    "mean_average_precision",
    "means",
    "ndcg",
    "per_query",
    "query_values",
    "relevancy",
]

Array = NDArray[Any]
Floats = NDArray[np.float64]
BLOCK = 64  # queries whose scores are copied at a time
SHAPES = (
    "similarity is {} and relevancy {}; both must be [V, T], a row a video and a column a "
    "sentence, at least one of each"
)


class PerQuery(NamedTuple):
    """One value a query: v2t is [V], by row of the similarities, t2v is [T], by column."""

    v2t: Floats
    t2v: Floats


class Ids(NamedTuple):
    """Names of the queries: v2t are the V clips, t2v the T sentences."""

    v2t: Sequence[str]
    t2v: Sequence[str]


class Values(NamedTuple):
    """Average precision and nDCG of every query."""

    average_precision: PerQuery
    ndcg: PerQuery


def mean_average_precision(
    similarity: Array | Tensor | Scores, relevancy: Array | Tensor
) -> dict[str, float]:
    """Multi-instance mAP, which sums graded relevancy (EPIC-KITCHENS-100, arXiv 2006.13256).

    Of a query: its items by falling similarity; at each rank that holds an item of relevancy
    exactly 1, the sum of the relevancy down to that rank over the rank; the mean over these ranks.
    Then the mean over queries. Binary average precision, which counts only the ones, is another
    number, never a higher one.

    Args:
        similarity: [V, T], the score of each video with each sentence; or scores of another kind,
            `mmts.metrics.scores`.
        relevancy: [V, T] in [0, 1].

    Returns:
        `v2t`, `t2v` and `avg`, the mean of the two; fractions in [0, 1].

    Raises:
        InputError: shapes that do not fit, a score that is not finite, a relevancy outside [0, 1],
            a query without an item of relevancy 1.
    """
    return means(
        _all_have(_values(similarity, relevancy, [_average_precision])[0], "of relevancy 1")
    )


def ndcg(similarity: Array | Tensor | Scores, relevancy: Array | Tensor) -> dict[str, float]:
    """Normalised discounted cumulative gain, cut per query (EPIC-KITCHENS-100, arXiv 2006.13256).

    Of a query with k items of relevancy above 0: the sum of relevancy / log2(rank + 1) over its
    first k ranks, divided by the highest sum that any order of its items gives. Then the mean over
    queries. Arguments, result and errors as in `mean_average_precision`, but an item of relevancy
    above 0 is all that a query needs.
    """
    return means(_all_have(_values(similarity, relevancy, [_ndcg])[0], "of relevancy above 0"))


def per_query(similarity: Array | Tensor | Scores, relevancy: Array | Tensor) -> Values:
    """Average precision and nDCG of every query, both from one sort; `means` averages them.

    Arguments and errors as in `mean_average_precision`. The values of a direction are what
    `mmts.metrics.bootstrap.resampled_shares` resamples in the place of hits.
    """
    found = Values(*_values(similarity, relevancy, [_average_precision, _ndcg]))
    _all_have(found.average_precision, "of relevancy 1")
    return found


def query_values(similarity: Array | Tensor | Scores, relevancy: Floats, ids: Ids) -> Values:
    """Average precision and nDCG of every query, as `per_query`.

    Args:
        similarity: [V, T].
        relevancy: [V, T] in [0, 1].
        ids: what an error calls a query without an item of relevancy 1.

    Raises:
        InputError: as `mean_average_precision`.
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


def means(values: PerQuery) -> dict[str, float]:
    """The mean over the queries of each direction, and `avg`, the mean of both directions."""
    v2t, t2v = float(values.v2t.mean()), float(values.t2v.mean())
    return {"v2t": v2t, "t2v": t2v, "avg": (v2t + t2v) / 2}


class _Query(NamedTuple):
    """One query: its items by `far`, which is the negative score, so that the best come first.

    Only the items of relevancy above 0 are put in order one by one: the rank of one is its place
    among them plus the number of the others that score at least as high.
    """

    gain: Floats  # relevancy of the items above 0, best score first
    far: Array  # of the same items
    others: Array  # far of the items of relevancy 0, rising


Metric = Callable[[_Query, Floats], float]


def _values(
    similarity: Array | Tensor | Scores, relevancy: Array | Tensor, metrics: Sequence[Metric]
) -> list[PerQuery]:
    """Each metric of every query, NaN where a query has nothing relevant."""
    gains = as_numpy(relevancy)
    if not isinstance(similarity, Scores):
        similarity = _matrix(similarity, gains)
    if (similarity.items, similarity.captions) != gains.shape:
        raise InputError(SHAPES.format((similarity.items, similarity.captions), gains.shape))
    if gains.dtype.kind not in "fiub":
        raise InputError(f"relevancy is {gains.dtype}; it must hold real numbers")
    v2t = np.empty((len(metrics), similarity.items))
    t2v = np.empty((len(metrics), similarity.captions))
    discount = 1 / np.log2(np.arange(max(gains.shape)) + 2.0)
    for values, scores, relevant in (
        (v2t, similarity.v2t, gains),
        (t2v, similarity.t2v, gains.T),
    ):
        for start in range(0, len(relevant), BLOCK):
            part = slice(start, start + BLOCK)
            own, gain = _rows(scores(part)), _rows(relevant[part])
            if values is v2t:  # which reads every entry once
                _check_block(gain, start)
            for row, query in enumerate(map(_query, -own, gain), start):
                values[:, row] = [metric(query, discount) for metric in metrics]
    return [PerQuery(*pair) for pair in zip(v2t, t2v, strict=True)]


def _matrix(similarity: Array | Tensor, gains: Array) -> MatrixScores:
    found = as_numpy(similarity)
    if found.ndim != 2 or found.shape != gains.shape or not found.size:
        raise InputError(SHAPES.format(found.shape, gains.shape))
    return MatrixScores(found)


def _rows(block: Array) -> Array:
    """A copy of a block of rows, in float32 where that holds them exactly, else in float64."""
    small = block.dtype.kind == "f" and block.itemsize <= 4
    copy = block.astype(np.float32 if small else np.float64, order="K")
    return np.ascontiguousarray(copy)  # in two steps, since a copy that transposes is slow


def _query(far: Array, gains: Array) -> _Query:
    relevant = gains > 0
    own, gain, others = far.compress(relevant), gains.compress(relevant), far.compress(~relevant)
    order = own.argsort()
    near = own.take(order)
    if (near[1:] == near[:-1]).any():
        order = np.lexsort((gain, own))
        near = own.take(order)
    others.sort()
    return _Query(gain.take(order).astype(np.float64, copy=False), near, others)


def _average_precision(query: _Query, _: Floats) -> float:
    ones = (query.gain == 1).nonzero()[0]
    if not len(ones):
        return np.nan
    rank = 1 + ones + query.others.searchsorted(query.far.take(ones), side="right")
    return float((query.gain.cumsum().take(ones) / rank).sum() / len(ones))


def _ndcg(query: _Query, discount: Floats) -> float:
    cut = len(query.gain)
    if not cut:
        return np.nan
    near, others = query.far, query.others[:cut]
    if len(others) == cut:  # behind so many others, nothing is within the cut
        near = near[: near.searchsorted(others[-1])]
    rank = np.arange(1, len(near) + 1) + others.searchsorted(near, side="right")
    within = int(rank.searchsorted(cut, side="right"))
    gained = query.gain[:within] @ discount.take(rank[:within] - 1)
    ideal = np.sort(query.gain)[::-1] @ discount[:cut]
    return min(float(gained / ideal), 1.0)  # rounding may pass 1


def _check_block(gains: Floats, start: int) -> None:
    if not (gains.min() >= 0 and gains.max() <= 1):
        row, column = np.argwhere(~((gains >= 0) & (gains <= 1)))[0]
        raise InputError(
            f"relevancy[{start + row}, {column}] is {gains[row, column]}; it must be within 0..1"
        )


def _all_have(values: PerQuery, what: str) -> PerQuery:
    for direction, found in values._asdict().items():
        if np.isnan(found).any():
            where = f"{'row' if direction == 'v2t' else 'column'} {int(np.isnan(found).argmax())}"
            raise InputError(
                f"{direction} query {where} of relevancy has no item {what}; "
                "drop the query or correct its classes"
            )
    return values
