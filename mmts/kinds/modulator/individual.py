"""A learned temperature for each item and caption, as in iSogCLR (arXiv 2305.11965)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.kinds import Above0, Above0To1
from mmts.kinds.modulator import ModulatorKind, check_learned, check_learns_tau

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mmts.method import Method
    from mmts.modulators.scheduled import ScheduledShift


class Kind(ModulatorKind):
    """`mmts.modulators.individual`; starts at the shift."""

    kind: Literal["individual"]
    learning_rate: Above0 = 0.01
    momentum: Above0To1 = 0.9
    """Weight of the present gradient in its moving average."""
    tau_min: Above0 = 0.005
    tau_max: Above0 = 1.0

    def check(self, method: Method) -> None:
        """Raise ValueError if the method has a schedule, another objective or a start outside."""
        check_learned(method, self.kind)
        check_learns_tau(method, self.kind)
        low, high = method.shift_min, method.shift_max
        if not (self.tau_min <= low and high <= self.tau_max):
            raise ValueError(
                f"shifts {low}..{high}, where the modulator individual starts, are outside its "
                f"tau_min..tau_max, {self.tau_min}..{self.tau_max}: widen the one or narrow the "
                "other"
            )

    def build(
        self, method: Method, scheduled: ScheduledShift, *,
        cluster_id: Tensor, first: Tensor, dim: int, epoch_steps: int,
    ) -> nn.Module:  # fmt: skip
        """Return the module; an item starts at the shift of its first caption."""
        from mmts.modulators.individual import IndividualTau

        # a shift at an end of the range may lie outside by a rounding error of float32
        captions = scheduled.shift_of[cluster_id].clamp(self.tau_min, self.tau_max)
        return IndividualTau(
            (captions[first[:-1]], captions),
            learning_rate=self.learning_rate,
            momentum=self.momentum,
            tau_min=self.tau_min,
            tau_max=self.tau_max,
        )
