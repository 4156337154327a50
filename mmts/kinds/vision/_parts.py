"""Settings that several vision towers have."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from mmts.kinds.vision import VisionKind
from mmts.settings.base import Positive, Share, Text
from mmts.settings.shapes import EvaShape, VideoShape

if TYPE_CHECKING:
    from mmts.towers.tower import Shape, Tower


def check_shape(
    weights: str,
    shape: VideoShape | EvaShape | None,
    default: VideoShape | EvaShape,
    image_size: int,
) -> None:
    """Check that a transformer's shape belongs to random weights, and fits the size of its images.

    Raises:
        ValueError: it does not.
    """
    if weights != "random":
        if shape is not None:
            raise ValueError("shape is set; it belongs to `weights: random`: leave it out")
        return
    patch = (shape or default).patch_size
    if image_size % patch:
        raise ValueError(
            f"image_size {image_size} is no multiple of shape.patch_size {patch}; change one of "
            "them"
        )


class Recomputing(VisionKind):
    """A tower that can keep less for the backward pass."""

    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, a third more time."""


class Transformer(Recomputing):
    """A vision transformer, which random weights need a shape for."""

    shape: VideoShape | None = None
    """With random weights; null for that of ViT-B/16."""

    @model_validator(mode="after")
    def _shaped(self) -> Self:
        check_shape(self.weights, self.shape, VideoShape(), self.image_size)
        return self


class OfClips(VisionKind):
    """A tower that takes clips."""

    video = True
    clip_length: Positive
    """Frames of a clip."""
    resize: Literal["crop", "squash"] = "crop"
    """crop: the centre square of each frame, in training a random box where train.augment is set;
    squash: the whole frame without its aspect, of which train.augment changes nothing but which
    frames are drawn."""

    @property
    def frames(self) -> int:
        """Frames of a clip."""
        return self.clip_length

    @property
    def squash(self) -> bool:
        """Whether frames are resized whole."""
        return self.resize == "squash"

    @model_validator(mode="after")
    def _trained(self) -> Self:
        if self.frozen:
            raise ValueError(
                "frozen is true; features of clips are not computed ahead: set it to false, and "
                "name what stays as it is in towers.frozen_parts"
            )
        return self


class Attending(OfClips, Transformer):
    """A transformer of clips, whose weights `mmts.towers.convert` writes."""

    attention: ClassVar[Literal["joint", "divided"]]
    weights: Text
    """`random`, a folder that mmts.towers.convert wrote, or a hub id of one."""
    drop_path: Share = 0.0
    """Stochastic depth."""

    @property
    def numbers(self) -> Shape:
        """Numbers of VideoViTConfig that no weights decide."""
        return {
            "image_size": self.image_size,
            "frames": self.clip_length,
            "drop_path": self.drop_path,
            "gradient_checkpointing": self.gradient_checkpointing,
        }

    def build(self, shape: Shape | None = None) -> Tower:
        """Return the tower."""
        from mmts.towers.converted import video_transformer

        sizes = (self.shape or VideoShape()).sizes if self.weights == "random" else None
        return video_transformer(self, sizes, shape)
