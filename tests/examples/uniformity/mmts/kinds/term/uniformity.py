"""Uniformity of the rows on the sphere (Wang & Isola 2020, arXiv 2005.10242)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.kinds import Above0
from mmts.kinds.term import TermKind

if TYPE_CHECKING:
    from torch import Tensor

    from mmts.towers.model import Model
    from mmts.training.tau_and_loss import LossInput, Term


def uniformity(rows: Tensor, t: float) -> Tensor:
    """Return `log mean_{i != j} exp(-t |x_i - x_j|^2)` of unit rows [N, D], a scalar."""
    import torch

    squared = torch.pdist(rows.float()).square()
    return (-t * squared).logsumexp(0) - torch.tensor(float(len(squared))).log()


class Kind(TermKind):
    """The mean uniformity of both sides."""

    kind: Literal["uniformity"]
    label = "uniformity"
    t: Above0 = 2.0

    def build(self, model: Model) -> Term:
        """Return a function of what the losses see."""

        def term(given: LossInput) -> Tensor:
            vision, text, _ = given.encoded
            return (uniformity(vision, self.t) + uniformity(text, self.t)) / 2

        return term
