"""Cluster sizes -> the shift of each cluster's temperature (Eq. 6)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mmts.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def cluster_shift(
    cluster_size: ArrayLike,
    *,
    size_min: float,
    size_max: float,
    shift_min: float,
    shift_max: float,
) -> float | NDArray[np.float64]:
    """Shift of clusters with `cluster_size` samples, linear in the size (Eq. 6, arXiv 2603.08202).

    The smallest cluster gets `shift_min`, the largest `shift_max`. Where all clusters have one
    size, Eq. 6 divides by zero: then the shift is the middle of the range, with a warning unless
    the range has no width.

    Args:
        cluster_size: samples in the cluster, a number or an array of any shape.
        size_min, size_max: smallest and largest cluster of the training split.
        shift_min, shift_max: sh- and sh+ of the paper, in units of tau.

    Returns:
        A float for a number, else a float64 array of the same shape.

    Raises:
        InputError: a size outside [size_min, size_max], or shift_min > shift_max, or a
            value that is not finite.
    """
    size = np.asarray(cluster_size, dtype=np.float64)
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
    if size_max > size_min:
        shift = (size - size_min) / (size_max - size_min) * (shift_max - shift_min) + shift_min
    else:
        if shift_max > shift_min:
            warnings.warn(
                f"all clusters have {size_min:g} samples, so that Eq. 6 has no spread to map: "
                f"every shift is the middle of {shift_min}..{shift_max}",
                stacklevel=2,
            )
        shift = np.full(size.shape, (shift_min + shift_max) / 2)
    return float(shift) if size.ndim == 0 else shift


def shift_table(clusters: pd.DataFrame, *, shift_min: float, shift_max: float) -> pd.DataFrame:
    """The shift table of one clustering: a row a cluster that has training rows.

    Args:
        clusters: columns `cluster_id`, `cluster_size` (a row a caption, any order).
        shift_min, shift_max: as in `cluster_shift`.

    Returns:
        Columns `cluster_id` (int32), `cluster_size` (int64), `shift` (float64), by cluster_id.
    """
    table = clusters[["cluster_id", "cluster_size"]].drop_duplicates().sort_values("cluster_id")
    table = table[table["cluster_size"] > 0].reset_index(drop=True)
    if table.empty:
        raise InputError("no cluster has a training row; the clustering is empty")
    size = table["cluster_size"].to_numpy()
    return table.assign(
        shift=cluster_shift(
            size,
            size_min=float(size.min()),
            size_max=float(size.max()),
            shift_min=shift_min,
            shift_max=shift_max,
        )
    )
