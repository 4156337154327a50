"""InfoNCE with a temperature for each sample (Eq. 10-12, arXiv 2603.08202)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmts.losses import _formed
from mmts.losses._check import Tau, both_directions, check_pairs, sum_type
from mmts.losses._formed import Formed, Wanted
from mmts.losses._similarity import MASKED, other_positives, similarities
from mmts.losses.ranks import Ranks

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

DENSE = 256  # up to so many pairs the N x N form is faster: 0.45 against 0.52 ms at N = 64


def info_nce(
    vision: Tensor,
    text: Tensor,
    tau: Tau,
    *,
    index: Tensor | None = None,
    positives: Tensor | None = None,
    group: ProcessGroup | None = None,
    block_rows: int | None = None,
) -> Tensor:
    """Mean of the two InfoNCE losses, vision to text and text to vision (Eq. 10-12).

    In both directions the temperature is that of the anchor: row i of either similarity matrix is
    divided by tau_i. Beyond small batches the gradient is formed with the value, a block of rows
    at a time, so that the extra memory is O(block x N + N x D); that form cannot be differentiated
    twice.

    Args:
        vision, text: [n, D] unit rows; row i of one belongs to row i of the other.
        tau: temperature, a number, [n], or a pair of these for v2t and t2v; may carry a gradient.
        index: [n] sample ids; not used here, part of every objective's signature.
        positives: [n, N] bool, vision by text; pairs that are true beside the pair itself count
            neither as positives nor as negatives. N = n without a group.
        group: process group over whose ranks the batch of N pairs is spread, see
            `mmts.losses.ranks`; each rank computes its own rows, and returns the global loss.
        block_rows: rows of similarities in memory at a time; None chooses, and takes a small batch
            as one N x N matrix.

    Returns:
        A scalar in the type that the similarities are summed in (float32 at least).

    Raises:
        InputError: shapes that do not fit, rows that are not unit, a tau that is not > 0 (values
            are looked at on the CPU only, and not under torch.compile).
    """
    check_pairs(vision, text)
    tau_v2t, tau_t2v = both_directions(tau, vision, "tau", "> 0")
    if block_rows is None and group is None and len(vision) <= DENSE:
        return _dense(vision, text, tau_v2t, tau_t2v, positives)
    return _blockwise(vision, text, tau_v2t, tau_t2v, positives, group, block_rows)


class InfoNCE(nn.Module):
    """`info_nce` as a module, for trainers that want one."""

    def __init__(self, *, group: ProcessGroup | None = None, block_rows: int | None = None) -> None:
        super().__init__()
        self.group, self.block_rows = group, block_rows

    def forward(
        self,
        vision: Tensor,
        text: Tensor,
        tau: Tau,
        *,
        index: Tensor | None = None,
        positives: Tensor | None = None,
    ) -> Tensor:
        """See `info_nce`."""
        return info_nce(
            vision, text, tau, index=index, positives=positives,
            group=self.group, block_rows=self.block_rows,
        )  # fmt: skip


def _dense(
    vision: Tensor, text: Tensor, tau_v2t: Tensor, tau_t2v: Tensor, positives: Tensor | None
) -> Tensor:
    """The N x N form, differentiated by autograd."""
    s, target = similarities(vision, text), torch.arange(len(vision), device=vision.device)
    ignored = other_positives(positives, vision)
    if ignored is not None:
        s = s.masked_fill(ignored, MASKED)
    v2t = F.cross_entropy(s / tau_v2t[:, None], target)
    t2v = F.cross_entropy(s.T / tau_t2v[:, None], target)
    return (v2t + t2v) / 2


def _form(
    vision: Tensor,
    text: Tensor,
    tau_v2t: Tensor,
    tau_t2v: Tensor,
    positives: Tensor | None,
    wanted: Wanted,
    block_rows: int | None,
    ranks: Ranks,
) -> Formed:
    """The loss and its gradients; the ranks communicate in here."""
    s = _Similarities(vision, text, tau_v2t, tau_t2v, positives, wanted, block_rows, ranks)
    column = s.column_statistics()
    row, gradients = s.row_statistics_and_gradients(column)
    mine = (row + column[ranks.first : ranks.first + len(row)]) - s.pair * (s.by_row + s.by_own)
    loss = ranks.add(mine.sum()) / (2 * s.everyone)
    return Formed(loss, *gradients)


class _Similarities:
    """This rank's rows of the similarity matrix, a block at a time, twice.

    n own rows, N texts of all ranks; `by_row` and `by_column` are 1 / tau of the row's anchor
    (v2t) and of the column's (t2v).
    """

    def __init__(
        self,
        vision: Tensor,
        text: Tensor,
        tau_v2t: Tensor,
        tau_t2v: Tensor,
        positives: Tensor | None,
        wanted: Wanted,
        block_rows: int | None,
        ranks: Ranks,
    ) -> None:
        self.ranks, self.positives, self.wanted = ranks, positives, wanted
        self.vision = _formed.summable(vision)
        self.text = _formed.summable(ranks.gather(text))
        self.own, self.everyone = len(vision), len(self.text)
        self.by_row, self.by_own = tau_v2t.reciprocal(), tau_t2v.reciprocal()
        self.by_column = ranks.gather(self.by_own)
        self.rows = _formed.rows_of_a_block(block_rows, self.own, self.everyone, vision.device)
        self.pair = self.new(self.own)  # s_ii of the own rows
        self.buffers = [self.new(self.rows, self.everyone) for _ in range(3 if wanted.tau else 2)]

    def new(self, *shape: int) -> Tensor:
        """An empty tensor in the type of the sums."""
        return torch.empty(shape, dtype=sum_type(self.vision), device=self.vision.device)

    def block(self, a: int, b: int) -> Tensor:
        """Similarities of the rows a to b, [b - a, N], in the first buffer."""
        s = _formed.multiply(self.vision[a:b], self.text.T, out=self.buffers[0][: b - a])
        pairs = s[:, self.ranks.first + a : self.ranks.first + b].diagonal()
        self.pair[a:b] = pairs
        if self.positives is not None:
            s.masked_fill_(self.positives[a:b], MASKED)
            pairs.copy_(self.pair[a:b])
        return s

    def column_statistics(self) -> Tensor:
        """log sum_i exp(s_ij / tau_j) over the rows of all ranks, [N], with a running maximum."""
        top = self.new(self.everyone).fill_(-torch.inf)
        total = torch.zeros_like(top)
        for a, b in _formed.blocks(self.own, self.rows):
            logits = torch.mul(self.block(a, b), self.by_column, out=self.buffers[1][: b - a])
            new = torch.maximum(top, logits.amax(0))
            total.mul_(top.sub_(new).exp_())
            total.add_(logits.sub_(new).exp_().sum(0))
            top = new
        highest = self.ranks.largest(top.clone())
        self.ranks.add(total.mul_(top.sub_(highest).exp_()))
        return highest.add_(total.log_())

    def row_statistics_and_gradients(self, column: Tensor) -> tuple[Tensor, list[Tensor]]:
        """log sum_j exp(s_ij / tau_i), [n], and the four gradients.

        With P and Q the softmax over a row and over a column, the gradient with regard to s_ij is
        (P_ij / tau_i + Q_ij / tau_j - 2 at i = j, times 1 / tau_i) / 2N.
        """
        row = self.new(self.own)
        d_vision, d_text = self.new(0), self.new(0)
        in_row, in_column = self.new(0), self.new(0)
        if any(self.wanted):
            d_vision = self.new(*self.vision.shape)
            d_text = self.new(*self.text.shape).zero_()
        if self.wanted.tau:  # sum_j P_ij s_ij and sum_i Q_ij s_ij / tau_j
            in_row, in_column = self.new(self.own), self.new(self.everyone).zero_()
        scaled_column = column - self.by_column.log()  # makes q = Q_ij / tau_j
        kept = self.rows == self.own  # a single block is still in its buffer
        for a, b in _formed.blocks(self.own, self.rows):
            s = self.buffers[0] if kept else self.block(a, b)
            p = torch.mul(s, self.by_row[a:b, None], out=self.buffers[1][: b - a])
            top = p.amax(1, keepdim=True)
            total = p.sub_(top).exp_().sum(1, keepdim=True)
            row[a:b] = (top + total.log()).squeeze(1)
            if not any(self.wanted):
                continue
            over_row = self.by_row[a:b, None] / total
            if self.wanted.tau:
                third = self.buffers[2][: b - a]
                in_row[a:b] = torch.mul(p, s, out=third).sum(1).div_(total.squeeze(1))
                q = torch.mul(s, self.by_column, out=third).sub_(scaled_column).exp_()
                in_column.add_(s.mul_(q).sum(0))
            else:
                q = s.mul_(self.by_column).sub_(scaled_column).exp_()
            g = q.addcmul_(p, over_row)
            first = self.ranks.first
            g[:, first + a : first + b].diagonal().sub_(self.by_row[a:b] + self.by_own[a:b])
            _formed.multiply(g, self.text, out=d_vision[a:b])
            _formed.add_product(d_text, g.T, self.vision[a:b])
        return row, self._scaled(d_vision, d_text, in_row, in_column)

    def _scaled(
        self, d_vision: Tensor, d_text: Tensor, in_row: Tensor, in_column: Tensor
    ) -> list[Tensor]:
        """The gradients of the mean, times the number of ranks; those of other ranks added up."""
        scale = self.ranks.size / (2 * self.everyone)
        if not any(self.wanted):
            return [d_vision, d_text, in_row, in_column]
        gradients = [d_vision.mul_(scale), self.ranks.own(d_text).mul_(scale), in_row, in_column]
        if self.wanted.tau:  # d(1/tau) = - d tau / tau^2
            v2t = (self.pair - in_row) * self.by_row.square()
            t2v = (self.pair - self.ranks.own(in_column) / self.by_own) * self.by_own.square()
            gradients[2:] = [v2t.mul_(scale), t2v.mul_(scale)]
        return gradients


_blockwise = _formed.FormedLoss("info_nce", _form)
