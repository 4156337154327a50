"""One learned temperature, as in CLIP (arXiv 2103.00020) or in VAST (arXiv 2305.18500)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.kinds import Above0
from mmts.kinds.modulator import ModulatorKind, check_learned

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mmts.method import Method
    from mmts.modulators.scheduled import ScheduledShift


class Kind(ModulatorKind):
    """`mmts.modulators.learnable`; starts at the fixed temperature."""

    kind: Literal["learnable"]
    by_row = True
    scale_max: Above0 = 100.0
    """1/tau stays at or below this."""
    parameter: Literal["log", "tau"] = "log"
    """log: log(1/tau) is learned, as in CLIP; tau: tau itself, as in VAST, so that a step moves a
    small tau by a larger share."""

    def check(self, method: Method) -> None:
        """Raise ValueError if the method has a schedule, a margin or a range of shifts."""
        check_learned(method, self.kind)
        low, high = method.shift_min, method.shift_max
        if low != high:
            raise ValueError(
                f"shift_min {low} and shift_max {high} differ, but the modulator learnable starts "
                "at one temperature: leave out shift"
            )
        if low * self.scale_max < 1 - 1e-9:
            raise ValueError(
                f"the modulator learnable starts at {low}, below 1/scale_max = "
                f"{1 / self.scale_max:.4g}: raise temperature.fixed, or scale_max"
            )

    def build(
        self, method: Method, scheduled: ScheduledShift, *,
        cluster_id: Tensor, first: Tensor, dim: int, epoch_steps: int,
    ) -> nn.Module:  # fmt: skip
        """Return the module."""
        from mmts.modulators.learnable import LearnableTau

        return LearnableTau(method.shift_min, scale_max=self.scale_max, parameter=self.parameter)
