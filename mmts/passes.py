"""Passes over many vectors where they are: K-Means' sums, labels and distances, block by block.

One thread works on a part of the rows, in blocks whose product with the centroids is small. Parts
have one size and their sums are added in their order, so the result does not depend on the number
of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mmts.errors import InputError

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]
Numbers = NDArray[np.float64]
Blocks = Iterator[tuple[slice, Vectors]]
T = TypeVar("T")

BLOCK_ROWS = 1024
PART_ROWS = 16 * BLOCK_ROWS
LARGEST = 1e12
"""In magnitude. float32, up to 3e38, holds 1e9 squared distances of vectors of up to 8e4 such
numbers."""


def refuse_useless(vectors: Vectors) -> None:
    """InputError where a number is not finite, or has squares that float32 cannot add up."""
    for start in range(0, len(vectors), BLOCK_ROWS):
        block = vectors[start : start + BLOCK_ROWS]
        if block.max() <= LARGEST and block.min() >= -LARGEST:  # neither if one is NaN
            continue
        row, column = np.argwhere(~(np.abs(block) <= LARGEST))[0]
        number = block[row, column]
        fault = (
            f"{number:.3g} in it, more than {LARGEST:.0e} in magnitude"
            if np.isfinite(number)
            else "a number that is not finite"
        )
        raise InputError(
            f"vector {start + row} of those to cluster has {fault}; embed again "
            "(`dvc repro -sf embed`), with another model if it stays so"
        )


class Passes:
    """Passes over `vectors[rows]`: each reads every row once and holds a block a thread."""

    def __init__(self, vectors: Vectors, rows: Rows, weight: Rows, pool: Executor) -> None:
        self.vectors, self.rows, self.pool = vectors, rows, pool
        self.weight = weight.astype(np.float64)
        total = np.zeros((2, vectors.shape[1]))
        for part in self._parts(self._powers):
            total += part
        mean, square = total / max(len(rows), 1)
        self.mean = mean.astype(np.float32)
        self.variance = float((square - mean**2).mean())  # of a column, on average

    def _parts(self, work: Callable[[Blocks], T]) -> Iterator[T]:
        return self.pool.map(lambda n: work(self._blocks(n)), range(0, len(self.rows), PART_ROWS))

    def _blocks(self, first: int) -> Blocks:
        for begin in range(first, min(first + PART_ROWS, len(self.rows)), BLOCK_ROWS):
            rows = self.rows[begin : begin + BLOCK_ROWS]
            gapless = rows[-1] - rows[0] < len(rows)
            block = self.vectors[rows[0] : rows[-1] + 1] if gapless else self.vectors[rows]
            yield slice(begin, begin + len(rows)), block

    def _powers(self, blocks: Blocks) -> Numbers:
        total = np.zeros((2, self.vectors.shape[1]))
        for _, block in blocks:
            x = block.astype(np.float64)
            total += x.sum(axis=0), np.einsum("nd,nd->d", x, x)
        return total

    def assign(self, centroids: Numbers, labels: Rows) -> tuple[Numbers, Numbers, int]:
        """Write each row's nearest centroid into labels.

        Returns:
            The weighted sum of each cluster's rows, its weight, and how many labels changed.
        """
        from scipy.sparse import csc_array

        k = len(centroids)
        centred = centroids - self.mean  # as the rows are below: products round less then
        offset = ((centred**2).sum(axis=1) / 2).astype(np.float32)
        turned = centred.astype(np.float32).T

        def work(blocks: Blocks) -> tuple[Numbers, Numbers, int]:
            sums, size, moved = np.zeros_like(centroids), np.zeros(k), 0
            product = np.empty((BLOCK_ROWS, k), np.float32)
            for at, block in blocks:
                x = block - self.mean
                score = np.matmul(x, turned, out=product[: len(x)])
                score -= offset
                nearest = score.argmax(axis=1).astype(np.int32)
                moved += int(np.count_nonzero(nearest != labels[at]))
                labels[at] = nearest
                weight = self.weight[at]
                column = np.arange(len(x) + 1, dtype=np.int32)
                by_cluster = (weight.astype(np.float32), nearest, column)
                sums += csc_array(by_cluster, shape=(k, len(x))) @ x
                size += np.bincount(nearest, weight, minlength=k)
            return sums, size, moved

        sums, size, moved = np.zeros_like(centroids), np.zeros(k), 0
        for part in self._parts(work):
            sums += part[0]
            size += part[1]
            moved += part[2]
        return sums + size[:, None] * self.mean, size, moved

    def distances(self, centroids: Numbers, labels: Rows) -> Vectors:
        """Squared distance of each row to its centroid."""
        away, narrow = np.empty(len(self.rows), np.float32), centroids.astype(np.float32)

        def work(blocks: Blocks) -> None:
            for at, x in blocks:
                difference = x - narrow[labels[at]]
                np.einsum("nd,nd->n", difference, difference, out=away[at])

        for _ in self._parts(work):
            pass
        return away
