"""How far two methods are apart, with a paired bootstrap over media items and seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmts.errors import InputError

Array = NDArray[Any]
KS = (1, 5, 10)
CHUNK = 4_000_000  # numbers drawn at once
DIRECTIONS = ("t2v", "v2t")


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % bounds."""

    value: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether zero lies outside the bounds."""
        return self.low > 0 or self.high < 0


def rsum_difference(
    method: Sequence[pd.DataFrame],
    baseline: Sequence[pd.DataFrame],
    *,
    resamples: int,
    seed: int,
    part: str | None = None,
) -> Interval | None:
    """rsum of `method` minus rsum of `baseline`, in percent points, with 95 % bounds.

    Both are the queries of one source, a table a seed in the same order of seeds. All
    queries of a media item move together, and both methods get the same draws. With
    `part` only the queries of that part count; None is returned where it has none.
    """
    items = pd.Index(np.unique(method[0]["sample_id"].to_numpy(dtype=str)))
    if part is not None:
        method = [queries[queries["part"] == part] for queries in method]
        baseline = [queries[queries["part"] == part] for queries in baseline]
    counts = _query_counts(method[0], items)
    for queries in (*method[1:], *baseline):
        if not np.array_equal(_query_counts(queries, items), counts):
            raise InputError("two cells were evaluated on different queries; run dvc repro")
    if not counts.any(axis=0).all():
        return None
    pairs = zip(method, baseline, strict=True)
    gains = np.stack([_hits(new, items) - _hits(old, items) for new, old in pairs])
    draws = np.concatenate(
        [
            _resampled(gains, counts, item_weights, seed_weights)
            for item_weights, seed_weights in weights(len(items), len(gains), resamples, seed)
        ]
    )
    low, high = np.nanquantile(draws, [0.025, 0.975])
    once, even = np.ones((1, len(items))), np.full((1, len(gains)), 1 / len(gains))
    value = _resampled(gains, counts, once, even)[0]
    return Interval(float(value), float(low), float(high))


def weights(items: int, seeds: int, resamples: int, seed: int) -> Iterator[tuple[Array, Array]]:
    """How often each resample draws each item ([B, items]) and each seed's share ([B, seeds]).

    Handed out in chunks, so that many items and resamples need little memory.
    """
    of_items, of_seeds = np.random.default_rng(seed).spawn(2)
    chunk = max(1, CHUNK // items)
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = of_items.multinomial(items, np.full(items, 1 / items), size=size)
        shares = of_seeds.multinomial(seeds, np.full(seeds, 1 / seeds), size=size) / seeds
        yield drawn.astype(np.float64), shares


def _resampled(gains: Array, counts: Array, item_weights: Array, seed_weights: Array) -> Array:
    """The rsum difference of each resample, [B]; NaN where a direction drew no query."""
    queries = item_weights @ counts  # [B, 2]
    queries[queries == 0] = np.nan
    gained = sum(seed_weights[:, s, None] * (item_weights @ gain) for s, gain in enumerate(gains))
    recalls = gained / np.repeat(queries, len(KS), axis=1)  # [B, 6]
    result: Array = 100 * recalls.sum(axis=1)
    return result


def _query_counts(queries: pd.DataFrame, items: pd.Index) -> Array:
    """How many queries an item has in each direction, [items, 2]."""
    return _per_item(queries, items, [queries["direction"] == d for d in DIRECTIONS])


def _hits(queries: pd.DataFrame, items: pd.Index) -> Array:
    """How many of an item's queries hit, for each direction and k, [items, 6]."""
    return _per_item(
        queries,
        items,
        [(queries["direction"] == d) & (queries["rank"] <= k) for d in DIRECTIONS for k in KS],
    )


def _per_item(queries: pd.DataFrame, items: pd.Index, marks: list[Any]) -> Array:
    rows = items.get_indexer(pd.Index(queries["sample_id"].to_numpy(dtype=str)))
    if (rows < 0).any():
        raise InputError("two cells were evaluated on different media items; run dvc repro")
    columns = [np.bincount(rows[mark.to_numpy()], minlength=len(items)) for mark in marks]
    return np.stack(columns, axis=1).astype(np.float64)
