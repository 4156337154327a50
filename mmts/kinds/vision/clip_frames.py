"""CLIP's vision tower on each frame of a clip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from mmts.kinds.vision._parts import OfClips, Recomputing
from mmts.settings.base import Text

if TYPE_CHECKING:
    from mmts.towers.tower import Shape, Tower


class Kind(OfClips, Recomputing):
    """CLIP's vision tower on each frame of a clip; the features are averaged."""

    name: Literal["clip_frames"]
    weights: Text
    """A folder or hub id of such a model of transformers."""

    @model_validator(mode="after")
    def _given(self) -> Self:
        if self.weights == "random":
            raise ValueError("weights is random; clip_frames starts from a CLIP model")
        return self

    def build(self, shape: Shape | None = None) -> Tower:
        """Return the tower."""
        from mmts.towers.clip_frames import load_clip

        more: Shape = {"gradient_checkpointing": self.gradient_checkpointing}
        return load_clip(self.weights, self.image_size, "frames", shape, **more)
