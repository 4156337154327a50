"""Long-tailed training splits, drawn from a whole one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mmts.errors import InputError

Ints = NDArray[np.int64]


def tail_sizes(available: Ints, ratio: float, largest_ratio: float) -> Ints:
    """How many items to draw of each class, so that sizes fall as a power of their rank (Pareto).

    The class of rank r (1 the largest) has a share of r^-g, where g makes the first `ratio` times
    as large as the last. The total is the same for all ratios: the most that `largest_ratio` and
    every ratio below it allow.

    Args:
        available: [C], items of each class, the largest first.
        ratio: of the largest to the smallest, from 1 (all alike) to `largest_ratio`.
        largest_ratio: see above.

    Raises:
        InputError: a ratio outside the range, or one that leaves a class without an item.
    """
    if not 1 <= ratio <= largest_ratio:
        raise InputError(
            f"imbalance is {ratio:g}; it must be from 1 to tail.largest_ratio, {largest_ratio:g}"
        )
    total = min(_total(available, r) for r in np.geomspace(1, largest_ratio, 32))
    shares = _shares(len(available), ratio)
    sizes: Ints = np.floor(shares / shares.sum() * total + 1e-9).astype(np.int64)
    sizes = np.minimum(sizes, available)  # a ratio between two of those may allow one item less
    if sizes.min() < 1:
        raise InputError(
            f"imbalance {ratio:g} leaves a class of {len(available)} without an item of "
            f"{int(total)}; lower it, or tail.classes"
        )
    return sizes


def _shares(classes: int, ratio: float) -> NDArray[np.float64]:
    power = math.log(ratio) / math.log(classes)
    shares: NDArray[np.float64] = np.arange(1, classes + 1, dtype=np.float64) ** -power
    return shares


def _total(available: Ints, ratio: float) -> float:
    """The most items that can be drawn in these shares."""
    shares = _shares(len(available), ratio)
    return float((available * shares.sum() / shares).min())


def drawn(of_item: Ints, sizes: Ints, seed: int) -> Ints:
    """Numbers of the drawn items in order: of each class so many, without replacement.

    Args:
        of_item: [items], each one's class; classes are numbered from the largest.
        sizes: [C], of `tail_sizes`.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(of_item == c) for c in range(len(sizes))]
    picks = [rng.choice(own, n, replace=False) for own, n in zip(members, sizes, strict=True)]
    return np.sort(np.concatenate(picks))
