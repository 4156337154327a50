"""A model of timm."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mmts.kinds.vision._parts import Recomputing
from mmts.settings.base import Text

if TYPE_CHECKING:
    from mmts.towers.tower import Shape, Tower


class Kind(Recomputing):
    """A model of timm, an extra."""

    name: Literal["timm"]
    packages = ("timm",)
    weights: Text
    """`random`, `pretrained`, `package:<import name>`, or a .safetensors or .pth file."""
    model: Text
    """The model's name there."""

    @property
    def models(self) -> tuple[str, ...]:
        """A file; other weights are the package's, whose version is known."""
        return (self.weights,) if Path(self.weights).is_file() else ()

    def build(self, shape: Shape | None = None) -> Tower:
        """Return the tower."""
        from mmts.towers.extras import timm_tower

        return timm_tower(self, shape)
