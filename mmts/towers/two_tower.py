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
from mmts.towers.freezing import freeze, frozen_norms
from mmts.towers.model import Encoded, Model, Streams
from mmts.towers.tower import Shape, Tower


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
        loaded: of each tower that started from weights, the settings' `weights`, their fingerprint
            and, where the hub's cache tells it, their revision.
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
        self.loaded = {
            side: {"weights": settings.weights, "fingerprint": tower.loaded}
            | ({"revision": tower.revision} if tower.revision else {})
            for side, tower, settings in (
                ("vision", vision, towers.vision), ("text", text, towers.text)
            )
            if tower is not None and tower.loaded is not None
        }  # fmt: skip
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
        freeze(self, towers.frozen_parts)
        if not any(p.requires_grad for p in self.parameters()):
            raise InputError(
                "nothing of the model is trained: without train.head, a tower must be; with "
                "towers.frozen_parts, a part must be left out"
            )

    def train(self, mode: bool = True) -> Self:
        """Frozen batch norms stay as in evaluation: their statistics are frozen too."""
        super().train(mode)
        for norm in frozen_norms(self):
            norm.eval()
        return self

    @property
    def shapes(self) -> dict[str, Shape]:
        """Of each tower that has one, what it takes to build it again, see `Tower.shape`."""
        sides = {"vision": self.vision, "text": self.text}
        found = {k: tower.shape if isinstance(tower, Tower) else {} for k, tower in sides.items()}
        return {side: shape for side, shape in found.items() if shape}

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
        return Encoded(_unit(self.vision_head(features)))

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Return the unit rows [N, D] of token ids or features."""
        return _unit(self.text_head(self.text(tokens)))


def _unit(rows: Tensor) -> Tensor:
    """Rows of length 1, in single precision at least."""
    half = rows.dtype in (torch.bfloat16, torch.float16)
    return F.normalize(rows.float() if half else rows, dim=-1)
