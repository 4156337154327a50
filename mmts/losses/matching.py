"""Matching of pairs with hard negatives, as in ALBEF (arXiv 2107.07651) and VAST (2305.18500)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mmts.losses.ranks import Ranks, add_with_gradient

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class Negatives(NamedTuple):
    """A wrong partner of each row: its column, [n], and whether there is any, [n] bool."""

    column: Tensor
    there: Tensor


def hard_negatives(
    similarity: Tensor, tau: Tensor | float, floor: float, never: Tensor, chance: Tensor
) -> Negatives:
    """Draw a wrong partner of each row, by `softmax(similarity / tau) + floor`; no gradient.

    The softmax is that of all columns. Those of `never` are not drawn, the others in proportion.

    Args:
        similarity: [n, N], of anchors with all rows of the other side.
        tau: temperature, a number or [n].
        floor: what the most different partner gets, > 0.
        never: [n, N] bool, the pair itself and others that are no wrong partner.
        chance: [n] uniform numbers in [0, 1), which decide what is drawn.
    """
    s = similarity.detach().double()
    tau = torch.as_tensor(tau, dtype=s.dtype, device=s.device).detach()
    share = (s / tau.expand(len(s))[:, None]).softmax(1).add_(floor).masked_fill_(never, 0.0)
    below = share.cumsum(1)
    at = chance.to(below)[:, None] * below[:, -1:]
    column = torch.searchsorted(below, at, right=True).clamp_(max=s.shape[1] - 1)
    rounded = share.gather(1, column) == 0  # where a sum in another order has lost a last digit
    column = torch.where(rounded, share.argmax(1, keepdim=True), column)
    return Negatives(column[:, 0], ~never.all(1))


def matching_loss(logits: Tensor, counted: Tensor, group: ProcessGroup | None = None) -> Tensor:
    """Mean cross-entropy of a true pair and two wrong ones of each row.

    Args:
        logits: [n, 3, 2], of no and yes; those of the true pair stand first.
        counted: [n, 3] bool, the pairs that there are.
        group: process group over whose ranks the rows are spread, see `mmts.losses.ranks`; each
            brings its own and returns the mean of all.

    Returns:
        A scalar, in float32 at least.
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    true = torch.tensor([1, 0, 0], device=logits.device).repeat(len(logits))
    each = F.cross_entropy(wide.flatten(0, 1), true, reduction="none")
    pairs = Ranks.of(group, counted).add(counted.sum())
    return add_with_gradient((each * counted.flatten()).sum(), group) / pairs
