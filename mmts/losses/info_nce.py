"""InfoNCE with a temperature for each sample (Eq. 10-12, arXiv 2603.08202)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmts.losses import _formed
from mmts.losses._check import Tau, both_directions, check_pairs, check_positives, sum_type
from mmts.losses._formed import Formed, Wanted
from mmts.losses._index import Index
from mmts.losses._similarity import MASKED, other_positives, similarities
from mmts.losses._smoothing import above_mean, above_mean_of_ranks, check_smoothing
from mmts.losses.ranks import Ranks, add_with_gradient

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

DENSE = 256  # up to so many pairs the N x N form is faster: 0.45 against 0.52 ms at N = 64


def info_nce(
    vision: Tensor,
    text: Tensor,
    tau: Tau,
    *,
    index: Index | None = None,
    positives: Tensor | None = None,
    group: ProcessGroup | None = None,
    block_rows: int | None = None,
    label_smoothing: float = 0.0,
    anchors_only: bool = False,
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
        label_smoothing: share of the target that goes to all pairs of the anchor's softmax alike,
            as in `torch.nn.functional.cross_entropy`.
        anchors_only: whether the rows that an anchor is compared with get no gradient, as in the
            training of VAST (arXiv 2305.18500); takes n x N similarities at once.

    Returns:
        A scalar in the type that the similarities are summed in (float32 at least).

    Raises:
        InputError: shapes that do not fit, rows that are not unit, a tau that is not > 0 (values
            are looked at on the CPU only, and not under torch.compile), a label_smoothing outside
            of [0, 1).
    """
    check_pairs(vision, text, alone=group is None)
    tau_v2t, tau_t2v = both_directions(tau, vision, "tau", "> 0")
    check_smoothing(label_smoothing)
    if anchors_only:
        of_anchors = _of_anchors if group is None else _of_anchors_of_ranks
        return of_anchors(vision, text, tau_v2t, tau_t2v, positives, group, label_smoothing)
    if block_rows is None and group is None and len(vision) <= DENSE:
        loss = _dense(vision, text, tau_v2t, tau_t2v, positives)
    else:
        loss = _blockwise(vision, text, tau_v2t, tau_t2v, positives, group, block_rows)
    if label_smoothing:
        more = above_mean if group is None else above_mean_of_ranks
        loss = loss + label_smoothing * more(vision, text, tau_v2t, tau_t2v, positives, group)
    return loss


