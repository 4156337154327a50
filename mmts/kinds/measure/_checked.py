"""What a measure gives, and what it says of itself, checked."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmts.errors import InputError, known
from mmts.metrics.scores import Both

if TYPE_CHECKING:
    from mmts.kinds.measure import Column, MeasureKind
    from mmts.search import Search

ROUNDING = 1e-6
"""How far a number may lie outside of the bounds of its column."""


def check_values(measure: MeasureKind, found: object, search: Search) -> dict[str, Both]:
    """Return what a measure's `values` gave, as arrays.

    Raises:
        InputError: it is not a number of each caption and of each media item, for each column.
    """
    if not isinstance(found, dict) or set(found) != set(measure.columns):
        gave = ", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__
        wanted = ", ".join(measure.columns)
        raise _wrong(measure, f"`values` gives {gave or 'nothing'}; give {wanted}, as in columns")
    counts = {"t2v": (len(search.captions), "caption"), "v2t": (len(search.items), "media item")}
    checked = {}
    for name, column in measure.columns.items():
        both = found[name]
        if not isinstance(both, Both):
            problem = f"{name} that `values` gives is a {type(both).__name__}"
            raise _wrong(measure, f"{problem}; give Both(t2v, v2t)")
        arrays = {}
        for direction, (count, query) in counts.items():
            arrays[direction] = array = np.asarray(getattr(both, direction))
            what = f"{direction} of {name} that `values` gives"
            if array.shape != (count,):
                raise _wrong(
                    measure, f"{what} has the shape {array.shape}; give ({count},), a {query} each"
                )
            _check_bounds(measure, what, array, column)
        checked[name] = Both(**arrays)
    return checked


def _check_bounds(measure: MeasureKind, what: str, array: NDArray[Any], column: Column) -> None:
    if array.dtype.kind not in ("iu" if column.kind == "whole" else "iuf"):
        kind = "whole numbers" if column.kind == "whole" else "numbers"
        raise _wrong(measure, f"{what} is of type {array.dtype}; give {kind}, as its Column says")
    inside = (array >= column.low - ROUNDING) & (array <= column.high + ROUNDING)
    bad = np.flatnonzero(~(inside & np.isfinite(array)))
    if len(bad):
        raise _wrong(
            measure,
            f"{what} has {array[bad[0]]}; give finite numbers from {column.low:g} to "
            f"{column.high:g}, as its Column says",
        )


def check_numbers(measure: MeasureKind, found: object, count: int) -> dict[str, NDArray[Any]]:
    """Return what a measure's `numbers` gave of `count` queries.

    Raises:
        InputError: it is not a finite number of each query, for each metric.
    """
    if not isinstance(found, dict) or not found:
        raise _wrong(measure, "`numbers` gives no mapping of metrics; give a number of each query")
    arrays = {metric: np.asarray(of_query) for metric, of_query in found.items()}
    for metric, array in arrays.items():
        what = f"{metric} that `numbers` gives"
        if array.shape != (count,):
            problem = f"has the shape {array.shape}"
            raise _wrong(measure, f"{what} {problem}; give ({count},), a query each")
        if array.dtype.kind not in "iufb":
            raise _wrong(measure, f"{what} is of type {array.dtype}; give float64")
        if not np.isfinite(array).all():
            raise _wrong(
                measure, f"{what} has {array[~np.isfinite(array)][0]}; give finite numbers"
            )
    return arrays


def check_facts(measure: MeasureKind) -> None:
    """Raise InputError if a measure names a number that it does not give.

    What it gives is tried on two queries.
    """
    import pandas as pd

    from mmts.kinds.measure import DIRECTIONS

    sample = {name: _sample(column) for name, column in measure.columns.items()}
    queries = pd.DataFrame(sample)
    metrics = list(check_numbers(measure, measure.numbers(sample), len(queries)))
    for total, (summed, _) in measure.totals.items():
        _among(measure, f"totals[{total!r}] sums", summed, metrics)
    means = [measure.key(metric, d) for metric in metrics for d in DIRECTIONS] + [*measure.totals]
    twice = [key for n, key in enumerate(means) if key in means[:n]]
    if twice:
        raise _wrong(measure, f"two of its numbers have the key {twice[0]}; tell them apart in key")
    counts = [key for d in DIRECTIONS for key in measure.counts(queries.assign(direction=d), d)]
    bounds = [f"{key}/{end}" for key in means for end in ("low", "high")]
    shown = [*means, *counts]
    every = {*shown, *bounds}
    _among(measure, "first is", [measure.first], measure.totals)
    _among(measure, "validated has", measure.validated.values(), means)
    _among(measure, "drawn has", measure.drawn, measure.validated)
    _among(measure, "by_part has", [key for _, key in measure.by_part], shown)
    overall = [key for _, columns in measure.overall for _, key in columns]
    _among(measure, "overall has", set(overall) - every, shown)
    _among(measure, "told has", {key for key, _ in measure.told.keys} - every, shown)
    headline = [key for key in measure.headline.values() if key.partition("/")[2] not in every]
    _among(measure, "headline has", set(headline) - every, shown)  # a group may stand before it
    parts = {part: None for key in shown for part in key.split("/")}
    _among(measure, "points has", measure.points, parts)


def _sample(column: Column) -> NDArray[Any]:
    """Two numbers within the bounds of a column, at no end where there is room."""
    low = column.low if np.isfinite(column.low) else min(column.high, 2.0) - 2
    high = column.high if np.isfinite(column.high) else low + 2
    whole = column.kind == "whole"
    return np.full(2, (low + high) // 2 if whole else (low + high) / 2, np.int64 if whole else None)


def _among(measure: MeasureKind, what: str, names: Iterable[str], there: Collection[str]) -> None:
    for name in sorted(names):
        if name not in there:
            raise _wrong(measure, f"{what} {name}, which is none; {known(name, there)}")


def _wrong(measure: MeasureKind, problem: str) -> InputError:
    return InputError(f"mmts/kinds/measure/{measure.kind}.py: {problem}")
