"""One learned temperature, as in CLIP (arXiv 2103.00020) or in VAST (arXiv 2305.18500)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmts.errors import InputError

if TYPE_CHECKING:
    from mmts.training.batch import Batch


class LearnableTau(nn.Module):
    """The learned temperature of CLIP (Radford et al. 2021, section 2.5, arXiv 2103.00020).

    The parameter is log_scale = log(1 / tau), or tau itself as in VAST. The scale is kept at or
    below `scale_max` by clamping the parameter itself, so that the gradient can bring it back. It
    wants no weight decay.
    """

    def __init__(self, tau: float, *, scale_max: float = 100.0, raw: bool = False) -> None:
        """
        Args:
            tau: where it starts; 0.07 in CLIP and VAST, 0.1 in SigLIP.
            scale_max: highest 1 / tau.
            raw: whether the parameter is tau: a step then moves a small tau by a larger share.
        """
        super().__init__()
        if not (math.isfinite(scale_max) and scale_max > 0):
            raise InputError(f"scale_max is {scale_max}; it must be a finite number > 0")
        if not (math.isfinite(tau) and tau >= 1 / scale_max):
            raise InputError(
                f"tau is {tau}; it must be finite and >= 1 / scale_max = {1 / scale_max:.6g}"
            )
        self.scale_max = scale_max
        self.raw = raw
        if raw:
            self.tau = nn.Parameter(torch.tensor(tau))
        else:
            self.log_scale = nn.Parameter(torch.tensor(-math.log(tau)))

    def forward(self, step: int, batch: Batch, vision: Tensor, text: Tensor) -> Tensor:
        """tau of all samples, 0-d float32, with a gradient."""
        if self.raw:
            with torch.no_grad():
                self.tau.clamp_(min=1 / self.scale_max)
            return self.tau + 0.0
        with torch.no_grad():
            self.log_scale.clamp_(max=math.log(self.scale_max))
        return torch.exp(-self.log_scale)
