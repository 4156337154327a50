"""CLIP's vision tower on a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.kinds.vision._parts import Transformer
from mmts.settings.base import Text
from mmts.settings.shapes import VideoShape

if TYPE_CHECKING:
    from mmts.towers.tower import Shape, Tower


class Kind(Transformer):
    """CLIP's vision tower on a picture, as transformers has it."""

    name: Literal["clip_vision"]
    weights: Text
    """`random`, or a folder or hub id of such a model of transformers."""

    def build(self, shape: Shape | None = None) -> Tower:
        """Return the tower."""
        from mmts.towers.clip_frames import ClipFrames, load_clip

        more: Shape = {"gradient_checkpointing": self.gradient_checkpointing}
        if shape is None and self.weights == "random":
            return ClipFrames.random(self.image_size, (self.shape or VideoShape()).sizes, **more)
        return load_clip(self.weights, self.image_size, "pictures", shape, **more)
