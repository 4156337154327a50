"""What label smoothing adds to InfoNCE, without the N x N matrix of similarities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmts.errors import InputError
from mmts.losses import _formed
from mmts.losses._check import sum_type
from mmts.losses.ranks import Ranks, add_with_gradient, gather_with_gradient

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def check_smoothing(label_smoothing: float) -> None:
    """InputError unless it is a share."""
    if not 0 <= label_smoothing < 1:
        raise InputError(
            f"label_smoothing is {label_smoothing}; it must be at least 0 and below 1, such as 0.1"
        )


def above_mean(
    vision: Tensor, text: Tensor, tau_v2t: Tensor, tau_t2v: Tensor, positives: Tensor | None,
    group: ProcessGroup | None,
) -> Tensor:  # fmt: skip
    """How far the pair lies above the mean of its anchor, (s_ii - mean_j s_ij) / tau_i.

    The mean of it over all anchors of both directions; j goes over what is in the anchor's softmax.
    Cross-entropy with label smoothing is the cross-entropy plus `label_smoothing` times this. As
    mean_j s_ij is the product of v_i and the mean text, it takes O(n x D) memory.

    Args:
        vision, text, positives, group: as for `mmts.losses.info_nce`.
        tau_v2t, tau_t2v: [n].
    """
    ranks, wide = Ranks.of(group, vision), sum_type(vision)
    vision, text = vision.to(wide), text.to(wide)
    own, everyone = len(vision), ranks.size * len(vision)
    by_row, by_column = tau_v2t.reciprocal(), tau_t2v.reciprocal()
    pair = (by_row + by_column) * (vision * text).sum(1)
    ignored: Tensor | None = None
    in_row: Tensor | int = everyone
    in_column: Tensor | int = everyone
    if positives is not None:
        column = torch.arange(everyone, device=vision.device)
        ignored = positives & (column != column[ranks.first : ranks.first + own, None])
        in_row = everyone - ignored.sum(1)
        in_column = everyone - ranks.own(ignored.sum(0))
    rows = torch.cat([text, text * (by_column / in_column)[:, None]], dim=1)
    sums = add_with_gradient(rows.sum(0), group).expand(own, -1)
    if ignored is not None:
        sums = sums - _Masked.apply(ignored, gather_with_gradient(rows, group))  # type: ignore[no-untyped-call]
    of_row, of_columns = sums.chunk(2, dim=1)
    others = (vision * (of_row * (by_row / in_row)[:, None] + of_columns)).sum(1)
    return add_with_gradient((pair - others).sum(), group) / (2 * everyone)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def above_mean_of_ranks(*arguments: Any) -> Tensor:
    """Return the same; torch.compile's graph is left for the ranks to communicate."""
    return above_mean(*arguments)


class _Masked(torch.autograd.Function):
    """mask @ rows, [n, N] bool by [N, D], with a block of the mask as numbers at a time."""

    @staticmethod
    def forward(ctx, mask, rows):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(mask)
        out = rows.new_empty(len(mask), rows.shape[1])
        for a, b in _blocks(mask):
            _formed.multiply(mask[a:b].to(rows.dtype), rows, out=out[a:b])
        return out

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        (mask,) = ctx.saved_tensors
        total = gradient.new_zeros(mask.shape[1], gradient.shape[1])
        for a, b in _blocks(mask):
            _formed.add_product(total, mask[a:b].T.to(gradient.dtype), gradient[a:b])
        return None, total


def _blocks(mask: Tensor) -> Iterator[tuple[int, int]]:
    return _formed.blocks(
        len(mask), _formed.rows_of_a_block(None, len(mask), mask.shape[1], mask.device)
    )
