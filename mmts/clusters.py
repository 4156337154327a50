"""Reading what the stages `cluster` and `shift` wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from mmts.columns import Kind, check_columns
from mmts.errors import InputError
from mmts.files import read_parquet

if TYPE_CHECKING:
    from mmts.method import UsedClusterings

CLASS = "class_"
"""What the names of the columns begin with that a method's relevancy is of."""
AGAIN = "run `dvc repro`"


def read_clusters(path: Path, remedy: str = AGAIN) -> pd.DataFrame:
    """A clustering: caption_id, cluster_id and cluster_size, a row a caption.

    Raises:
        InputError: the file is missing or damaged, lacks a column or has one of another type, or a
            caption stands twice.
    """
    table = read_parquet(path, remedy)
    check_columns(
        table, {"caption_id": "text", "cluster_id": "whole", "cluster_size": "whole"}, path, remedy
    )
    _once(table["caption_id"], path, remedy)
    return table


def read_method_clusters(path: Path, remedy: str) -> pd.DataFrame:
    """The clusters of a method that are not those in the shards, a row a caption: caption_id;
    cluster_id of another clustering; CLASS + name of each clustering that its relevancy is of.

    Raises:
        InputError: as `read_clusters`.
    """
    table = read_parquet(path, remedy)
    wanted: dict[str, Kind] = {"caption_id": "text"}
    for name in map(str, table):
        if name == "cluster_id" or name.startswith(CLASS):
            wanted[name] = "whole"
    check_columns(table, wanted, path, remedy)
    _once(table["caption_id"], path, remedy)
    return table


def method_clusters(
    wanted: UsedClusterings, tables: Mapping[str, pd.DataFrame]
) -> pd.DataFrame | None:
    """Return what `read_method_clusters` reads; None where a method needs the shards' own alone.

    Args:
        wanted: what the method uses.
        tables: clusterings by name, as `read_clusters` gives them.
    """
    joined = tables[wanted.shift][["caption_id", "cluster_id"]]
    if wanted.shift == "default":  # it stands in the shards
        joined = joined[["caption_id"]]
    for name in wanted.relevancy:
        of = tables[name].set_index("caption_id")["cluster_id"]
        joined = joined.assign(**{CLASS + name: of.reindex(joined["caption_id"]).to_numpy()})
    return joined if joined.columns.size > 1 else None


def read_shifts(path: Path, remedy: str) -> pd.DataFrame:
    """A shift table: cluster_id, cluster_size and shift, a row a cluster.

    Raises:
        InputError: as `read_clusters`; or there is no cluster, or a shift is not finite.
    """
    table = read_parquet(path, remedy)
    check_columns(
        table, {"cluster_id": "whole", "cluster_size": "whole", "shift": "number"}, path, remedy
    )
    _once(table["cluster_id"], path, remedy)
    if table.empty:
        raise InputError(f"{path} has no clusters; {remedy}")
    return table


def _once(values: pd.Series, path: Path, remedy: str) -> None:
    twice = values.duplicated()
    if twice.any():
        raise InputError(f"{path}: {values.name} {values[twice].iloc[0]} stands twice; {remedy}")
