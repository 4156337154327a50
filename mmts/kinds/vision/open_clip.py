"""A vision tower of open_clip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mmts.kinds.vision._parts import Recomputing
from mmts.settings.base import Text

if TYPE_CHECKING:
    from mmts.towers.tower import Shape, Tower


class Kind(Recomputing):
    """A vision tower of open_clip, an extra."""

    name: Literal["open_clip"]
    packages = ("open_clip_torch",)
    weights: Text
    """`random`, or the tag of pretrained weights, or a file of them."""
    model: Text
    """The model's name there."""

    @property
    def models(self) -> tuple[str, ...]:
        """A file; other weights are the package's, whose version is known."""
        return (self.weights,) if Path(self.weights).is_file() else ()

    def build(self, shape: Shape | None = None) -> Tower:
        """Return the tower."""
        from mmts.towers.extras import open_clip_vision

        return open_clip_vision(self, shape)
