"""Columns of the tables that stages hand on: there, of their type, without gaps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from mmts.errors import InputError

Kind = Literal["text", "whole", "number", "end", "bool", "list"]
NAMES = {
    "text": "text", "whole": "whole numbers", "number": "finite numbers",
    "end": "numbers or infinity", "bool": "true or false",
    "list": "lists",
}  # fmt: skip


def check_columns(
    table: pd.DataFrame, wanted: Mapping[str, Kind], path: Path, remedy: str
) -> pd.DataFrame:
    """The table, if it has the wanted columns and each is of its kind.

    Args:
        table: what stands in `path`.
        wanted: the kind of each column that must be there.
        path: of the file, for the error.
        remedy: what to do about it.

    Raises:
        InputError: a column is missing, has a gap or is of another kind.
    """
    missing = [name for name in wanted if name not in table]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; {remedy}")
    for name, kind in wanted.items():
        if not _is(table[name], kind):
            raise InputError(
                f"{path}: {name} is of type {table[name].dtype}, or has gaps; it must be "
                f"{NAMES[kind]}: {remedy}"
            )
    return table


def _is(values: pd.Series, kind: Kind) -> bool:
    if not len(values):
        return True
    if kind == "list":
        return all(isinstance(value, (list, np.ndarray)) for value in values)
    if kind == "text":
        found = pd.api.types.infer_dtype(values, skipna=True)
        return found == "string" and not bool(values.isna().any())
    kinds = {"whole": "iu", "number": "iuf", "end": "iuf", "bool": "b"}[kind]
    if values.dtype.kind not in kinds:
        return False
    numbers = values.to_numpy()
    return bool((np.isfinite(numbers) | ((numbers == np.inf) & (kind == "end"))).all())


def plain(value: Any) -> Any:
    """Return a cell as JSON has it: NumPy's lists and numbers as Python's."""
    return value.tolist() if hasattr(value, "tolist") else value
