"""Which pairs of a batch are too alike to be negatives."""

from __future__ import annotations

import torch
from torch import Tensor


def relevant_pairs(classes: Tensor, threshold: float) -> Tensor | None:
    """Pairs whose relevancy is above a threshold, for an objective's `positives`.

    The relevancy of two captions is the share of class columns in which they have one class: with
    a verb and a noun, that of EPIC-KITCHENS-100's multi-instance retrieval. It is strictly above
    the threshold, as there. A pair is relevant to itself; objectives look off the diagonal only.

    Args:
        classes: [N, C] int64, the class of each caption in each column; negative for unknown,
            which is like nothing, not even like another unknown one.
        threshold: in [0, 1).

    Returns:
        [N, N] bool, or None where there are no columns.
    """
    if classes.shape[1] == 0:
        return None
    shared = torch.zeros(len(classes), len(classes), dtype=torch.int32, device=classes.device)
    for column in classes.T:
        shared += (column[:, None] == column[None]) & (column >= 0)
    above = shared > threshold * classes.shape[1]
    return above.fill_diagonal_(True)
