"""The N x N matrix of similarities, for the objectives that need all of it at once."""

from __future__ import annotations

import torch
from torch import Tensor

from mmts.losses._check import check_positives, sum_type

MASKED = -1e30  # a score whose share is exactly 0; finite, so that tau's gradient is no NaN


def similarities(left: Tensor, right: Tensor) -> Tensor:
    """`left @ right.T`, [N, N], summed in float32 at least, under autocast too."""
    wide = sum_type(left)
    with torch.autocast(left.device.type, enabled=False):
        return left.to(wide) @ right.to(wide).T


def other_positives(positives: Tensor | None, vision: Tensor) -> Tensor | None:
    """Pairs off the diagonal that are no negatives, vision by text: [N, N] bool, or None."""
    n = len(vision)
    check_positives(positives, (n, n))
    if positives is None:
        return None
    return positives & ~torch.eye(n, dtype=torch.bool, device=positives.device)
