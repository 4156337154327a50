"""Vectors to cluster in a Parquet file: a row a media item or a caption, from any model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmts.columns import check_columns
from mmts.errors import InputError
from mmts.files import output_file, read_parquet

Ids = Literal["sample_id", "caption_id"]
NONE = -1
"""Row of a caption without a vector."""
AGAIN = "write it again with `python -m stages.features`"
Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]


def write_features(
    path: Path, column: Ids, ids: Iterable[str], vectors: Vectors, without: Iterable[str] = ()
) -> None:
    """Write a file that `read_features` reads.

    Args:
        path: of the file.
        column: what the ids are of.
        ids: one a vector.
        vectors: [N, D].
        without: ids that have no vector, such as those of clips that were lost in packing.
    """
    ids, without = list(ids), list(without)
    found = [*vectors.astype(np.float32), *(None for _ in without)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with output_file(path) as work:
        pd.DataFrame({column: [*ids, *without], "vector": found}).to_parquet(work, index=False)


def read_features(path: Path, captions: pd.DataFrame) -> tuple[Vectors, Rows]:
    """Return unit vectors, and for each row of the captions table which one it has, or NONE.

    Args:
        path: of a Parquet file with `sample_id` or `caption_id`, and `vector`, lists of numbers of
            one length; null where there is none.
        captions: the captions table.

    Raises:
        InputError: the file is missing or no such file, an id is unknown, missing or repeated, or
            vectors are of several lengths or hold no finite numbers.
    """
    table = read_parquet(path, AGAIN, ours=False)
    column = _id_column(table, path)
    check_columns(table, {column: "text"}, path, AGAIN)
    if "vector" not in table:
        raise InputError(f"{path} lacks vector; {AGAIN}")
    ids, wanted = table[column], captions[column]
    _check_ids(ids, wanted, column, path)
    there = table["vector"].notna().to_numpy()
    vectors = _stacked(table[there], column, path)
    row = np.full(len(table), NONE)
    row[there] = np.arange(there.sum())
    return vectors, row[pd.Index(ids).get_indexer(pd.Index(wanted))].astype(np.int64)


def _id_column(table: pd.DataFrame, path: Path) -> Ids:
    there: list[Ids] = [name for name in ("sample_id", "caption_id") if name in table]
    if len(there) != 1:
        found = "both" if there else "neither"
        raise InputError(
            f"{path} has {found} of sample_id and caption_id, and one tells whose vectors they "
            f"are; {AGAIN}"
        )
    return there[0]


def _check_ids(ids: pd.Series, wanted: pd.Series, column: Ids, path: Path) -> None:
    twice = ids[ids.duplicated()]
    if len(twice):
        raise InputError(f"{path}: {column} {twice.iloc[0]} stands twice; {AGAIN}")
    unknown = ids[~ids.isin(wanted)]
    if len(unknown):
        raise InputError(
            f"{path}: {len(unknown):,} of {len(ids):,} are no {column} of the captions table, such "
            f"as {unknown.iloc[0]}; {AGAIN}"
        )
    distinct = wanted.drop_duplicates()
    missing = distinct[~distinct.isin(ids)]
    if len(missing):
        raise InputError(
            f"{path} lacks {len(missing):,} of {len(distinct):,} {column}s of the captions table, "
            f"such as {missing.iloc[0]}; {AGAIN}"
        )


def _stacked(table: pd.DataFrame, column: Ids, path: Path) -> Vectors:
    """The vectors as rows of length 1, or 0 where they are 0."""
    names, values = table[column].tolist(), table["vector"].tolist()
    if not values:
        raise InputError(f"{path} has no vector; {AGAIN}")
    for name, value in zip(names, values, strict=True):
        numbers = value if isinstance(value, np.ndarray) else np.empty(0, object)
        if numbers.dtype.kind not in "fiu" or not len(numbers) or not np.isfinite(numbers).all():
            raise InputError(f"{path}: the vector of {name} is no list of finite numbers; {AGAIN}")
        if len(numbers) != len(values[0]):
            raise InputError(
                f"{path}: the vector of {name} has {len(numbers)} numbers, that of {names[0]} "
                f"{len(values[0])}; {AGAIN}"
            )
    found = np.stack(values).astype(np.float64)
    norms = np.linalg.norm(found, axis=1, keepdims=True)
    unit: Vectors = (found / np.maximum(norms, 1e-12)).astype(np.float32)
    return unit
