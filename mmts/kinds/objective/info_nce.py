"""InfoNCE, Eq. 10 to 12."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.kinds.objective import ObjectiveKind

if TYPE_CHECKING:
    from mmts.losses import Objective as Loss


class Kind(ObjectiveKind):
    """`mmts.losses.info_nce`."""

    kind: Literal["info_nce"]
    label = "InfoNCE"
    by_row = True

    def build(self, samples: int, captions: int | None) -> Loss:
        """Return the function."""
        from mmts.losses.info_nce import info_nce

        return info_nce
