"""CyCLIP (arXiv 2205.14459)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.kinds import From0
from mmts.kinds.objective import ObjectiveKind

if TYPE_CHECKING:
    from mmts.losses import Objective as Loss


class Kind(ObjectiveKind):
    """`mmts.losses.cyclip`."""

    kind: Literal["cyclip"]
    label = "CyCLIP"
    inmodal: From0 = 0.25
    """Weight of the consistency within either modality."""
    crossmodal: From0 = 0.25
    """Weight of the consistency between the two directions."""

    def build(self, samples: int, captions: int | None) -> Loss:
        """Return the module."""
        from mmts.losses.cyclip import CyCLIP

        return CyCLIP(self.inmodal, self.crossmodal)
