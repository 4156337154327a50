"""Small convolutional network of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.kinds.vision import VisionKind
from mmts.settings.base import Text

if TYPE_CHECKING:
    from mmts.towers.tower import Shape, Tower


class Kind(VisionKind):
    """A small convolutional network of ours (`mmts.towers.small`)."""

    name: Literal["small_cnn"]
    weights: Text
    """`random`, `package:<import name>`, or a .safetensors or .pth file."""

    def build(self, shape: Shape | None = None) -> Tower:
        """Return the tower."""
        from mmts.towers.small import SmallCNN, load

        tower = SmallCNN()
        if self.weights != "random" and shape is None:
            load(tower, self.name, self.weights)
        return tower
