"""The sizes of transformers that start from random weights."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from mmts.settings.base import Layers, Settings, Width

DIM = 512


def check_heads(shape: VideoShape | TextShape) -> None:
    """ValueError unless the width can be shared out among the heads."""
    if shape.width % shape.heads:
        raise ValueError(
            f"width {shape.width} is no multiple of heads {shape.heads}; change one of them"
        )


class VideoShape(Settings):
    """The size of a vision transformer that starts from random weights."""

    patch_size: Annotated[int, Field(gt=0, le=1024)] = 16
    width: Width = 768
    layers: Layers = 12
    heads: Layers = 12
    dim: Width | None = None
    """Length of the features, null for 512; vit has no projection: its features are `width`."""

    @model_validator(mode="after")
    def _heads(self) -> VideoShape:
        check_heads(self)
        return self

    @property
    def sizes(self) -> dict[str, Any]:
        """All numbers."""
        return {**self.model_dump(), "dim": self.dim or DIM}


class TextShape(Settings):
    """The size of a text transformer that starts from random weights."""

    context: Annotated[int, Field(ge=4, le=65536)] = 77
    """Most tokens of a caption, among them one or two for its start and end."""
    width: Width = 512
    layers: Layers = 12
    heads: Layers = 8
    dim: Width | None = None
    """Length of the features, null for 512; distilbert has no projection: they are `width`."""

    @model_validator(mode="after")
    def _heads(self) -> TextShape:
        check_heads(self)
        return self

    @property
    def sizes(self) -> dict[str, Any]:
        """All numbers."""
        return {**self.model_dump(), "dim": self.dim or DIM}
