"""Losses whose gradient is formed together with their value, block by block.

An N x N similarity matrix never stands in memory: a block of its rows is made, used for the value
and for the gradients, and overwritten by the next one. What is kept for the backward pass are the
gradients themselves, O(N x D). Autocast casts nothing in here, as it leaves alone what is computed
into given memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from mmts.errors import InputError
from mmts.losses._check import check_positives, sum_type
from mmts.losses.ranks import Ranks

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

CPU_ROWS = 256  # a block's rows on the CPU: measured best from 128 to 512 at N = 4096
SINGLE = 512  # batches of up to so many pairs are one block
CUDA_ELEMENTS = 2**26  # of a block on CUDA: 256 MiB in float32


class Formed(NamedTuple):
    """A loss and its gradients; those that nobody asked for are empty."""

    loss: Tensor
    vision: Tensor
    text: Tensor
    tau_v2t: Tensor
    tau_t2v: Tensor


class Wanted(NamedTuple):
    """Which gradients are needed."""

    features: bool
    tau: bool

    @staticmethod
    def by(vision: Tensor, text: Tensor, tau_v2t: Tensor, tau_t2v: Tensor) -> Wanted:
        """Those of inputs that require them, where gradients are on at all."""
        if not torch.is_grad_enabled():
            return Wanted(False, False)
        return Wanted(
            vision.requires_grad or text.requires_grad,
            tau_v2t.requires_grad or tau_t2v.requires_grad,
        )


class _Attach(torch.autograd.Function):
    """The formed loss with its gradients as the backward pass."""

    @staticmethod
    def forward(ctx, loss, vision, text, tau_v2t, tau_t2v, *gradients):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(*gradients)
        ctx.types = (vision.dtype, text.dtype, tau_v2t.dtype, tau_t2v.dtype)
        return loss.clone()

    @staticmethod
    def backward(ctx, upstream):  # type: ignore[no-untyped-def]
        if torch.is_grad_enabled():  # the gradients are constants: a second one would be wrong
            raise RuntimeError(
                "the gradient of this loss has no gradient itself; drop create_graph=True"
            )
        wanted = ctx.needs_input_grad[1:5]
        gradients = [
            (gradient * upstream).to(dtype) if needed else None
            for gradient, dtype, needed in zip(ctx.saved_tensors, ctx.types, wanted, strict=True)
        ]
        return None, *gradients, None, None, None, None


Form = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor | None, Wanted, int | None, Ranks], Formed]
"""(vision, text, tau_v2t, tau_t2v, positives, wanted, block_rows, ranks) -> what was formed."""


class FormedLoss:
    """A function that forms a loss with its gradients, as a differentiable loss."""

    def __init__(self, name: str, form: Form) -> None:
        """
        Args:
            name: of the operator that torch.compile sees in place of the blocks.
            form: the function; its inputs are detached.
        """
        self._form = form

        @torch.library.custom_op(f"mmts::{name}", mutates_args=())
        def one_op(
            vision: Tensor, text: Tensor, tau_v2t: Tensor, tau_t2v: Tensor,
            positives: Tensor | None, features: bool, tau: bool, block_rows: int | None,
        ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
            wanted, ranks = Wanted(features, tau), Ranks(None, 1, 0)
            return form(vision, text, tau_v2t, tau_t2v, positives, wanted, block_rows, ranks)

        one_op.register_fake(
            lambda vision, text, v2t, t2v, positives, features, tau, rows: _empty(
                vision, features, tau
            )
        )
        self._one_op = one_op

    def __call__(
        self,
        vision: Tensor,
        text: Tensor,
        tau_v2t: Tensor,
        tau_t2v: Tensor,
        positives: Tensor | None,
        group: ProcessGroup | None,
        block_rows: int | None,
    ) -> Tensor:
        """The scalar; features [n, D], taus [n], positives [n, N]."""
        inputs = (vision, text, tau_v2t, tau_t2v)
        wanted = Wanted.by(*inputs)
        v, t, v2t, t2v = (x.detach() for x in inputs)
        if torch.compiler.is_compiling() and group is None:
            check_positives(positives, (len(vision), len(vision)))
            formed = Formed(*self._one_op(v, t, v2t, t2v, positives, *wanted, block_rows))
        else:
            formed = self._eagerly(v, t, v2t, t2v, positives, wanted, block_rows, group)
        distinct = (x.view_as(x) for x in inputs)  # torch.compile takes no tensor twice
        loss: Tensor = _Attach.apply(formed.loss, *distinct, *formed[1:])  # type: ignore[no-untyped-call]
        return loss

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _eagerly(
        self,
        vision: Tensor,
        text: Tensor,
        tau_v2t: Tensor,
        tau_t2v: Tensor,
        positives: Tensor | None,
        wanted: Wanted,
        block_rows: int | None,
        group: ProcessGroup | None,
    ) -> Formed:
        ranks = Ranks.of(group, vision, wanted)
        check_positives(positives, (len(vision), ranks.size * len(vision)))
        return self._form(vision, text, tau_v2t, tau_t2v, positives, wanted, block_rows, ranks)


def _empty(vision: Tensor, features: bool, tau: bool) -> Formed:
    """Tensors of the shapes and types that a loss over one rank forms, for torch.compile."""
    dtype = sum_type(vision)
    shape = tuple(vision.shape) if features or tau else (0,)
    rows = (vision.shape[0],) if tau else (0,)
    shapes = ((), shape, shape, rows, rows)
    return Formed(*(vision.new_empty(each, dtype=dtype) for each in shapes))


def summable(rows: Tensor) -> Tensor:
    """Rows whose products `multiply` can sum in float32: half precision stays on CUDA only."""
    return rows if rows.device.type == "cuda" else rows.to(sum_type(rows))


def multiply(left: Tensor, right: Tensor, out: Tensor) -> Tensor:
    """left @ right into `out`, summed in the type of `out`."""
    if left.dtype == out.dtype:
        return torch.mm(left, right, out=out)
    return torch.mm(left.to(right.dtype), right, out_dtype=out.dtype, out=out)


def add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, summed in the type of `total`."""
    if right.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total.add_(torch.mm(left.to(right.dtype), right, out_dtype=total.dtype))


def blocks(rows: int, size: int) -> Iterator[tuple[int, int]]:
    """Start and end of each block."""
    for start in range(0, rows, size):
        yield start, min(start + size, rows)


def rows_of_a_block(block_rows: int | None, own: int, everyone: int, device: torch.device) -> int:
    """Rows of a block of [own, everyone] similarities; the whole where that is small."""
    if block_rows is not None:
        if block_rows < 1:
            raise InputError(f"block_rows is {block_rows}; it must be at least 1, or None")
        return min(block_rows, own)
    if device.type == "cuda":
        return min(own, max(1, CUDA_ELEMENTS // everyone))
    return own if everyone <= SINGLE else min(own, CPU_ROWS)