class InfoNCE(nn.Module):
    """`info_nce` as a module, for trainers that want one."""

    def __init__(
        self, *, group: ProcessGroup | None = None, block_rows: int | None = None,
        label_smoothing: float = 0.0, anchors_only: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.group, self.block_rows = group, block_rows
        self.label_smoothing, self.anchors_only = label_smoothing, anchors_only

    def forward(
        self,
        vision: Tensor,
        text: Tensor,
        tau: Tau,
        *,
        index: Index | None = None,
        positives: Tensor | None = None,
    ) -> Tensor:
        """See `info_nce`."""
        return info_nce(
            vision, text, tau, index=index, positives=positives,
            group=self.group, block_rows=self.block_rows,
            label_smoothing=self.label_smoothing, anchors_only=self.anchors_only,
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


def _of_anchors(
    vision: Tensor, text: Tensor, tau_v2t: Tensor, tau_t2v: Tensor, positives: Tensor | None,
    group: ProcessGroup | None, label_smoothing: float,
) -> Tensor:  # fmt: skip
    """The n x N form of each direction, where the other side is a constant."""
    ranks, own = Ranks.of(group, vision), len(vision)
    everyone = ranks.size * own
    mine = slice(ranks.first, ranks.first + own)
    target = torch.arange(everyone, device=vision.device)[mine]
    whole = None
    if positives is not None:
        check_positives(positives, (own, everyone))
        whole = ranks.gather(positives.to(torch.uint8)).bool().fill_diagonal_(False)
    total = torch.zeros((), dtype=sum_type(vision), device=vision.device)
    for anchor, other, tau, of_anchor in (
        (vision, text, tau_v2t, None if whole is None else whole[mine]),
        (text, vision, tau_t2v, None if whole is None else whole.T[mine]),
    ):
        s = similarities(anchor, ranks.gather(other.detach()))
        pair, sums = s[:, mine].diagonal(), s.sum(1)
        counted: Tensor | int = everyone
        if of_anchor is not None:
            sums = s.masked_fill(of_anchor, 0.0).sum(1)
            counted = everyone - of_anchor.sum(1)
            s = s.masked_fill(of_anchor, MASKED)
        total = total + F.cross_entropy(s / tau[:, None], target, reduction="sum")
        total = total + label_smoothing * ((pair - sums / counted) / tau).sum()
    return add_with_gradient(total, group) / (2 * everyone)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _of_anchors_of_ranks(*arguments: Any) -> Tensor:
    return _of_anchors(*arguments)


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
    column = s.column_sums()
    row, gradients = s.row_losses_and_gradients(column)
    mine = slice(ranks.first, ranks.first + s.own)
    own_column = column.total[mine].log() + (column.top[mine] - s.pair) * s.by_own
    loss = ranks.add((row + own_column).sum()) / (2 * s.everyone)
    return Formed(loss, *gradients)


class _Columns(NamedTuple):
    """Of each of the N columns: its highest similarity, and sums of exp((s_ij - top_j) / tau_j).

    `total` is over all rows, `negatives` leaves the pair itself out: near a perfect fit
    1 - Q_jj = negatives / total is far below what the rounding of Q_jj would leave of it.
    """

    top: Tensor
    total: Tensor
    negatives: Tensor


class _Similarities:
    """This rank's rows of the similarity matrix, a block at a time, twice.

    n own rows, N texts of all ranks; `by_row` and `by_column` are 1 / tau of the row's anchor
    (v2t) and of the column's (t2v). Exponents are differences of similarities times 1 / tau: that
    of s_ij / tau would cost the digits of s_ij / tau.
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

    def pairs(self, block: Tensor, a: int, b: int) -> Tensor:
        """The entries of the rows' own columns in a block of the rows a to b, a view."""
        return block[:, self.ranks.first + a : self.ranks.first + b].diagonal()

    def block(self, a: int, b: int) -> Tensor:
        """Similarities of the rows a to b, [b - a, N], in the first buffer."""
        s = _formed.multiply(self.vision[a:b], self.text.T, out=self.buffers[0][: b - a])
        self.pair[a:b] = self.pairs(s, a, b)
        if self.positives is not None:
            s.masked_fill_(self.positives[a:b], MASKED)
            self.pairs(s, a, b).copy_(self.pair[a:b])
        return s

    def column_sums(self) -> _Columns:
        """Over the rows of all ranks, with a running maximum."""
        top = self.new(self.everyone).fill_(-torch.inf)
        negatives = torch.zeros_like(top)
        for a, b in _formed.blocks(self.own, self.rows):
            s = self.block(a, b)
            new = torch.maximum(top, s.amax(0))
            negatives.mul_(top.sub_(new).mul_(self.by_column).exp_())
            q = torch.sub(s, new, out=self.buffers[1][: b - a]).mul_(self.by_column).exp_()
            self.pairs(q, a, b).zero_()
            negatives.add_(q.sum(0))
            top = new
        highest = self.ranks.largest(top.clone())
        self.ranks.add(negatives.mul_(top.sub_(highest).mul_(self.by_column).exp_()))
        pair = self.ranks.gather(self.pair)
        total = negatives + (pair - highest).mul_(self.by_column).exp_()
        return _Columns(highest, total, negatives)

    def row_losses_and_gradients(self, column: _Columns) -> tuple[Tensor, list[Tensor]]:
        """log sum_j exp((s_ij - s_ii) / tau_i), [n], and the four gradients.

        With P and Q the softmax over a row and over a column, the gradient of the loss with regard
        to s_ij is ((P_ij - 1_ij) / tau_i + (Q_ij - 1_ij) / tau_j) / 2N.
        """
        row = self.new(self.own)
        d_vision, d_text, in_row, in_column = (self.new(0) for _ in range(4))
        if any(self.wanted):
            d_vision = self.new(*self.vision.shape)
            d_text = self.new(*self.text.shape).zero_()
        if self.wanted.tau:  # sum_j (P_ij - 1_ij) s_ij and the same over a column
            in_row, in_column = self.new(self.own), self.new(self.everyone).zero_()
        over_column = self.by_column / column.total
        mine = column.negatives[self.ranks.first : self.ranks.first + self.own]
        kept = self.rows == self.own  # a single block is still in its buffer
        for a, b in _formed.blocks(self.own, self.rows):
            s = self.buffers[0] if kept else self.block(a, b)
            by_row, top = self.by_row[a:b, None], s.amax(1, keepdim=True)
            p = torch.sub(s, top, out=self.buffers[1][: b - a]).mul_(by_row).exp_()
            of_pair = self.pairs(p, a, b).clone()
            self.pairs(p, a, b).zero_()
            negatives = p.sum(1)
            total = negatives + of_pair
            row[a:b] = total.log() + (top.squeeze(1) - self.pair[a:b]) * self.by_row[a:b]
            if not any(self.wanted):
                continue
            self.pairs(p, a, b).copy_(negatives).neg_()  # P_ii - 1 = - negatives / total
            space = self.buffers[2][: b - a] if self.wanted.tau else s
            if self.wanted.tau:
                in_row[a:b] = torch.mul(p, s, out=space).sum(1).div_(total)
            q = torch.sub(s, column.top, out=space).mul_(self.by_column).exp_()
            self.pairs(q, a, b).copy_(mine[a:b]).neg_()
            q.mul_(over_column)
            if self.wanted.tau:
                in_column.add_(s.mul_(q).sum(0))
            g = q.addcmul_(p, by_row / total[:, None])
            _formed.multiply(g, self.text, out=d_vision[a:b])
            _formed.add_product(d_text, g.T, self.vision[a:b])
        return row, self._scaled(d_vision, d_text, in_row, in_column)

    def _scaled(
        self, d_vision: Tensor, d_text: Tensor, in_row: Tensor, in_column: Tensor
    ) -> list[Tensor]:
        """The gradients of the mean, times the number of ranks; those of other ranks added up."""
        scale = self.ranks.size / (2 * self.everyone)
        if any(self.wanted):
            d_vision, d_text = d_vision.mul_(scale), self.ranks.own(d_text).mul_(scale)
        if self.wanted.tau:  # d(1/tau) = - d tau / tau^2; in_column has one 1/tau already
            in_row = in_row.mul_(self.by_row.square()).mul_(-scale)
            in_column = self.ranks.own(in_column).mul_(self.by_own).mul_(-scale)
        return [d_vision, d_text, in_row, in_column]


_blockwise = _formed.FormedLoss("info_nce", _form)
