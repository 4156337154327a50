"""A learned temperature for each sample (iSogCLR: Qiu et al. 2023, arXiv 2305.11965)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmts.errors import InputError
from mmts.losses._index import both_indices

if TYPE_CHECKING:
    from mmts.training.batch import Batch

GRADIENT_CLIP = 5.0
"""A sample's gradient is clipped to +-5, as in the authors' image-text code; not in the paper."""


class IndividualTau(nn.Module):
    """A temperature for each media item and caption (iSogCLR's Algorithm 1, arXiv 2305.11965).

    The tables are no parameters: `loss.backward()` itself moves the rows of the batch, by
    m <- (1 - momentum) m + momentum G and tau <- clamp(tau - learning_rate m, tau_min, tau_max),
    where G = 2 N d loss / d tau_i, because an objective is the mean over N samples and two
    directions. Do not scale the loss (`GradScaler`), and call backward once a forward. The tables
    belong to one process: do not wrap the module in DistributedDataParallel, whose broadcast of
    buffers would undo the moves of all ranks but the first.
    """

    fp16 = False  # its scaled gradients would move the temperatures wrongly

    tau_v2t: Tensor
    tau_t2v: Tensor
    momentum_v2t: Tensor
    momentum_t2v: Tensor

    def __init__(
        self,
        start: Tensor | tuple[Tensor, Tensor],
        *,
        learning_rate: float = 0.01,
        momentum: float = 0.9,
        tau_min: float = 0.005,
        tau_max: float = 1.0,
    ) -> None:
        """
        Args:
            start: [samples], each sample's first tau in both directions; or a pair of these, for
                the media items (v2t) and for the captions (t2v).
            learning_rate: of the temperatures.
            momentum: weight of the new gradient in m, in (0, 1] (the paper's beta).
            tau_min, tau_max: bounds of every temperature.
        """
        super().__init__()
        if not 0 < tau_min <= tau_max < math.inf:
            raise InputError(
                f"tau_min {tau_min}, tau_max {tau_max}; 0 < tau_min <= tau_max must hold"
            )
        if not 0 < learning_rate < math.inf:
            raise InputError(f"learning_rate is {learning_rate}; it must be a finite number > 0")
        if not 0 < momentum <= 1:
            raise InputError(f"momentum is {momentum}; it must be in (0, 1]")
        starts = (start, start) if isinstance(start, Tensor) else start
        for values in starts:
            if values.ndim != 1 or not len(values):
                raise InputError(f"start has shape {tuple(values.shape)}; it must be [samples]")
            off = ~((values >= tau_min) & (values <= tau_max))
            if off.any():
                row = int(off.int().argmax())
                raise InputError(
                    f"start[{row}] is {values[row].item():.6g}; it must be in tau_min..tau_max = "
                    f"{tau_min}..{tau_max}"
                )
        self.learning_rate, self.momentum = learning_rate, momentum
        self.tau_min, self.tau_max = tau_min, tau_max
        for direction, values in zip(("v2t", "t2v"), starts, strict=True):
            table = values.detach().to(torch.float32, copy=True)
            self.register_buffer(f"tau_{direction}", table)
            self.register_buffer(f"momentum_{direction}", torch.zeros_like(table))

    def forward(
        self, step: int, batch: Batch, vision: Tensor, text: Tensor
    ) -> tuple[Tensor, Tensor]:
        """tau of each sample as anchor, (v2t, t2v), each [N] float32; a leaf while training.

        Raises:
            InputError: ids of the batch are out of range or repeated (looked at on the CPU only).
        """
        items, captions = both_indices(batch.ids, len(vision), len(self.tau_v2t), len(self.tau_t2v))
        return (
            self._rows(items, self.tau_v2t, self.momentum_v2t),
            self._rows(captions, self.tau_t2v, self.momentum_t2v),
        )

    def _rows(self, ids: Tensor, table: Tensor, mean: Tensor) -> Tensor:
        rows = table[ids]
        if self.training and torch.is_grad_enabled():
            rows.requires_grad_()
            rows.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                lambda leaf: self._move(ids, leaf, table, mean)
            )
        return rows

    @torch.no_grad()
    def _move(self, ids: Tensor, leaf: Tensor, table: Tensor, mean: Tensor) -> None:
        """Step the rows `ids` of a table, and of its momentum, by the gradient of the leaf."""
        assert leaf.grad is not None
        gradient = (2 * len(ids) * leaf.grad).clamp(-GRADIENT_CLIP, GRADIENT_CLIP)
        gradient = gradient.nan_to_num(0.0)  # one bad step must not stay in the table
        mean[ids] = (1 - self.momentum) * mean[ids] + self.momentum * gradient
        table[ids] = (table[ids] - self.learning_rate * mean[ids]).clamp(self.tau_min, self.tau_max)
        leaf.grad = None
