"""Both losses as they are usually written: the whole N x N matrix in memory, autograd for the rest.

What `benchmarks/losses.py` compares with, and a reference with gradients for the tests.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def max_margin(vision: Tensor, text: Tensor, margin: float | Tensor) -> Tensor:
    """Eq. 3 as the released code of this field goes about it: index tensors, expanded copies.

    All 2 N^2 hinges, the diagonal's too, are computed first; then the pairs off the diagonal are
    selected and their hinges computed once more. With a margin for each sample, forward and
    backward hold 27 N^2 x 4 bytes at the peak.
    """
    n = len(vision)
    similarity = vision @ text.T
    anchor = similarity.diagonal().unsqueeze(1).expand(n, n).reshape(-1)
    anchors = torch.cat([anchor, anchor])
    flipped = similarity.T.reshape(-1)
    pairs = torch.cat([similarity.reshape(-1), flipped])
    margins: float | Tensor = margin
    if isinstance(margin, Tensor):
        rows = margin.unsqueeze(1).expand(n, n).reshape(-1)
        margins = torch.cat([rows, rows])
    hinge = F.relu(margins - (anchors - pairs))

    off_diagonal = torch.ones(n, n, device=vision.device) - torch.eye(n, device=vision.device)
    keep = torch.cat([off_diagonal.reshape(-1), off_diagonal.T.reshape(-1)]).nonzero().flatten()
    kept_anchors = anchors.index_select(0, keep)
    kept_pairs = pairs.index_select(0, keep)
    kept_margins = margins.index_select(0, keep) if isinstance(margins, Tensor) else margins
    hinge = F.relu(kept_margins - (kept_anchors - kept_pairs))
    return hinge.mean()


def dense_max_margin(vision: Tensor, text: Tensor, margin: float | Tensor) -> Tensor:
    """Eq. 3 with care but without blocks: two N x N hinges, less what stands on the diagonal."""
    n = len(vision)
    similarity = vision @ text.T
    anchor = similarity.diagonal().unsqueeze(1)
    rows = margin.unsqueeze(1) if isinstance(margin, Tensor) else margin
    hinge = F.relu(similarity - anchor + rows) + F.relu(similarity.T - anchor + rows)
    return (hinge.sum() - hinge.diagonal().sum()) / (2 * n * (n - 1))


def info_nce(vision: Tensor, text: Tensor, tau: float | Tensor) -> Tensor:
    """Eq. 10-12 with both N x N matrices of logits and two cross-entropies."""
    similarity = vision @ text.T
    rows = tau.unsqueeze(1) if isinstance(tau, Tensor) else tau
    target = torch.arange(len(vision), device=vision.device)
    v2t = F.cross_entropy(similarity / rows, target)
    t2v = F.cross_entropy(similarity.T / rows, target)
    return (v2t + t2v) / 2
