"""InfoNCE with a temperature for each sample (Eq. 10-12, arXiv 2603.08202)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mmts.losses._check import check_pairs, other_positives, per_row


def info_nce(
    vision: Tensor,
    text: Tensor,
    tau: float | Tensor,
    *,
    index: Tensor | None = None,
    positives: Tensor | None = None,
) -> Tensor:
    """Mean of the two InfoNCE losses, vision to text and text to vision (Eq. 10-12).

    In both directions the temperature is that of the anchor: row i of either similarity matrix is
    divided by tau_i.

    Args:
        vision, text: [N, D] unit rows; row i of one belongs to row i of the other.
        tau: temperature, a number or [N].
        index: [N] sample ids; not used here, part of every objective's signature.
        positives: [N, N] bool, vision by text; pairs off the diagonal that are true count
            neither as positives nor as negatives.

    Returns:
        A scalar in the type that the similarities are summed in (float32 at least).

    Raises:
        InputError: shapes that do not fit, rows that are not unit, a tau that is not > 0.
    """
    check_pairs(vision, text)
    similarity = (vision @ text.T).to(torch.promote_types(vision.dtype, torch.float32))
    by_row = per_row(tau, similarity, "tau", "> 0")
    ignored = other_positives(positives, similarity)
    target = torch.arange(len(vision), device=vision.device)
    total = similarity.new_zeros(())
    for scores, ignore in (
        (similarity, ignored),
        (similarity.T, None if ignored is None else ignored.T),
    ):
        logits = scores / by_row
        if ignore is not None:
            logits = logits.masked_fill(ignore, -torch.inf)
        total = total + F.cross_entropy(logits, target)
    return total / 2
