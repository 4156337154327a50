"""A linear map of a picture's mean and spread of colours: a tower as small as can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.kinds.vision import VisionKind
from mmts.settings.base import Width

if TYPE_CHECKING:
    from mmts.towers.tower import Shape, Tower


class Kind(VisionKind):
    """Mean and standard deviation of each colour, and a linear map of them."""

    name: Literal["colours"]
    dim: Width = 16
    """Length of the features."""

    def build(self, shape: Shape | None = None) -> Tower:
        """Return the tower; it always starts from random weights."""
        import torch
        from torch import Tensor, nn

        from mmts.towers.tower import Tower

        class Colours(Tower):
            """Pictures [N, 3, H, W] of 0 to 255 -> [N, dim]."""

            def __init__(self, dim: int) -> None:
                super().__init__()
                self.dim, self.map = dim, nn.Linear(6, dim)

            def forward(self, pictures: Tensor) -> Tensor:
                pixels = pictures.to(self.map.weight.dtype).flatten(2) / 255
                found: Tensor = self.map(torch.cat([pixels.mean(2), pixels.std(2)], dim=1))
                return found

        return Colours(self.dim)
