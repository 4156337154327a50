"""Cluster sizes -> the shift of each cluster's temperature (Eq. 6)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mmts.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from mmts.kinds.shift import ShiftKind

Floats = NDArray[np.float64]


def cluster_shift(
    cluster_size: ArrayLike,
    *,
    size_min: float,
    size_max: float,
    shift_min: float,
    shift_max: float,
    mapping: str | ShiftKind = "linear",
    sizes: ArrayLike | None = None,
) -> float | Floats:
    """Shift of clusters with `cluster_size` samples, linear in the size (Eq. 6, arXiv 2603.08202).

    The smallest cluster gets `shift_min`, the largest `shift_max`. Where all clusters have one
    size, Eq. 6 divides by zero: then the shift is the middle of the range, with a warning unless
    the range has no width.

    The other mappings are not the paper's. In a long tail one cluster is many times larger than
    most, so that Eq. 6 gives nearly all clusters about the smallest shift, and only the few
    largest the rest of the range. "log" is linear in the logarithm of the size. "rank" is linear
    in the rank of the cluster by size, so that the clusters spread evenly over the range whatever
    their sizes; clusters of one size share their mean rank.

    Args:
        cluster_size: samples in the cluster, a number or an array of any shape.
        size_min, size_max: smallest and largest cluster of the training split.
        shift_min, shift_max: sh- and sh+ of the paper, in units of tau.
        mapping: linear (Eq. 6), log or rank, or another of `mmts.kinds.shift`.
        sizes: of all training clusters; only `rank` needs them. A size between two of them is
            interpolated.

    Returns:
        A float for a number, else a float64 array of the same shape.

    Raises:
        InputError: a size outside [size_min, size_max], shift_min > shift_max, a value that is
            not finite, an unknown mapping, sizes that it cannot use, or a mapping that leaves the
            range.
    """
    size = np.asarray(cluster_size, dtype=np.float64)
    _check(size, size_min, size_max, shift_min, shift_max)
    if size_max > size_min:
        place = _place(size, size_min, size_max, mapping, sizes)
        shift = place * (shift_max - shift_min) + shift_min
        shift = np.where(place > 1 - 1e-12, shift_max, shift)
    else:
        if shift_max > shift_min:
            warnings.warn(
                f"all clusters have {size_min:g} samples, so that Eq. 6 has no spread to map: "
                f"every shift is the middle of {shift_min}..{shift_max}",
                stacklevel=2,
            )
        shift = np.full(size.shape, (shift_min + shift_max) / 2)
    return float(shift) if size.ndim == 0 else shift


def _check(
    size: Floats, size_min: float, size_max: float, shift_min: float, shift_max: float
) -> None:
    bounds = np.array([size_min, size_max, shift_min, shift_max], dtype=np.float64)
    if not np.isfinite(bounds).all():
        raise InputError(
            f"size_min, size_max, shift_min, shift_max are {bounds}; all must be finite"
        )
    if shift_min > shift_max:
        raise InputError(f"shift_min {shift_min} is above shift_max {shift_max}; swap them")
    outside = ~((size >= size_min) & (size <= size_max))
    if outside.any():
        first = np.atleast_1d(size)[np.atleast_1d(outside)][0]
        raise InputError(
            f"cluster_size {first} is outside {size_min}..{size_max}, the sizes of the training "
            "split; give size_min and size_max of the same clustering"
        )


def _place(
    size: Floats, size_min: float, size_max: float, mapping: str | ShiftKind,
    sizes: ArrayLike | None,
) -> Floats:  # fmt: skip
    """Where a cluster stands between shift_min (0) and shift_max (1)."""
    from mmts.kinds.shift import SHIFTS

    if not isinstance(mapping, SHIFTS.base) and mapping not in SHIFTS.kinds:
        raise InputError(f"mapping is {mapping!r}; there are: {', '.join(SHIFTS.kinds)}")
    kind = SHIFTS.validated(mapping)
    known = None if sizes is None else np.asarray(sizes, dtype=np.float64)
    place = np.asarray(kind.place(size, size_min=size_min, size_max=size_max, sizes=known))
    outside = ~((place >= -1e-9) & (place <= 1 + 1e-9))
    if outside.any():
        raise InputError(
            f"the shift {kind.kind} puts a cluster at {place[outside][0]:.6g}; mend its `place`, "
            "which must be from 0 (shift_min) to 1 (shift_max)"
        )
    return place


def shift_table(
    clusters: pd.DataFrame, *, shift_min: float, shift_max: float,
    mapping: str | ShiftKind = "linear",
) -> pd.DataFrame:  # fmt: skip
    """The shift table of one clustering: a row a cluster that has training rows.

    Args:
        clusters: columns `cluster_id`, `cluster_size` (a row a caption, any order).
        shift_min, shift_max, mapping: as in `cluster_shift`.

    Returns:
        Columns `cluster_id` (int32), `cluster_size` (int64), `shift` (float64), by cluster_id.

    Raises:
        InputError: no cluster has a training row, or one has two sizes.
    """
    table = clusters[["cluster_id", "cluster_size"]].drop_duplicates().sort_values("cluster_id")
    table = table[table["cluster_size"] > 0].reset_index(drop=True)
    if table.empty:
        raise InputError("no cluster has a training row; the clustering is empty")
    twice = table.loc[table["cluster_id"].duplicated(), "cluster_id"]
    if len(twice):
        raise InputError(
            f"cluster {twice.iloc[0]} has more than one size; run `dvc repro -sf cluster`"
        )
    size = table["cluster_size"].to_numpy()
    return table.assign(
        shift=cluster_shift(
            size,
            size_min=float(size.min()),
            size_max=float(size.max()),
            shift_min=shift_min,
            shift_max=shift_max,
            mapping=mapping,
            sizes=size,
        )
    )
