"""InfoNCE, Eq. 10 to 12."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from mmts.kinds.objective import ObjectiveKind
from mmts.settings.base import Share

if TYPE_CHECKING:
    from mmts.losses import Objective as Loss


class Kind(ObjectiveKind):
    """`mmts.losses.info_nce`."""

    kind: Literal["info_nce"]
    label = "InfoNCE"
    by_row = True
    label_smoothing: Share = 0.0
    """Share of the target that goes to all pairs of the anchor's softmax alike; VAST has 0.1."""
    anchors_only: bool = False
    """Whether the rows that an anchor is compared with get no gradient, as in VAST."""

    @property
    def words(self) -> str:
        """Return what makes it another loss than that of CLIP."""
        smoothed = [f"label smoothing {self.label_smoothing:g}"] if self.label_smoothing else []
        anchors = ["gradients to anchors alone"] if self.anchors_only else []
        return ", ".join(smoothed + anchors)

    def build(self, samples: int, captions: int | None) -> Loss:
        """Return the function."""
        from mmts.losses.info_nce import info_nce

        return partial(
            info_nce, label_smoothing=self.label_smoothing, anchors_only=self.anchors_only
        )
