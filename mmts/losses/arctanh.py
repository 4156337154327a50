"""InfoNCE without a temperature (Kim & Kim 2025, arXiv 2501.17683)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mmts.losses._check import Tau, both_directions, check_pairs
from mmts.losses._index import Index
from mmts.losses._similarity import MASKED, other_positives, similarities


def arctanh_info_nce(
    vision: Tensor,
    text: Tensor,
    tau: Tau = 1.0,
    *,
    index: Index | None = None,
    positives: Tensor | None = None,
) -> Tensor:
    """InfoNCE with the logits `log((1 + s) / (1 - s)) = 2 arctanh(s)` (arXiv 2501.17683).

    The similarities are kept 8 rounding errors away from -1 and 1 (about 1e-6 in float32), so that
    equal rows have a finite loss and gradient.

    Args:
        vision, text: [N, D] unit rows; row i of one belongs to row i of the other.
        tau: what the logits are divided by, as in InfoNCE: a number, [N] (that of the anchor), or
            a pair (v2t, t2v) of these. 1 is the temperature-free loss of the paper.
        index: [N] sample ids; not used here, part of every objective's signature.
        positives: [N, N] bool, vision by text; pairs off the diagonal that are true count
            neither as positives nor as negatives.

    Returns:
        A scalar in the type that the similarities are summed in (float32 at least).

    Raises:
        InputError: shapes that do not fit, rows that are not unit, a tau that is not > 0.
    """
    check_pairs(vision, text)
    v2t, t2v = both_directions(tau, vision, "tau", "> 0")
    ignored = other_positives(positives, vision)
    scores = similarities(vision, text)
    bound = 1 - 8 * torch.finfo(scores.dtype).eps
    stretched = 2 * scores.clamp(-bound, bound).atanh()
    if ignored is not None:
        stretched = stretched.masked_fill(ignored, MASKED)
    target = torch.arange(len(vision), device=vision.device)
    return (
        F.cross_entropy(stretched / v2t.unsqueeze(1), target)
        + F.cross_entropy(stretched.T / t2v.unsqueeze(1), target)
    ) / 2
