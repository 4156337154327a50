"""InfoNCE with two consistency terms (CyCLIP: Goel et al. 2022, arXiv 2205.14459)."""

from __future__ import annotations

import math

from torch import Tensor, nn

from mmts.errors import InputError
from mmts.losses._check import Tau
from mmts.losses._index import Index
from mmts.losses._similarity import similarities
from mmts.losses.info_nce import info_nce


class CyCLIP(nn.Module):
    """InfoNCE plus CyCLIP's in-modal and cross-modal consistency (Goel et al. 2022, 2205.14459).

    `inmodal * (1/N) sum_jk (v_j.v_k - t_j.t_k)^2 + crossmodal * (1/N) sum_jk (v_j.t_k - v_k.t_j)^2`
    is added to `info_nce`. Both terms hold for all pairs, whatever tau and `positives` are. The
    N x N matrices are formed: through D x D products the sums would cancel in float32.
    """

    def __init__(self, inmodal: float = 0.25, crossmodal: float = 0.25) -> None:
        """
        Args:
            inmodal, crossmodal: weights of the two terms, 0.25 in the paper; 0 leaves one out.
        """
        super().__init__()
        for name, weight in (("inmodal", inmodal), ("crossmodal", crossmodal)):
            if not (math.isfinite(weight) and weight >= 0):
                raise InputError(f"{name} is {weight}; it must be a finite number >= 0")
        self.inmodal, self.crossmodal = inmodal, crossmodal

    def forward(
        self,
        vision: Tensor,
        text: Tensor,
        tau: Tau,
        *,
        index: Index | None = None,
        positives: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch.

        Args:
            vision, text, tau, index, positives: see `mmts.losses.info_nce`.

        Returns:
            A scalar in the type that the similarities are summed in (float32 at least).

        Raises:
            InputError: shapes that do not fit, rows that are not unit, a tau that is not > 0.
        """
        loss = info_nce(vision, text, tau, index=index, positives=positives)
        if self.inmodal:
            gap = similarities(vision, vision) - similarities(text, text)
            loss = loss + self.inmodal * gap.square().sum() / len(vision)
        if self.crossmodal:
            scores = similarities(vision, text)
            gap = scores - scores.T
            loss = loss + self.crossmodal * gap.square().sum() / len(vision)
        return loss
