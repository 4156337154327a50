"""The sizes of transformers that start from random weights."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from pydantic import BeforeValidator, Field, model_validator

from mmts.settings.base import Layers, Settings, Width

DIM = 512
BEATS_PATCH = 16
"""Frames and mel bands that a patch of BEATs has a side."""


class _Headed(Protocol):
    @property
    def width(self) -> int: ...
    @property
    def heads(self) -> int: ...


def check_heads(shape: _Headed) -> None:
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


class _Encoder(Settings):
    """What the shapes of the omni-modal model's encoders share."""

    width: Width
    layers: Layers
    heads: Layers
    mlp: Width
    """Width inside the MLPs."""

    @model_validator(mode="after")
    def _heads(self) -> _Encoder:
        check_heads(self)
        return self


class EvaShape(_Encoder):
    """The size of EVA-CLIP's vision transformer; the defaults are EVA01-CLIP-g/14."""

    patch_size: Annotated[int, Field(gt=0, le=1024)] = 14
    width: Width = 1408
    layers: Layers = 40
    heads: Layers = 16
    mlp: Width = 6144


class BertShape(_Encoder):
    """The size of BERT; the defaults are bert-base-uncased."""

    context: Annotated[int, Field(ge=4, le=65536)] = 512
    """Most tokens of a text, among them one for its start and one for its end."""
    width: Width = 768
    layers: Layers = 12
    heads: Layers = 12
    mlp: Width = 3072
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


class BeatsShape(_Encoder):
    """The size of BEATs; the defaults are BEATs-base (iter3+)."""

    channels: Width = 512
    """Of the convolution over patches of the filterbank."""
    width: Width = 768
    layers: Layers = 12
    heads: Layers = 12
    mlp: Width = 3072
    kernel: Width = 128
    """Of the convolution that gives positions, in tokens."""
    groups: Width = 16
    """Of the same."""

    @model_validator(mode="after")
    def _groups(self) -> BeatsShape:
        if self.width % self.groups:
            raise ValueError(
                f"width {self.width} is no multiple of groups {self.groups}; change one of them"
            )
        return self


def named(**shapes: dict[str, Any]) -> BeforeValidator:
    """Let a name stand for a mapping of sizes."""

    def found(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in shapes:
            raise ValueError(
                f"it is {value[:60]!r}; write {' or '.join(shapes)}, or a mapping of sizes"
            )
        return shapes[value]

    return BeforeValidator(found)


_TINY = {"width": 32, "layers": 2, "heads": 4, "mlp": 64}
Eva = Annotated[EvaShape | None, named(tiny={**_TINY, "patch_size": 16})]
Bert = Annotated[BertShape | None, named(tiny={**_TINY, "context": 128, "dropout": 0.0})]
Beats = Annotated[
    BeatsShape | None, named(tiny={**_TINY, "channels": 32, "kernel": 16, "groups": 4})
]
"""A shape by name (`tiny`) or by its numbers; None for the published one."""
