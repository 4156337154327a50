"""A learned temperature for each cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.kinds import Above0
from mmts.kinds.modulator import ModulatorKind, check_learned

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mmts.method import Method
    from mmts.modulators.scheduled import ScheduledShift
    from mmts.training.batch import Batch


class Kind(ModulatorKind):
    """Starts at the shifts, and moves by the gradient of the loss, as CLIP's temperature does."""

    kind: Literal["per_cluster"]
    by_row = True
    tau_min: Above0 = 0.01

    def check(self, method: Method) -> None:
        """Raise ValueError if the method has a schedule or a margin, or starts below tau_min."""
        check_learned(method, self.kind)
        if method.shift_min < self.tau_min:
            raise ValueError(
                f"shift_min is {method.shift_min}, where the modulator per_cluster starts, but its "
                f"tau_min is {self.tau_min}: raise the one or lower the other"
            )

    def build(
        self, method: Method, scheduled: ScheduledShift, *,
        cluster_id: Tensor, first: Tensor, dim: int, epoch_steps: int,
    ) -> nn.Module:  # fmt: skip
        """Return the module."""
        import torch
        from torch import nn

        class PerCluster(nn.Module):
            """tau = tau_min + exp(a number for each cluster)."""

            def __init__(self, start: Tensor, tau_min: float) -> None:
                super().__init__()
                self.tau_min = tau_min
                above = (start.nan_to_num(1.0) - tau_min).clamp(min=1e-6)  # NaN: no such cluster
                self.log_above = nn.Parameter(above.log())

            def forward(self, step: int, batch: Batch, vision: Tensor, text: Tensor) -> Tensor:
                return self.tau_min + torch.exp(self.log_above[batch.cluster_id])

        return PerCluster(scheduled.shift_of, self.tau_min)
