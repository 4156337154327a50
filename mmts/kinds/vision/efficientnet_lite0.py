"""EfficientNet-Lite0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.kinds.vision import VisionKind
from mmts.settings.base import Text

if TYPE_CHECKING:
    from mmts.towers.tower import Shape, Tower


class Kind(VisionKind):
    """EfficientNet-Lite0, a small convolutional network (`mmts.towers.efficientnet_lite`)."""

    name: Literal["efficientnet_lite0"]
    weights: Text
    """`random`, `package:<import name>`, or a .safetensors or .pth file."""

    def build(self, shape: Shape | None = None) -> Tower:
        """Return the tower."""
        from mmts.towers.efficientnet_lite import EfficientNetLite0
        from mmts.weights import fingerprint, load_state, unwrapped, weight_file

        tower = EfficientNetLite0()
        if self.weights != "random" and shape is None:
            path = weight_file(self.weights)
            state = unwrapped(load_state(path), path)
            tower.loaded = fingerprint(state)
            tower.load_released(state, self.weights)
        return tower
