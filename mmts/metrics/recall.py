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
from mmts.metrics.scores import BLOCK, ProductScores, Scores, as_numpy

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[Any]
KS = (1, 5, 10)
"""The cut-offs of rsum."""


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
    """Return the sum of R@1, R@5 and R@10 both ways in percent points, 0 to 600.

    Args:
        recalls: of `retrieval_recall`; those at other cut-offs do not count.

    Raises:
        InputError: one of the six is not there.
    """
    keys = [f"{direction}/R@{k}" for direction in Ranks._fields for k in KS]
    missing = [key for key in keys if key not in recalls]
    if missing:
        raise InputError(
            f"rsum is the sum of {', '.join(keys)}, but {missing[0]} is not among the recalls; "
            "compute it too"
        )
    return 100 * sum(recalls[key] for key in keys)


def retrieval_ranks(
    vision: Array | Tensor, text: Array | Tensor, text_owner: Array | Tensor | Sequence[int]
) -> Ranks:
    """Rank of the best right answer of every query; arguments as in `retrieval_recall`."""
    return ranks_of(ProductScores(vision, text), text_owner)


def ranks_of(scores: Scores, text_owner: Array | Tensor | Sequence[int]) -> Ranks:
    """Rank of the best right answer of every query, by scores of any kind.

    Args:
        scores: of V media items and T captions.
        text_owner: [T], the media item that caption j describes.

    Raises:
        InputError: an owner out of range, an item without caption.
    """
    owner = _checked(text_owner, scores)
    t2v = np.empty(scores.captions, dtype=np.int64)
    for start in range(0, scores.captions, BLOCK):
        part = slice(start, start + BLOCK)
        block = scores.t2v(part)
        own = owner[part]
        right = block[np.arange(len(own)), own]
        t2v[part] = (block >= right[:, None]).sum(axis=1)  # counts the right answer itself: rank 1
    v2t = np.empty(scores.items, dtype=np.int64)
    for start in range(0, scores.items, BLOCK):
        part = slice(start, start + BLOCK)
        block = scores.v2t(part)
        mine = owner[None, :] == np.arange(start, start + len(block))[:, None]
        best = np.where(mine, block, -np.inf).max(axis=1)
        v2t[part] = 1 + ((block >= best[:, None]) & ~mine).sum(axis=1)
    return Ranks(t2v, v2t)


def recall_at(ranks: Ranks, ks: Sequence[int] = KS) -> dict[str, float]:
    """Share of queries whose rank is k or better, by direction and k."""
    return {
        f"{direction}/R@{k}": float((found <= k).mean())
        for direction, found in ranks._asdict().items()
        for k in ks
    }


def _checked(text_owner: Any, scores: Scores) -> NDArray[np.int64]:
    owner = as_numpy(text_owner)
    if owner.shape != (scores.captions,):
        raise InputError(
            f"text_owner has shape {owner.shape}; it must be [{scores.captions}], one a caption"
        )
    if not np.issubdtype(owner.dtype, np.integer):
        raise InputError(f"text_owner is {owner.dtype}; it must hold whole numbers")
    out = (owner < 0) | (owner >= scores.items)
    if out.any():
        row = int(out.argmax())
        raise InputError(
            f"text_owner[{row}] is {owner[row]}; it must be a row of vision, 0..{scores.items - 1}"
        )
    alone = np.bincount(owner, minlength=scores.items) == 0
    if alone.any():
        raise InputError(f"vision row {int(alone.argmax())} has no caption; drop it or add one")
    return owner.astype(np.int64)
