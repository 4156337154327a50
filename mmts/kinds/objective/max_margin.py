"""Max-margin, Eq. 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.kinds.objective import ObjectiveKind

if TYPE_CHECKING:
    from mmts.losses import Objective as Loss


class Kind(ObjectiveKind):
    """`mmts.losses.max_margin`."""

    kind: Literal["max_margin"]
    label = "max-margin"
    by_row = True
    quantity = "margin"

    def build(self, samples: int, captions: int | None) -> Loss:
        """Return the function."""
        from mmts.losses.max_margin import max_margin

        return max_margin
