"""How far two methods are apart, with a paired bootstrap over queries and seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmts.errors import InputError
from mmts.reporting.measure import Measure

Array = NDArray[Any]
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


def paired_difference(
    measure: Measure,
    method: Sequence[pd.DataFrame],
    baseline: Sequence[pd.DataFrame],
    *,
    resamples: int,
    seed: int,
    part: str | None = None,
) -> Interval | None:
    """The measure of `method` minus that of `baseline`, in percent points, with 95 % bounds.

    Both are the queries of one source, a table a seed in the same order of seeds. All queries
    of a unit (with recalls, a media item) move together, and both methods get the same draws.
    With `part` only the queries of that part count; None is returned where it has none.
    """
    units = pd.Index(np.unique(measure.unit(method[0])))
    if part is not None:
        method = [queries[queries["part"] == part] for queries in method]
        baseline = [queries[queries["part"] == part] for queries in baseline]
    counts = _query_counts(measure, method[0], units)
    for queries in (*method[1:], *baseline):
        if not np.array_equal(_query_counts(measure, queries, units), counts):
            raise InputError("two cells were evaluated on different queries; run dvc repro")
    if not counts.any(axis=0).all():
        return None
    pairs = zip(method, baseline, strict=True)
    gains = np.stack([_sums(measure, a, units) - _sums(measure, b, units) for a, b in pairs])
    percent = 100 * measure.factor
    draws = np.concatenate(
        [
            _resampled(gains, counts, unit_weights, seed_weights)
            for unit_weights, seed_weights in weights(len(units), len(gains), resamples, seed)
        ]
    )
    low, high = np.nanquantile(percent * draws, [0.025, 0.975])
    once, even = np.ones((1, len(units))), np.full((1, len(gains)), 1 / len(gains))
    value = percent * _resampled(gains, counts, once, even)[0]
    return Interval(float(value), float(low), float(high))


def weights(units: int, seeds: int, resamples: int, seed: int) -> Iterator[tuple[Array, Array]]:
    """How often each resample draws each unit ([B, units]) and each seed's share ([B, seeds]).

    Handed out in chunks, so that many units and resamples need little memory.
    """
    of_units, of_seeds = np.random.default_rng(seed).spawn(2)
    chunk = max(1, CHUNK // units)
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = of_units.multinomial(units, np.full(units, 1 / units), size=size)
        shares = of_seeds.multinomial(seeds, np.full(seeds, 1 / seeds), size=size) / seeds
        yield drawn.astype(np.float64), shares


def _resampled(gains: Array, counts: Array, unit_weights: Array, seed_weights: Array) -> Array:
    """The difference of each resample as a sum of means, [B]; NaN where a direction drew none."""
    queries = unit_weights @ counts  # [B, 2]
    queries[queries == 0] = np.nan
    gained = sum(seed_weights[:, s, None] * (unit_weights @ gain) for s, gain in enumerate(gains))
    means = gained / np.repeat(queries, gains.shape[2] // len(DIRECTIONS), axis=1)
    result: Array = means.sum(axis=1)
    return result


def _query_counts(measure: Measure, queries: pd.DataFrame, units: pd.Index) -> Array:
    """How many queries a unit has in each direction, [units, 2]."""
    return _per_unit(measure, queries, units, np.ones((len(queries), 1)))


def _sums(measure: Measure, queries: pd.DataFrame, units: pd.Index) -> Array:
    """The summed numbers of a unit's queries in each direction, [units, 2 x columns]."""
    return _per_unit(measure, queries, units, measure.of_query(queries))


def _per_unit(measure: Measure, queries: pd.DataFrame, units: pd.Index, numbers: Array) -> Array:
    rows = units.get_indexer(pd.Index(measure.unit(queries)))
    if (rows < 0).any():
        raise InputError("two cells were evaluated on different media items; run dvc repro")
    marks = [(queries["direction"] == d).to_numpy() for d in DIRECTIONS]
    columns = [
        np.bincount(rows[mark], weights=column[mark], minlength=len(units))
        for mark in marks
        for column in numbers.T
    ]
    return np.stack(columns, axis=1).astype(np.float64)
