"""What a training step gets."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NO_CLASSES = torch.empty(0, 0, dtype=torch.int64)
NO_CAPTIONS = torch.empty(0, dtype=torch.int64)


class Batch(NamedTuple):
    """N pairs.

    vision: [N, Dv] features of a frozen tower, or [N, 3, H, W] uint8 pictures.
    text: [N, Dt] features of a frozen tower, or [N, L] token ids.
    cluster_id: [N] int64, the cluster of each drawn caption.
    index: [N] int64, stable number of each media item.
    classes: [N, C] int64, the cluster of each drawn caption in each of the clusterings that give
        the relevancy; C is 0 where there are none.
    caption: [N] int64, stable number of each drawn caption, or of the item's first caption where
        the drawn one is another item's; empty where `index` numbers the captions too.
    """

    vision: Tensor
    text: Tensor
    cluster_id: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody calls
    classes: Tensor = NO_CLASSES
    caption: Tensor = NO_CAPTIONS

    @property
    def ids(self) -> Tensor | tuple[Tensor, Tensor]:
        """What objectives with a state take as `index`: of the items, with captions a pair."""
        return (self.index, self.caption) if len(self.caption) else self.index

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        return Batch(*(t.to(device, non_blocking=True) for t in self))
