"""A ResNet of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from mmts.kinds.vision._parts import Recomputing
from mmts.settings.base import Text

if TYPE_CHECKING:
    from mmts.towers.tower import Shape, Tower


class Kind(Recomputing):
    """A ResNet of transformers."""

    name: Literal["resnet"]
    weights: Text
    """`random`, or a folder or hub id of such a model of transformers."""
    depth: Literal[18, 34, 50, 101, 152] | None = None
    """With random weights: its layers; null for 50."""

    @model_validator(mode="after")
    def _new(self) -> Self:
        if self.depth is not None and self.weights != "random":
            raise ValueError("depth is set; it belongs to `weights: random`: leave it out")
        return self

    def build(self, shape: Shape | None = None) -> Tower:
        """Return the tower."""
        from mmts.towers.pictures import ResNet

        more: Shape = {"gradient_checkpointing": self.gradient_checkpointing}
        if shape is not None:
            return ResNet.empty(shape, **more)
        if self.weights == "random":
            return ResNet.random(self.depth or 50, **more)
        return ResNet.load(self.weights, **more)
