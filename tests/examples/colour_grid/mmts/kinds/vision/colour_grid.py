"""The mean colours of a picture's cells, without anything to learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mmts.kinds.vision import VisionKind

if TYPE_CHECKING:
    from mmts.towers.tower import Shape, Tower


class Kind(VisionKind):
    """A grid of cells, three numbers a cell."""

    name: Literal["colour_grid"]
    weights: Literal["random"] = "random"
    """There are none."""
    frozen: Literal[False] = False
    cells: Annotated[int, Field(ge=1, le=32)] = 4
    """Cells a side."""

    def build(self, shape: Shape | None = None) -> Tower:
        """Return the tower."""
        from torch import Tensor
        from torch.nn import functional as F

        from mmts.towers.tower import Tower

        class ColourGrid(Tower):
            def __init__(self, cells: int) -> None:
                super().__init__()
                self.cells, self.dim = cells, 3 * cells**2

            def forward(self, pictures: Tensor) -> Tensor:
                """[N, 3, H, W] of 0 to 255 -> [N, dim]."""
                return F.adaptive_avg_pool2d(pictures.float() / 255, self.cells).flatten(1)

        return ColourGrid(self.cells)
