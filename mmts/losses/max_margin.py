"""The max-margin loss with a margin for each sample (Eq. 3, arXiv 2603.08202)."""

from __future__ import annotations

import torch
from torch import Tensor

from mmts.losses._check import check_pairs, other_positives, per_row


def max_margin(
    vision: Tensor,
    text: Tensor,
    margin: float | Tensor,
    *,
    index: Tensor | None = None,
    positives: Tensor | None = None,
) -> Tensor:
    """Mean hinge `max(0, s_ij - s_ii + margin_i)` over the 2N(N-1) ordered pairs (Eq. 3).

    In both directions the margin is that of the anchor i.

    Args:
        vision, text: [N, D] unit rows; row i of one belongs to row i of the other.
        margin: a number or [N].
        index: [N] sample ids; not used here, part of every objective's signature.
        positives: [N, N] bool, vision by text; pairs off the diagonal that are true are left out
            of the sum and of the mean.

    Returns:
        A scalar in the type that the similarities are summed in (float32 at least); 0 for N = 1.

    Raises:
        InputError: shapes that do not fit, rows that are not unit, a negative margin.
    """
    check_pairs(vision, text)
    similarity = (vision @ text.T).to(torch.promote_types(vision.dtype, torch.float32))
    by_row = per_row(margin, similarity, "margin", ">= 0")
    positive = similarity.diagonal().unsqueeze(1)
    counted = ~torch.eye(len(vision), dtype=torch.bool, device=vision.device)
    ignored = other_positives(positives, similarity)
    if ignored is not None:
        counted = counted & ~ignored
    v2t = (similarity - positive + by_row).clamp(min=0)
    t2v = (similarity.T - positive + by_row).clamp(min=0)
    total = (v2t * counted).sum() + (t2v * counted.T).sum()
    return total / (2 * counted.sum()).clamp(min=1)
