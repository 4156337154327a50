"""Rows of millions of captions or items, made into tensors when a batch asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmts.errors import InputError
from mmts.shards.samples import places


class Rows(Protocol):
    """What the text or vision side takes of many captions or items; a tensor is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Tensor: ...


class Features:
    """Rows of a matrix that stays on the disk, where all processes share what is read of it."""

    def __init__(self, matrix: NDArray[np.float32], row: NDArray[np.int64]) -> None:
        """
        Args:
            matrix: memory-mapped, say.
            row: of the matrix, of each caption or item.
        """
        self._matrix, self._row = np.asarray(matrix), row

    def __len__(self) -> int:
        return len(self._row)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> Tensor:
        """[n, D] float32."""
        return torch.from_numpy(self._matrix[self._row[rows]].astype(np.float32, copy=False))


def found(wanted: Sequence[str], known: Iterable[str], otherwise: str) -> NDArray[np.int64]:
    """Where in `known` each of `wanted` is; InputError of the first that is not there."""
    rows = places(wanted, known)
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        raise InputError(otherwise.format(wanted[int(missing[0])]))
    return rows
