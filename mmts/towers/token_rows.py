"""The token ids of millions of texts, padded when a batch asks for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Tokens:
    """The token ids of many texts, without their padding.

    Attributes:
        width: of the longest, 1 at least; all rows are padded to it.
    """

    def __init__(self, ids: NDArray[Any], lengths: NDArray[np.int64], pad: int) -> None:
        """
        Args:
            ids: one text's after the other's.
            lengths: of each text.
            pad: the id that fills a row up.
        """
        self._ids, self._pad = ids, pad
        self._start = np.concatenate([[0], np.cumsum(lengths)])
        self.width = max(1, int(lengths.max(initial=0)))

    def __len__(self) -> int:
        return len(self._start) - 1

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> Tensor:
        """[n, width] int64, padded."""
        which = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else rows
        starts = self._start[which]
        lengths = self._start[which + 1] - starts
        out = np.full((len(which), self.width), self._pad, np.int64)
        before = np.cumsum(lengths) - lengths
        places = np.repeat(starts - before, lengths) + np.arange(lengths.sum())
        out[np.arange(self.width) < lengths[:, None]] = self._ids[places]
        return torch.from_numpy(out)
