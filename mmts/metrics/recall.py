"""Recall@k and ranks of text-to-vision and vision-to-text retrieval.

Several captions may describe one media item: a caption has one right answer, an item is found when
at least one of its captions is. Ties count against: an equally similar wrong answer ranks first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmts.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[Any]
KS = (1, 5, 10)
BLOCK = 1024  # queries whose similarities are in memory at a time


class Ranks(NamedTuple):
    """Rank of the best right answer, from 1: t2v is [captions], v2t is [media items]."""

    t2v: NDArray[np.int64]
    v2t: NDArray[np.int64]


def retrieval_recall(
    vision: Array | Tensor,
    text: Array | Tensor,
    text_owner: Array | Tensor | Sequence[int],
    ks: Sequence[int] = KS,
) -> dict[str, float]:
    """Recall@k both ways (the paper's IR@k is t2v, its TR@k is v2t; section 4.2).

    Args:
        vision: [V, D] features of the media items; similarity is the dot product.
        text: [T, D] features of the captions.
        text_owner: [T], the row of `vision` that caption j describes.
        ks: the cut-offs.

    Returns:
        `t2v/R@1` ... `v2t/R@10`, fractions in [0, 1].

    Raises:
        InputError: shapes that do not fit, NaN, an owner out of range, an item without caption.
    """
    return recall_at(retrieval_ranks(vision, text, text_owner), ks)


def rsum(recalls: Mapping[str, float]) -> float:
    """Return the sum of recalls in percent points: from 0 to 600 for R@1, R@5, R@10 both ways."""
    return 100 * sum(recalls.values())


def to_percent(key: str) -> float:
    """Return the factor that turns a metric into percent points.

    Recalls, mAP and nDCG are fractions, in files too; `rsum` and its bounds have percent points.
    """
    return 1.0 if "rsum" in key.split("/") else 100.0


def retrieval_ranks(
    vision: Array | Tensor, text: Array | Tensor, text_owner: Array | Tensor | Sequence[int]
) -> Ranks:
    """Rank of the best right answer of every query; arguments as in `retrieval_recall`."""
    v, t, owner = _checked(vision, text, text_owner)
    t2v = np.empty(len(t), dtype=np.int64)
    for start in range(0, len(t), BLOCK):
        part = slice(start, start + BLOCK)
        scores = t[part] @ v.T
        own = owner[part]
        right = scores[np.arange(len(own)), own]
        t2v[part] = (scores >= right[:, None]).sum(axis=1)  # counts the right answer itself: rank 1
    v2t = np.empty(len(v), dtype=np.int64)
    for start in range(0, len(v), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(v)))
        scores = v[rows] @ t.T
        mine = owner[None, :] == rows[:, None]
        best = np.where(mine, scores, -np.inf).max(axis=1)
        v2t[rows] = 1 + ((scores >= best[:, None]) & ~mine).sum(axis=1)
    return Ranks(t2v, v2t)


def recall_at(ranks: Ranks, ks: Sequence[int] = KS) -> dict[str, float]:
    """Share of queries whose rank is k or better, by direction and k."""
    return {
        f"{direction}/R@{k}": float((found <= k).mean())
        for direction, found in ranks._asdict().items()
        for k in ks
    }


def top_k(
    query: Array, answers: Array, right: NDArray[np.bool_], k: int
) -> tuple[NDArray[np.int64], Array]:
    """Rows of the k answers most similar to one query, best first, and their similarities.

    Args:
        query: [D]. answers: [A, D].
        right: [A], which answers are right; of equal ones they come last, as in the ranks.
    """
    scores = answers @ query
    order = np.lexsort((right, -scores))[:k]
    return order, scores[order]


def as_numpy(values: Any) -> Array:
    """A NumPy view or copy of an array, a tensor or a sequence."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() and values.itemsize < 4 else values
        return np.asarray(values.numpy())
    return np.asarray(values)


def _checked(vision: Any, text: Any, text_owner: Any) -> tuple[Array, Array, NDArray[np.int64]]:
    v, t, owner = as_numpy(vision), as_numpy(text), as_numpy(text_owner)
    if v.ndim != 2 or t.ndim != 2 or v.shape[1] != t.shape[1]:
        raise InputError(f"vision is {v.shape} and text {t.shape}; they must be [V, D] and [T, D]")
    if owner.shape != (len(t),):
        raise InputError(
            f"text_owner has shape {owner.shape}; it must be [{len(t)}], one a caption"
        )
    if not len(v) or not len(t):
        raise InputError(f"vision has {len(v)} rows and text {len(t)}; both need at least one")
    if not np.issubdtype(owner.dtype, np.integer):
        raise InputError(f"text_owner is {owner.dtype}; it must hold whole numbers")
    out = (owner < 0) | (owner >= len(v))
    if out.any():
        row = int(out.argmax())
        raise InputError(
            f"text_owner[{row}] is {owner[row]}; it must be a row of vision, 0..{len(v) - 1}"
        )
    for name, array in (("vision", v), ("text", t)):
        bad = ~np.isfinite(array).all(axis=1)
        if bad.any():
            raise InputError(
                f"{name} row {int(bad.argmax())} holds NaN or infinity; no rank is possible"
            )
    alone = np.bincount(owner, minlength=len(v)) == 0
    if alone.any():
        raise InputError(f"vision row {int(alone.argmax())} has no caption; drop it or add one")
    return v, t, owner.astype(np.int64)
