"""Reads the tables of cells and clusterings; what is in them is as the report takes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmts.captions_table import read_captions
from mmts.clusters import read_clusters, read_shifts
from mmts.columns import Kind, check_columns
from mmts.embeddings import check_embedded, read_texts
from mmts.errors import InputError, first_line
from mmts.files import read_parquet
from mmts.kinds.measure import MeasureKind
from mmts.kinds.measure._checked import ROUNDING
from mmts.method import MAX_TAU
from mmts.reporting.facts import REMEDY

CURVES = ("step", "epoch", "loss", "tau_min", "tau_mean", "tau_max")
"""What curves.csv must have, beside what is measured and each loss term."""
TAUS = ["tau_min", "tau_mean", "tau_max"]
LARGEST = 1e39
"""Of a number of curves.csv, in magnitude: float32 has none above it."""


def read_curves(
    path: Path, measure: MeasureKind, *, learned: bool, terms: Iterable[str] = ()
) -> pd.DataFrame:
    """What a training has logged; a value that was not is NaN.

    Args:
        path: of curves.csv, whose seal was checked.
        measure: what was measured in validation.
        learned: whether the log alone knows tau.
        terms: loss terms, where there are several.

    Raises:
        InputError: it is no such table.
    """
    try:
        found = pd.read_csv(path)
    except (ValueError, OverflowError) as error:  # pandas' own are ValueErrors
        raise InputError(f"{path} is not a CSV file ({first_line(error)}); {REMEDY}") from None
    measured = [column for _, column in measure.curves]
    if not found.filter(regex="^val_").notna().any(axis=None):  # there is no validation split
        found = found.assign(**dict.fromkeys(measured, np.nan))
    needed = {*CURVES, *measured, *terms}
    missing = needed - set(found)
    if missing or not isinstance(found.index, pd.RangeIndex):
        what = f"lacks {min(missing)}" if missing else "has rows of several lengths"
        raise InputError(f"{path} {what}; {REMEDY}")
    if not found.empty:
        check_columns(found, {"step": "whole"}, path, REMEDY)
    for name, values in found.items():
        if len(values) and not _in_bounds(values, -LARGEST, LARGEST, gaps=True):
            raise InputError(f"{path}: {name} has what is no number; {REMEDY}")
    if learned and found[TAUS].dropna().empty:
        raise InputError(f"{path} has no tau, which the method learns; {REMEDY}")
    return found


def read_queries(path: Path, measure: MeasureKind, prefixes: Sequence[str] = ("",)) -> pd.DataFrame:
    """A row a query of a test; InputError where it is no such table.

    Args:
        path: of queries.parquet.
        measure: what gave its columns.
        prefixes: of those columns.
    """
    found = read_parquet(path, REMEDY)
    wanted: dict[str, Kind] = dict.fromkeys(
        ("source", "direction", "query_id", "sample_id", "part"), "text"
    )
    measured = {
        f"{prefix}{name}": column for prefix in prefixes for name, column in measure.columns.items()
    }
    check_columns(found, {**wanted, **{n: c.kind for n, c in measured.items()}}, path, REMEDY)
    for name, (_, low, high) in measured.items():
        if not _in_bounds(found[name], low - ROUNDING, high + ROUNDING):
            raise InputError(f"{path}: {name} has what is not from {low} to {high}; {REMEDY}")
    return found


def read_method_shifts(path: Path) -> pd.DataFrame:
    """`read_shifts` of a method: some cluster has training rows, and no shift is absurd."""
    found = read_shifts(path, REMEDY)
    if not (found["cluster_size"] > 0).any() or not _in_bounds(found["shift"], -MAX_TAU, MAX_TAU):
        raise InputError(
            f"{path} has no cluster of training rows, or a shift beyond {MAX_TAU:g}; {REMEDY}"
        )
    return found


def read_class_sizes(path: Path) -> NDArray[np.int64]:
    """The training rows of each class of a clustering by a column, falling; InputError if none."""
    table = read_clusters(path).drop_duplicates("cluster_id")
    sizes = np.sort(table["cluster_size"].to_numpy(dtype=np.int64))[::-1]
    if not (sizes > 0).any():
        raise InputError(f"{path} has no class of training rows; {REMEDY} -sf cluster")
    return sizes[sizes > 0]


def read_clustered(data: Path, name: str) -> pd.DataFrame:
    """The captions of a dataset, with `vector`, `cluster_id` and `cluster_size`.

    Raises:
        InputError: a file is missing or damaged, or they are not of the same captions.
    """
    captions = read_captions(data / "captions" / name)
    _, rows = read_texts(data / "embed" / name)
    check_embedded(captions, data / "embed" / name, rows)
    path = data / "cluster" / name / "default.parquet"
    clusters = read_clusters(path)
    places = pd.Index(clusters["caption_id"]).get_indexer(pd.Index(captions["caption_id"]))
    if (places < 0).any():
        lost = captions["caption_id"].iloc[int((places < 0).argmax())]
        raise InputError(f"{path}: caption {lost} has no cluster; run `dvc repro -sf cluster`")
    if len(clusters) != len(captions):
        raise InputError(
            f"{path} has {len(clusters):,} captions, but there are {len(captions):,}; run "
            "`dvc repro -sf cluster`"
        )
    if not (captions["split"] == "train").any():
        raise InputError(
            f"{data / 'captions' / name / 'captions.parquet'} has no training captions; run "
            "`dvc repro -sf captions`"
        )
    captions["vector"] = rows
    for column in ("cluster_id", "cluster_size"):
        captions[column] = clusters[column].to_numpy()[places]
    return captions


def _in_bounds(values: pd.Series, low: float, high: float, *, gaps: bool = False) -> bool:
    """Whether all are numbers in low..high; with `gaps` NaN too."""
    if values.dtype.kind not in "iuf":
        return False
    inside = values.between(low, high)
    return bool((inside | values.isna() if gaps else inside).all())
