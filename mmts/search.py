"""What is searched for and among: some media items of a split, and some of its captions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmts.metrics.scores import ProductScores, as_numpy

if TYPE_CHECKING:
    from torch import Tensor

    from mmts.training.pairs import Pairs

Ints = NDArray[np.int64]
Rows = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Search:
    """Text queries are searched for among the media items, media items among the captions.

    Attributes:
        pairs: the split.
        items: [V], rows of it.
        captions: [T], rows of its captions; each describes one of the items.
    """

    pairs: Pairs
    items: Ints
    captions: Ints

    @cached_property
    def owner(self) -> Ints:
        """[T], the place in `items` of the item that each caption describes."""
        found: Ints = np.searchsorted(self.items, self.pairs.owner[self.captions])
        return found

    def scores(self, vision: Rows | Tensor, text: Rows | Tensor) -> ProductScores:
        """Return the scores by features of all items and of all captions of the split."""
        return ProductScores(as_numpy(vision)[self.items], as_numpy(text)[self.captions])
