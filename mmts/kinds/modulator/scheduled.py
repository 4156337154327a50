"""The cosine and the shifts: fixed, TS, ICS and MM-TS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.kinds.modulator import ModulatorKind

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mmts.method import Method
    from mmts.modulators.scheduled import ScheduledShift


class Kind(ModulatorKind):
    """`mmts.modulators.scheduled`."""

    kind: Literal["scheduled"] = "scheduled"
    learned = False
    label = ""
    by_row = True

    def build(
        self, method: Method, scheduled: ScheduledShift, *,
        cluster_id: Tensor, first: Tensor, dim: int, epoch_steps: int,
    ) -> nn.Module:  # fmt: skip
        """Return the schedule itself."""
        return scheduled
