"""Decoupled contrastive loss (Yeh et al. 2021, arXiv 2110.06848)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.kinds.objective import ObjectiveKind

if TYPE_CHECKING:
    from torch import Tensor

    from mmts.losses import Index, Objective, Tau


def decoupled(
    vision: Tensor, text: Tensor, tau: Tau, *,
    index: Index | None = None, positives: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """InfoNCE whose denominator leaves out the positive pair.

    Of anchor i it is log sum_(j != i) exp(s_ij / tau_i) - s_ii / tau_i, and 0 where there are no
    negatives; the mean over anchors and both directions.

    Args:
        vision, text: [N, D] unit rows; row i of one belongs to row i of the other.
        tau: of each anchor: a number, [N], or a pair (v2t, t2v) of these.
        index: not used here.
        positives: [N, N] bool, vision by text; these pairs are no negatives.
    """
    import torch

    from mmts.losses._check import both_directions, check_pairs
    from mmts.losses._similarity import MASKED, other_positives, similarities

    check_pairs(vision, text)
    taus = both_directions(tau, vision, "tau", "> 0")
    s = similarities(vision, text)
    left_out = torch.eye(len(s), dtype=torch.bool, device=s.device)
    others = other_positives(positives, vision)
    if others is not None:
        left_out = left_out | others
    negatives = s.masked_fill(left_out, MASKED)
    losses = [
        torch.where(
            without.all(dim=1),
            0.0,
            torch.logsumexp(of / tau_i[:, None], dim=1) - s.diagonal() / tau_i,
        )
        for of, without, tau_i in (
            (negatives, left_out, taus[0]),
            (negatives.T, left_out.T, taus[1]),
        )
    ]
    return torch.stack(losses).mean()


class Kind(ObjectiveKind):
    """The function above."""

    kind: Literal["decoupled"]
    label = "decoupled InfoNCE"

    def build(self, samples: int, captions: int | None) -> Objective:
        """Return the function."""
        return decoupled
