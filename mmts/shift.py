"""Cluster sizes -> the shift of each cluster's temperature (Eq. 6)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mmts.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Mapping = Literal["linear", "log", "rank"]


def cluster_shift(
    cluster_size: ArrayLike,
    *,
    size_min: float,
    size_max: float,
    shift_min: float,
    shift_max: float,
    mapping: Mapping = "linear",
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
        mapping: linear (Eq. 6), log or rank.
        sizes: of all training clusters; only `rank` needs them. A size between two of them is
            interpolated.

    Returns:
        A float for a number, else a float64 array of the same shape.

    Raises:
        InputError: a size outside [size_min, size_max], shift_min > shift_max, a value that is
            not finite, an unknown mapping, or sizes that it cannot use.
    """
    size = np.asarray(cluster_size, dtype=np.float64)
    _check(size, size_min, size_max, shift_min, shift_max)
    if size_max > size_min:
        place = _place(size, size_min, size_max, mapping, sizes)
        shift = place * (shift_max - shift_min) + shift_min
        shift = np.where(size == size_max, shift_max, shift)
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
    size: Floats, size_min: float, size_max: float, mapping: str, sizes: ArrayLike | None
) -> Floats:
    """Where a cluster stands between the smallest (0) and the largest (1)."""
    if mapping == "linear":
        return (size - size_min) / (size_max - size_min)
    if mapping == "log":
        if size_min <= 0:
            raise InputError(f"size_min is {size_min}; mapping log needs sizes above 0")
        place: Floats = np.log(size / size_min) / np.log(size_max / size_min)
        return place
    if mapping == "rank":
        return _rank(size, size_min, size_max, sizes)
    raise InputError(f"mapping is {mapping!r}; there are: linear, log, rank")


def _rank(size: Floats, size_min: float, size_max: float, sizes: ArrayLike | None) -> Floats:
    """Mean rank of the clusters of each size, the smallest's at 0 and the largest's at 1."""
    if sizes is None:
        raise InputError("mapping rank needs sizes, those of all training clusters; give them")
    known, counts = np.unique(np.asarray(sizes, dtype=np.float64), return_counts=True)
    if not len(known) or known[0] != size_min or known[-1] != size_max:
        ends = f"{known[0]:g}..{known[-1]:g}" if len(known) else "empty"
        raise InputError(
            f"sizes are {ends}, but size_min and size_max are {size_min:g} and {size_max:g}; give "
            "those of the same clustering"
        )
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    place: Floats = np.interp(
        size, known, (mean_rank - mean_rank[0]) / (mean_rank[-1] - mean_rank[0])
    )
    return place


def shift_table(
    clusters: pd.DataFrame, *, shift_min: float, shift_max: float, mapping: Mapping = "linear"
) -> pd.DataFrame:
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
