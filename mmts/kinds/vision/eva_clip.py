"""EVA-CLIP's vision transformer on each frame of a clip, as in VAST."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from mmts.kinds.vision._parts import OfClips, Recomputing, check_shape
from mmts.settings.base import Positive, Share, Text
from mmts.settings.shapes import Eva, EvaShape

if TYPE_CHECKING:
    from mmts.towers.tower import Shape, Tower


class Kind(OfClips, Recomputing):
    """EVA-CLIP's vision transformer on each frame, as in VAST (`mmts.towers.eva_clip`)."""

    name: Literal["eva_clip"]
    per_token = True
    weights: Text
    """`random`, or a folder that mmts.towers.convert wrote of EVA-CLIP's or VAST's file."""
    test_clip_length: Positive | None = None
    """Frames of a clip in validation and test; null for clip_length. An edit trains anew."""
    drop_path: Share = 0.0
    """Stochastic depth of the last layer, rising from 0 at the first."""
    shape: Eva = None
    """With random weights: `tiny`, or a mapping of sizes; null for that of EVA01-CLIP-g."""

    @model_validator(mode="after")
    def _shaped(self) -> Self:
        check_shape(self.weights, self.shape, EvaShape(), self.image_size)
        return self

    def frames_of(self, split: str) -> int:
        """Return `clip_length` in training, `test_clip_length` elsewhere."""
        return self.clip_length if split == "train" else self.test_clip_length or self.clip_length

    def build(self, shape: Shape | None = None) -> Tower:
        """Return the tower."""
        from mmts.towers.eva_clip import EvaClip

        more: Shape = {
            "drop_path": self.drop_path, "gradient_checkpointing": self.gradient_checkpointing
        }  # fmt: skip
        if shape is not None:
            return EvaClip.empty(shape, **more)
        if self.weights == "random":
            return EvaClip.random(self.image_size, self.shape or EvaShape(), **more)
        return EvaClip.converted(self.weights, self.image_size, **more)
