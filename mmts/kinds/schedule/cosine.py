"""The cosine of Eq. 7."""

from __future__ import annotations

from typing import Literal

from mmts.kinds.schedule import ScheduleKind
from mmts.schedule import tau_base


class Kind(ScheduleKind):
    """`mmts.schedule.tau_base`."""

    kind: Literal["cosine"]
    label = "cosine"

    @property
    def paper(self) -> bool:
        """Whether it moves every step; once an epoch is the unimodal TS (arXiv 2303.13664)."""
        return self.update_every == "step"

    def value(self, step: float, *, alpha: float, period: float) -> float:
        """Return `alpha cos(2 pi step / period) / 2`."""
        return tau_base(step, alpha=alpha, period=period)
