"""The max-margin loss with a margin for each sample (Eq. 3, arXiv 2603.08202)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmts.losses import _formed
from mmts.losses._check import Tau, both_directions, check_pairs, sum_type
from mmts.losses._formed import Formed, Wanted
from mmts.losses._index import Index
from mmts.losses.ranks import Ranks

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def max_margin(
    vision: Tensor,
    text: Tensor,
    margin: Tau,
    *,
    index: Index | None = None,
    positives: Tensor | None = None,
    group: ProcessGroup | None = None,
    block_rows: int | None = None,
) -> Tensor:
    """Mean hinge `max(0, s_ij - s_ii + margin_i)` over the 2N(N-1) ordered pairs (Eq. 3).

    In both directions the margin is that of the anchor i. The gradient is formed with the value, a
    block of rows at a time, so that the extra memory is O(block x N + N x D); it cannot be
    differentiated twice.

    Args:
        vision, text: [n, D] unit rows; row i of one belongs to row i of the other.
        margin: a number, [n], or a pair of these for v2t and t2v; may carry a gradient.
        index: [n] sample ids; not used here, part of every objective's signature.
        positives: [n, N] bool, vision by text; pairs that are true beside the pair itself are left
            out of the sum and of the mean. N = n without a group.
        group: process group over whose ranks the batch of N pairs is spread, see
            `mmts.losses.ranks`; each rank computes its own rows, and returns the global loss.
        block_rows: rows of similarities in memory at a time; None chooses, and takes a small batch
            whole.

    Returns:
        A scalar in the type that the similarities are summed in (float32 at least); 0 for N = 1.

    Raises:
        InputError: shapes that do not fit, rows that are not unit, a negative margin (values are
            looked at on the CPU only, and not under torch.compile).
    """
    check_pairs(vision, text, alone=group is None)
    v2t, t2v = both_directions(margin, vision, "margin", ">= 0")
    return _blockwise(vision, text, v2t, t2v, positives, group, block_rows)


class MaxMargin(nn.Module):
    """`max_margin` as a module, for trainers that want one."""

    def __init__(self, *, group: ProcessGroup | None = None, block_rows: int | None = None) -> None:
        super().__init__()
        self.group, self.block_rows = group, block_rows

    def forward(
        self,
        vision: Tensor,
        text: Tensor,
        margin: Tau,
        *,
        index: Index | None = None,
        positives: Tensor | None = None,
    ) -> Tensor:
        """See `max_margin`."""
        return max_margin(
            vision, text, margin, index=index, positives=positives,
            group=self.group, block_rows=self.block_rows,
        )  # fmt: skip


def _form(
    vision: Tensor,
    text: Tensor,
    margin_v2t: Tensor,
    margin_t2v: Tensor,
    positives: Tensor | None,
    wanted: Wanted,
    block_rows: int | None,
    ranks: Ranks,
) -> Formed:
    """The loss and its gradients; the ranks communicate in here.

    A hinge that bites adds 1 to the gradient of s_ij and takes 1 from that of the anchor's s_ii,
    so that the latter is minus the number of the anchor's biting hinges: no second pass is needed.
    """
    dtype, own = sum_type(vision), len(vision)

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=vision.device)

    own_text = _formed.summable(text)
    vision, text = _formed.summable(vision), ranks.gather(own_text)
    everyone = len(text)
    pair = (vision.to(dtype) * own_text.to(dtype)).sum(1)
    above_row = pair - margin_v2t  # a negative bites where its similarity lies above
    above_column = ranks.gather(pair - margin_t2v)
    rows = _formed.rows_of_a_block(block_rows, own, everyone, vision.device)
    buffers = [torch.empty(rows, everyone, dtype=dtype, device=vision.device) for _ in range(2)]
    total, ignored = zeros(own), torch.zeros((), dtype=torch.int64, device=vision.device)
    in_row, in_column = zeros(own), zeros(everyone)  # biting hinges of each anchor
    kept = any(wanted)
    d_vision, d_text = (zeros(*(x.shape if kept else (0,))) for x in (vision, text))
    for a, b in _formed.blocks(own, rows):
        s = _formed.multiply(vision[a:b], text.T, out=buffers[0][: b - a])
        pairs = s[:, ranks.first + a : ranks.first + b].diagonal()
        if positives is not None:
            s.masked_fill_(positives[a:b], -torch.inf)
            ignored += positives[a:b].sum() - positives[a:b, ranks.first + a :].diagonal().sum()
        pairs.fill_(-torch.inf)
        v2t = torch.sub(s, above_row[a:b, None], out=buffers[1][: b - a]).clamp_(min=0)
        t2v = s.sub_(above_column).clamp_(min=0)
        if not kept:
            total[a:b] = v2t.add_(t2v).sum(1)
            continue
        total[a:b] = v2t.sum(1).add_(t2v.sum(1))
        in_row[a:b] = v2t.sign_().sum(1)
        in_column += t2v.sign_().sum(0)
        g = t2v.add_(v2t)
        _formed.multiply(g, text, out=d_vision[a:b])
        _formed.add_product(d_text, g.T, vision[a:b])
    counted = 2 * (everyone * (everyone - 1) - ranks.add(ignored)).clamp(min=1).to(dtype)
    loss = ranks.add(total.sum()) / counted
    if not kept:
        return Formed(loss, d_vision, d_text, zeros(0), zeros(0))
    scale = ranks.size / counted
    t2v = ranks.own(in_column)
    both = (in_row + t2v)[:, None]
    d_vision.sub_(both * own_text).mul_(scale)
    d_text = ranks.own(d_text).sub_(both * vision).mul_(scale)
    taus = (in_row.mul_(scale), t2v.mul_(scale)) if wanted.tau else (zeros(0), zeros(0))
    return Formed(loss, d_vision, d_text, *taus)


_blockwise = _formed.FormedLoss("max_margin", _form)
