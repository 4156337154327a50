"""Batches spread over the ranks of a process group: the only place of the losses that communicates.

Every rank brings the same number of pairs, n; the global batch is the N = ranks x n pairs in the
order of the ranks. Gradients are those of the global loss times the number of ranks, because
`torch.nn.parallel.DistributedDataParallel` averages over ranks what it should add up.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from mmts.errors import InputError
from mmts.losses._check import check_tensor


class Ranks(NamedTuple):
    """A process group as the losses see it; no group is one rank.

    size: number of ranks. first: where this rank's rows start in the global batch.
    """

    group: dist.ProcessGroup | None
    size: int
    first: int

    @staticmethod
    def of(group: dist.ProcessGroup | None, like: Tensor, wanted: tuple[bool, ...] = ()) -> Ranks:
        """This rank's place; InputError where the ranks bring different things.

        Args:
            like: [n, ...] rows that this rank brings.
            wanted: which gradients it wants. Shapes, types and this are compared on the CPU only;
                on CUDA ranks that differ wait for each other for ever.
        """
        if group is None:
            return Ranks(None, 1, 0)
        size, rank = dist.get_world_size(group), dist.get_rank(group)
        if rank < 0:
            raise InputError("this process is not a member of `group`")
        if like.device.type == "cpu":
            mine = (tuple(like.shape), str(like.dtype), tuple(wanted))
            every = [mine] * size
            dist.all_gather_object(every, mine, group=group)
            other = next((r for r, theirs in enumerate(every) if theirs != mine), None)
            if other is not None and every[other][:2] == mine[:2]:
                raise InputError(
                    f"rank {rank} and rank {other} want gradients of different inputs; let the "
                    "same ones require a gradient (features, tau) on all ranks"
                )
            if other is not None:
                raise InputError(
                    f"rank {rank} brings {mine[1]} rows of shape {mine[0]}, rank {other} "
                    f"{every[other][1]} of {every[other][0]}; all ranks need the same (drop the "
                    "last incomplete batch)"
                )
        return Ranks(group, size, rank * len(like))

    def gather(self, rows: Tensor) -> Tensor:
        """[n, ...] of every rank -> [N, ...]; no gradient."""
        if self.group is None:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.size)]
        dist.all_gather(parts, rows.contiguous(), group=self.group)
        return torch.cat(parts)

    def add(self, values: Tensor) -> Tensor:
        """Sum over the ranks, in place."""
        if self.group is not None:
            dist.all_reduce(values, group=self.group)
        return values

    def largest(self, values: Tensor) -> Tensor:
        """Maximum over the ranks, in place."""
        if self.group is not None:
            dist.all_reduce(values, dist.ReduceOp.MAX, group=self.group)
        return values

    def own(self, values: Tensor) -> Tensor:
        """[N, ...] of each rank, added up -> this rank's [n, ...]."""
        if self.group is None:
            return values
        parts = [part.contiguous() for part in values.chunk(self.size)]
        out = torch.empty_like(parts[0])
        dist.reduce_scatter(out, parts, group=self.group)
        return out


def gather_with_gradient(rows: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """[n, ...] of every rank -> [N, ...]; gradients of all ranks are added up on the way back.

    With it any objective sees the global batch: each rank computes the same global loss, and each
    rank's rows get their gradient times the number of ranks (see above). `info_nce` and
    `max_margin` do not need it: their `group` argument computes each row on its own rank only.
    """
    if group is None:
        return rows
    check_tensor("rows", rows)
    if rows.ndim == 0:
        raise InputError("rows is a single number; what all ranks share needs no gathering")
    gathered: Tensor = _Gather.apply(rows, Ranks.of(group, rows))  # type: ignore[no-untyped-call]
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows, ranks):  # type: ignore[no-untyped-def]
        ctx.ranks = ranks
        return ranks.gather(rows)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return ctx.ranks.own(gradient), None


def add_with_gradient(values: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """Sum over the ranks; gradients of all ranks are added up on the way back too.

    Each rank computes its share of a global loss; their sum has the value of that loss on every
    rank, and its gradient times the number of ranks (see above).
    """
    if group is None:
        return values
    total: Tensor = _Add.apply(values, Ranks.of(group, values.reshape(1, -1)))  # type: ignore[no-untyped-call]
    return total


class _Add(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, ranks):  # type: ignore[no-untyped-def]
        ctx.ranks = ranks
        return ranks.add(values.clone())

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return ctx.ranks.add(gradient.clone()), None
