"""A triangle in place of the cosine."""

from __future__ import annotations

from typing import Literal

from mmts.kinds.schedule import ScheduleKind


class Kind(ScheduleKind):
    """Falls and rises at one speed."""

    kind: Literal["triangle"]
    label = "triangle"

    def value(self, step: float, *, alpha: float, period: float) -> float:
        """Return alpha/2 at the start of a period, and -alpha/2 in its middle."""
        from_middle = abs(2 * (step / period % 1.0) - 1)  # 1 at the ends, 0 in the middle
        return alpha * (from_middle - 0.5)
