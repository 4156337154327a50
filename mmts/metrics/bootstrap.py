"""Bootstrap intervals of a mean over queries, resampling media items with all their queries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def item_weights(items: int, resamples: int, seed: int | Sequence[int]) -> NDArray[np.float32]:
    """How often each item is drawn in each resample of the same size, [resamples, items]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(items, np.full(items, 1 / items), size=resamples).astype(np.float32)


def resampled_shares(
    weights: NDArray[np.float32], item: NDArray[np.int64], hits: NDArray[np.bool_] | Floats
) -> Floats:
    """Share of hits, or mean of another value, in each resample.

    Args:
        weights: [resamples, items] of `item_weights`.
        item: [Q], the media item of each query.
        hits: [Q, M], whether query q is a hit by metric m, or its value.

    Returns:
        [resamples, M]; NaN where a resample holds none of the queries.
    """
    items = weights.shape[1]
    queries = np.bincount(item, minlength=items).astype(np.float64)
    found = np.stack(
        [
            np.bincount(item, weights=column, minlength=items)
            for column in hits.T.astype(np.float64)
        ],
        axis=1,
    )
    drawn = weights.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares: Floats = (drawn @ found) / (drawn @ queries)[:, None]
    return shares


def interval(samples: Floats, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval of resampled values; resamples without queries are left out."""
    tail = (1 - level) / 2
    low, high = np.nanquantile(samples, [tail, 1 - tail])
    return float(low), float(high)
