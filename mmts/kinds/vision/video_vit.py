"""Joint space-time attention, as in AVION."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.kinds.vision._parts import Attending
from mmts.settings.base import Share

if TYPE_CHECKING:
    from mmts.towers.tower import Shape


class Kind(Attending):
    """Joint space-time attention, as in AVION."""

    name: Literal["video_vit"]
    attention = "joint"
    patch_dropout: Share = 0.0
    """Share of a clip's patches that a training step leaves out."""

    @property
    def numbers(self) -> Shape:
        """Numbers of VideoViTConfig that no weights decide."""
        return {**super().numbers, "patch_dropout": self.patch_dropout}
