"""The sigmoid loss (SigLIP: Zhai et al. 2023, arXiv 2303.15343)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmts.errors import InputError
from mmts.losses._check import Tau, both_directions, check_pairs
from mmts.losses._index import Index
from mmts.losses._similarity import other_positives, similarities


class SigLIP(nn.Module):
    """The pairwise sigmoid loss of SigLIP (Zhai et al. 2023, Algorithm 1, arXiv 2303.15343).

    `-(1/N) sum_ij log sigmoid(z_ij (s_ij / tau + bias))` with z = 1 on the diagonal, -1 elsewhere.
    The bias is learned here, 1 / tau in the modulator (`LearnableTau`, 0.1 in the paper).

    Our extension to a tau for each sample: every pair counts half with the tau of its vision row
    and half with that of its text row. With one tau for all this is the paper's loss.
    """

    def __init__(self, bias: float = -10.0) -> None:
        """
        Args:
            bias: where the learned bias starts.
        """
        super().__init__()
        if not math.isfinite(bias):
            raise InputError(f"bias is {bias}; it must be finite")
        self.bias = nn.Parameter(torch.tensor(float(bias)))

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
            vision, text: [N, D] unit rows; row i of one belongs to row i of the other.
            tau: temperature, a number, [N], or a pair (v2t, t2v) of these.
            index: [N] sample ids; not used here, part of every objective's signature.
            positives: [N, N] bool, vision by text; pairs off the diagonal that are true are left
                out.

        Returns:
            A scalar in the type that the similarities are summed in (float32 at least).

        Raises:
            InputError: shapes that do not fit, rows that are not unit, a tau that is not > 0.
        """
        check_pairs(vision, text)
        v2t, t2v = both_directions(tau, vision, "tau", "> 0")
        ignored = other_positives(positives, vision)
        scores = similarities(vision, text)
        sign = 2 * torch.eye(len(vision), dtype=scores.dtype, device=scores.device) - 1
        total = scores.new_zeros(())
        for of_anchor in (v2t.unsqueeze(1), t2v.unsqueeze(0)):
            terms = F.logsigmoid(sign * (scores / of_anchor + self.bias))
            if ignored is not None:
                terms = terms.masked_fill(ignored, 0)
            total = total - terms.sum()
        return total / (2 * len(vision))
