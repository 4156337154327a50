"""InfoNCE on arctanh of the similarity (arXiv 2501.17683)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.kinds.objective import ObjectiveKind

if TYPE_CHECKING:
    from mmts.losses import Objective as Loss


class Kind(ObjectiveKind):
    """`mmts.losses.arctanh`; a tau of 1 is the temperature-free loss."""

    kind: Literal["arctanh"]
    label = "arctanh InfoNCE"
    temperature_free = True

    def build(self, samples: int, captions: int | None) -> Loss:
        """Return the function."""
        from mmts.losses.arctanh import arctanh_info_nce

        return arctanh_info_nce
