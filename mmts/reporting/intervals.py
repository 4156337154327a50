"""How far two methods are apart: tables of queries, made into arrays for the bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmts.errors import InputError
from mmts.kinds.measure import DIRECTIONS, MeasureKind
from mmts.metrics.bootstrap import paired_interval

Array = NDArray[Any]


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % bounds."""

    value: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether zero lies outside the bounds as they are shown, with one decimal.

        Their last digits are those of the draws, so a bound nearer to zero tells nothing.
        """
        return round(self.low, 1) > 0 or round(self.high, 1) < 0

    @property
    def above(self) -> bool:
        """Whether it is clear and above zero."""
        return self.clear and self.value > 0

    @property
    def below(self) -> bool:
        """Whether it is clear and below zero."""
        return self.clear and self.value < 0


def paired_difference(
    measure: MeasureKind,
    method: Sequence[pd.DataFrame],
    baseline: Sequence[pd.DataFrame] | None,
    *,
    resamples: int,
    seed: int,
    part: str | None = None,
) -> Interval | None:
    """The measure of `method` minus that of `baseline`, in percent points, with 95 % bounds.

    Both are the queries of one source, a table a seed in the same order of seeds. All queries
    of a unit (with recalls, a media item) move together, and both methods get the same draws
    (`mmts.metrics.bootstrap.paired_interval`). Without a baseline the measure of `method` itself is
    bounded. With `part` only the queries of that part count;
    None is returned where it has none in a direction.
    """
    units = pd.Index(np.unique(_unit(measure, method[0])))
    if part is not None:
        method = [queries[queries["part"] == part] for queries in method]
        baseline = baseline and [queries[queries["part"] == part] for queries in baseline]
    counts = _query_counts(measure, method[0], units)
    for queries in (*method[1:], *(baseline or ())):
        if not np.array_equal(_query_counts(measure, queries, units), counts):
            raise InputError("two cells were evaluated on different queries; run dvc repro")
    if not counts.any(axis=0).all():
        return None
    gains = np.stack([_sums(measure, queries, units) for queries in method])
    if baseline is not None:
        gains -= np.stack([_sums(measure, queries, units) for queries in baseline])
    bounds = paired_interval(gains, counts, resamples=resamples, seed=seed)
    factor = measure.to_percent(measure.first) * measure.totals[measure.first].factor
    return Interval(*(factor * bound for bound in bounds))


def _query_counts(measure: MeasureKind, queries: pd.DataFrame, units: pd.Index) -> Array:
    """How many queries a unit has in each direction, [units, 2]."""
    return _per_unit(measure, queries, units, np.ones((len(queries), 1)))


def _sums(measure: MeasureKind, queries: pd.DataFrame, units: pd.Index) -> Array:
    """The summed numbers of a unit's queries in each direction, [units, 2 x columns]."""
    numbers = measure.numbers({name: queries[name] for name in measure.columns})
    summed = [numbers[metric] for metric in measure.totals[measure.first].metrics]
    return _per_unit(measure, queries, units, np.stack(summed, axis=1))


def _unit(measure: MeasureKind, queries: pd.DataFrame) -> Array:
    """The name of what each query is drawn with."""
    if measure.by_item:
        return queries["sample_id"].to_numpy(dtype=str)
    return (queries["direction"] + " " + queries["query_id"]).to_numpy(dtype=str)


def _per_unit(
    measure: MeasureKind, queries: pd.DataFrame, units: pd.Index, numbers: Array
) -> Array:
    rows = units.get_indexer(pd.Index(_unit(measure, queries)))
    if (rows < 0).any():
        raise InputError("two cells were evaluated on different media items; run dvc repro")
    marks = [(queries["direction"] == d).to_numpy() for d in DIRECTIONS]
    columns = [
        np.bincount(rows[mark], weights=column[mark], minlength=len(units))
        for mark in marks
        for column in numbers.T
    ]
    return np.stack(columns, axis=1).astype(np.float64)
