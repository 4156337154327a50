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
    """A learned temperature, as in CLIP (Radford et al. 2021, section 2.5, arXiv 2103.00020).

    The parameter is log_scale = log(1 / tau), or tau itself as in VAST. The scale is kept at or
    below `scale_max` by clamping the parameter itself, so that the gradient can bring it back. It
    wants no weight decay.
    """

    def __init__(self, tau: float, *, scale_max: float = 100.0, parameter: str = "log") -> None:
        """
        Args:
            tau: where it starts; 0.07 in CLIP and VAST, 0.1 in SigLIP.
            scale_max: highest 1 / tau.
            parameter: `log`, or `tau` for tau itself: a step then moves a small tau by a larger
                share.
        """
        super().__init__()
        if not (math.isfinite(scale_max) and scale_max > 0):
            raise InputError(f"scale_max is {scale_max}; it must be a finite number > 0")
        if not (math.isfinite(tau) and tau >= 1 / scale_max):
            raise InputError(
                f"tau is {tau}; it must be finite and >= 1 / scale_max = {1 / scale_max:.6g}"
            )
        self.scale_max = scale_max
        if parameter not in ("log", "tau"):
            raise InputError(f"parameter is {parameter!r}; it must be log or tau")
        self.parameter = parameter
        if parameter == "tau":
            self.tau = nn.Parameter(torch.tensor(tau))
        else:
            self.log_scale = nn.Parameter(torch.tensor(-math.log(tau)))

    def forward(self, step: int, batch: Batch, vision: Tensor, text: Tensor) -> Tensor:
        """tau of all samples, 0-d float32, with a gradient."""
        if self.parameter == "tau":
            with torch.no_grad():
                self.tau.clamp_(min=1 / self.scale_max)
            return self.tau.clone()  # what is logged is not to move with the step
        with torch.no_grad():
            self.log_scale.clamp_(max=math.log(self.scale_max))
        return torch.exp(-self.log_scale)
