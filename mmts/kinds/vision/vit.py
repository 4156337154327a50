"""A vision transformer of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from mmts.kinds.vision._parts import Transformer
from mmts.settings.base import Text
from mmts.settings.shapes import VideoShape

if TYPE_CHECKING:
    from mmts.towers.tower import Shape, Tower


class Kind(Transformer):
    """A vision transformer of transformers."""

    name: Literal["vit"]
    weights: Text
    """`random`, or a folder or hub id of such a model of transformers."""

    @model_validator(mode="after")
    def _unprojected(self) -> Self:
        if self.shape is not None and self.shape.dim is not None:
            raise ValueError("shape.dim is set; the features of vit are shape.width: leave it out")
        return self

    def build(self, shape: Shape | None = None) -> Tower:
        """Return the tower."""
        from mmts.towers.pictures import ViT

        more: Shape = {"gradient_checkpointing": self.gradient_checkpointing}
        if shape is not None:
            return ViT.empty(shape, **more)
        if self.weights == "random":
            return ViT.random(self.image_size, (self.shape or VideoShape()).sizes, **more)
        tower = ViT.load(self.weights, **more)
        tower.fit(self.image_size)
        return tower
