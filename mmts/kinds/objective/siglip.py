"""SigLIP (arXiv 2303.15343)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.kinds.objective import ObjectiveKind

if TYPE_CHECKING:
    from mmts.losses import Objective as Loss


class Kind(ObjectiveKind):
    """`mmts.losses.siglip`."""

    kind: Literal["siglip"]
    label = "SigLIP"
    bias: float = -10.0
    """Start of the learned bias."""

    def build(self, samples: int, captions: int | None) -> Loss:
        """Return the module."""
        from mmts.losses.siglip import SigLIP

        return SigLIP(self.bias)
