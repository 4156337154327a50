"""The model: a tower and a projection head for each side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmts.errors import InputError
from mmts.kinds.stream import StreamKind, encoded, encoders
from mmts.settings.towers import Towers
from mmts.settings.training import Head
from mmts.towers.freezing import freeze_parts, frozen_norms
from mmts.towers.model import Encoded, Model, Streams
from mmts.towers.tower import Shape, loaded, shapes_of


def projection(inputs: int, head: Head | None) -> nn.Module:
    """[N, inputs] -> [N, head.dim]: layer norm if any, then a linear map or a one-hidden-layer MLP.

    Without a head, features stay as they are.
    """
    if head is None:
        return nn.Identity()
    if head.hidden is None:
        body: list[nn.Module] = [nn.Dropout(head.dropout), nn.Linear(inputs, head.dim)]
    else:
        body = [
            nn.Linear(inputs, head.hidden),
            nn.GELU(),
            nn.Dropout(head.dropout),
            nn.Linear(head.hidden, head.dim),
        ]
    if head.norm:
        body.insert(0, nn.LayerNorm(inputs, elementwise_affine=False))
    return nn.Sequential(*body)


class TwoTower(Model):
    """A tower and a head for each side.

    A frozen tower is not part of the model: its features, computed once by `embed`, are the stream.
    Features of further streams are concatenated with those of the vision tower, in front of the
    vision head.

    Attributes:
        dim: D of the rows.
    """

    def __init__(
        self,
        towers: Towers,
        head: Head | None,
        dims: dict[str, int],
        shapes: Mapping[str, Shape] | None = None,
        streams: Mapping[str, StreamKind] | None = None,
    ) -> None:
        """
        Args:
            towers, head: settings.
            dims: `vision` and `text`: features of the frozen towers; `vocabulary` where the text
                tower reads tokens. Keys of trainable sides are ignored.
            shapes: of a model that was trained before, its `shapes`; its towers' own weights are
                not looked for then.
            streams: those beside the pictures or clips, by name.

        Raises:
            InputError: weights that do not exist or do not fit, features of two lengths without a
                head, or frozen_parts that name nothing or all.
        """
        super().__init__()
        vision, text = None, None
        if not towers.vision.frozen:
            shape = None if shapes is None else shapes.get("vision", {})
            vision = towers.vision.build(shape)
        if not towers.text.frozen:
            shape = None if shapes is None else shapes.get("text", {})
            text = towers.text.build(dims["vocabulary"], shape)
        self.loaded = loaded({
            "vision": (vision, towers.vision.weights), "text": (text, towers.text.weights)
        })  # fmt: skip
        self.vision: nn.Module = vision or nn.Identity()
        self.text: nn.Module = text or nn.Identity()
        self.main = "features" if vision is None else "frames" if towers.vision.video else "image"
        self.beside = encoders(streams or {})
        vision_dim = vision.dim if vision else dims["vision"]
        vision_dim += sum(int(encoder.dim) for encoder in self.beside.values())  # type: ignore[misc, arg-type, operator]
        text_dim = text.dim if text else dims["text"]
        if head is None and vision_dim != text_dim:
            raise InputError(
                f"train.head is null but the vision features have {vision_dim} numbers, those of "
                f"texts {text_dim}; give a head"
            )
        self.dim = vision_dim if head is None else head.dim
        self.vision_head = projection(vision_dim, head)
        self.text_head = projection(text_dim, head)
        freeze_parts(self, towers.frozen_parts)

    def train(self, mode: bool = True) -> Self:
        """Frozen batch norms stay as in evaluation: their statistics are frozen too."""
        super().train(mode)
        for norm in frozen_norms(self):
            norm.eval()
        return self

    @property
    def shapes(self) -> dict[str, Shape]:
        """Of each tower that has one, what it takes to build it again, see `Tower.shape`."""
        return shapes_of({"vision": self.vision, "text": self.text})

    def one_thread(self, side: str) -> bool:
        """Return whether one thread is fastest: for heads on features, and pictures."""
        if side == "vision" and self.main == "image":
            return True
        return isinstance(self.get_submodule(side), nn.Identity)

    def encode_vision(self, streams: Streams) -> Encoded:
        """Return the rows; two towers have no context."""
        features = self.vision(streams[self.main])
        if self.beside:
            others = (encoded(n, encoder, streams[n]) for n, encoder in self.beside.items())
            features = torch.cat([features, *others], dim=1)
        return Encoded(unit(self.vision_head(features)))

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Return the unit rows [N, D] of token ids or features."""
        return unit(self.text_head(self.text(tokens)))


def unit(rows: Tensor) -> Tensor:
    """Return rows of length 1, in single precision at least."""
    half = rows.dtype in (torch.bfloat16, torch.float16)
    return F.normalize(rows.float() if half else rows, dim=-1)
