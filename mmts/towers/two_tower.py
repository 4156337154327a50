"""The model: a tower and a projection head for each side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmts.errors import InputError
from mmts.settings import Head, Towers
from mmts.towers.build import vision_tower
from mmts.towers.small import SmallTextTransformer


def projection(inputs: int, head: Head | None) -> nn.Module:
    """[N, inputs] -> [N, head.dim]: layer norm, then a linear map or a one-hidden-layer MLP.

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
    return nn.Sequential(nn.LayerNorm(inputs, elementwise_affine=False), *body)


class TwoTower(nn.Module):
    """Two inputs -> two sets of unit rows in one space.

    A frozen tower is not part of the model: its features, computed once by `embed`, are the input.

    Attributes:
        dim: D of the rows.
    """

    def __init__(self, towers: Towers, head: Head | None, dims: dict[str, int]) -> None:
        """
        Args:
            towers, head: settings.
            dims: `vision` and `text`: features of the frozen towers; `vocabulary` where the text
                tower reads tokens. Keys of trainable sides are ignored.
        """
        super().__init__()
        vision = None if towers.vision.frozen else vision_tower(towers.vision)
        text = None if towers.text.frozen else SmallTextTransformer(dims["vocabulary"])
        self.vision: nn.Module = vision or nn.Identity()
        self.text: nn.Module = text or nn.Identity()
        vision_dim = vision.dim if vision else dims["vision"]
        text_dim = text.dim if text else dims["text"]
        if head is None and vision_dim != text_dim:
            raise InputError(
                f"train.head is null but the vision features have {vision_dim} numbers, those of "
                f"texts {text_dim}; give a head"
            )
        self.dim = vision_dim if head is None else head.dim
        self.vision_head = projection(vision_dim, head)
        self.text_head = projection(text_dim, head)

    def encode_vision(self, vision: Tensor) -> Tensor:
        """[N, ...] pictures or features -> [N, D] unit rows."""
        return F.normalize(self.vision_head(self.vision(vision)), dim=-1)

    def encode_text(self, text: Tensor) -> Tensor:
        """[N, ...] token ids or features -> [N, D] unit rows."""
        return F.normalize(self.text_head(self.text(text)), dim=-1)

    def forward(self, vision: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Unit rows of both sides."""
        return self.encode_vision(vision), self.encode_text(text)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """AdamW groups: matrices decay; biases, norms and other vectors do not."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


@torch.inference_mode()
def encode_all(
    encode: Callable[[Tensor], Tensor], batches: Iterable[Tensor], device: torch.device
) -> Tensor:
    """Encode batches of inputs; [N, D] on the CPU."""
    return torch.cat([encode(batch.to(device)).float().cpu() for batch in batches])
