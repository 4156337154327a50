"""Joint space-time attention, as in AVION."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.kinds.vision._parts import OfClips, Transformer
from mmts.settings.base import Share, Text
from mmts.settings.shapes import VideoShape

if TYPE_CHECKING:
    from mmts.towers.tower import Shape, Tower


class Kind(OfClips, Transformer):
    """Joint space-time attention, as in AVION."""

    name: Literal["video_vit"]
    weights: Text
    """`random`, a folder that mmts.towers.convert wrote, or a hub id of one."""
    drop_path: Share = 0.0
    """Stochastic depth."""
    patch_dropout: Share = 0.0
    """Share of a clip's patches that a training step leaves out."""

    def build(self, shape: Shape | None = None) -> Tower:
        """Return the tower."""
        from mmts.towers.converted import video_transformer

        own: Shape = {
            "image_size": self.image_size,
            "frames": self.clip_length,
            "drop_path": self.drop_path,
            "patch_dropout": self.patch_dropout,
            "gradient_checkpointing": self.gradient_checkpointing,
        }
        sizes = (self.shape or VideoShape()).sizes if self.weights == "random" else None
        return video_transformer(self.name, self.weights, sizes, own, shape)
