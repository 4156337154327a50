"""The user's own pairs: a table with an image file and a caption a row."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmts.errors import InputError
from mmts.files import once, read_parquet, require
from mmts.media import SEPARATOR
from mmts.sources import SourceRows
from mmts.sources.delimited import not_utf_8, read_csv
from mmts.sources.names import is_whole, shown

if TYPE_CHECKING:
    from mmts.kinds.source.table import Kind

SPLIT_WORDS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
SPLITS = ("train", "val", "test")
FORMATS = ".csv, .tsv, .parquet, .jsonl"


def read(settings: Kind, raw: Path) -> SourceRows:
    """A row a line of the table; several lines may name one image."""
    path = raw / settings.path
    table = read_table(path)
    wanted = [settings.image_column, settings.caption_column, *settings.class_columns]
    wanted += settings.stream_columns
    wanted += [c for c in (settings.id_column, settings.split_column) if c is not None]
    for column in wanted:
        if column not in table:
            raise InputError(
                f"{path} has no column {column!r}; it has {', '.join(map(shown, table.columns))}"
            )
    images = text_column(table, settings.image_column, path)
    images = images.map(lambda image: os.path.normpath(image) if image.strip() else "")
    start = f"{path.parent}{os.sep}"
    if settings.image_root is not None:
        start = start_of_pictures(raw / settings.image_root)
    rows = pd.DataFrame(
        {
            "sample_id": images,
            "caption": text_column(table, settings.caption_column, path),
            "media": [image if image.startswith(os.sep) else start + image for image in images],
        }
    )
    rows.index = pd.RangeIndex(1, len(rows) + 1)
    if settings.id_column:
        rows["caption_id"] = text_column(table, settings.id_column, path).to_numpy()
    if settings.split_column:
        rows["split"] = splits(table[settings.split_column], path, settings.split_column)
    for column in settings.class_columns:
        rows[f"class_{column}"] = _classes(table, column, path)
    for column in settings.stream_columns:
        rows[f"stream_{column}"] = table[column].to_numpy(dtype=object)
    if "split" in rows:
        rows = rows[rows["split"].isin(settings.splits)]
    elif len(settings.splits) == 1:
        rows["split"] = settings.splits[0]
    if settings.limit is not None and "split" not in rows:
        kept = rows["sample_id"].drop_duplicates().iloc[: settings.limit]
        rows = rows[rows["sample_id"].isin(kept)]
    elif settings.limit is not None:
        rows = first_per_split(rows, settings.limit)
    return SourceRows(
        rows,
        settings.credit,
        settings.publishable,
        may_lack=tuple(split for split in SPLITS if split not in settings.splits),
    )


def start_of_pictures(root: Path) -> str:
    """Return what to put before a picture's path: of a folder, or of an uncompressed tar."""
    require(root, "set image_root to the folder or tar that picture paths start from")
    if root.is_dir():
        return f"{root}{os.sep}"
    if root.suffix != ".tar":
        raise InputError(
            f"image_root {root} is neither a folder nor a .tar; unpack it, or repack it"
        )
    return f"{root}{SEPARATOR}"


def read_table(path: Path) -> pd.DataFrame:
    """The table as it stands: "NA", "null" and "None" are words, not missing values."""
    require(path, f"name a table ({FORMATS}) in params.yaml")
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv", ".txt"):
        return read_csv(path, "," if suffix == ".csv" else "\t")
    if suffix == ".jsonl":
        rows = [json_row(path, n, line) for n, line in numbered_lines(path)]
        return pd.DataFrame(rows, dtype=object)  # else 1 becomes 1.0 where another row has none
    if suffix == ".parquet":
        return read_parquet(path, "write it again", ours=False)
    raise InputError(f"{path} ends in {suffix or 'nothing'}; a table ends in one of {FORMATS}")


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """The lines that are not blank, counted from 1."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise not_utf_8(path) from None
    return [(n, line) for n, line in enumerate(lines, 1) if line.strip()]


def json_row(path: Path, number: int, line: str) -> dict[str, object]:
    """One line of JSON Lines as a dict."""
    try:
        row = json.loads(line, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} line {number} is not JSON ({error}); mend that line") from None
    if not isinstance(row, dict):
        raise InputError(f"{path} line {number} is no JSON object; write one object a line")
    if not is_whole(json.dumps(row, ensure_ascii=False)):
        raise InputError(
            f"{path} line {number} holds half a character (a lone surrogate); mend that line"
        )
    return row


def text_column(table: pd.DataFrame, column: str, path: Path) -> pd.Series:
    """A column of strings; an absent value counts as empty."""
    absent = table[column].isna()
    values = ["" if no else value for no, value in zip(absent, table[column].tolist(), strict=True)]
    for row, value in enumerate(values, 1):
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise InputError(f"{path} row {row}: {column} is {shown(value)}; it must be text")
    return pd.Series([str(value) for value in values], dtype="str")


def _classes(table: pd.DataFrame, column: str, path: Path) -> NDArray[np.object_]:
    """Return what a column of any type says, as text; an absent value counts as empty.

    Whole numbers are written without a fraction: a table that has been through pandas has 1.0 for
    1 where the class of another row is missing.
    """
    try:
        found = table[column].astype("string").fillna("")
    except UnicodeDecodeError:
        raise InputError(f"{path}: {column} holds bytes that are not UTF-8; write text") from None
    if found[found != ""].str.fullmatch(r"-?[0-9]+(\.0)?").all():
        found = found.str.removesuffix(".0")
    return found.to_numpy(dtype=object)


def splits(values: pd.Series, path: Path, column: str) -> list[str]:
    """train, val or test for each row, from the words that people use."""
    found = []
    for number, value in enumerate(values, 1):
        split = SPLIT_WORDS.get(str(value).strip().lower())
        if split is None:
            raise InputError(
                f"{path} row {number}: {column} is {shown(value)}; it must be train, val or test"
            )
        found.append(split)
    return found


def first_per_split(rows: pd.DataFrame, limit: int | None, item: str = "sample_id") -> pd.DataFrame:
    """Rows of the first `limit` items of each split; all rows where there is no limit."""
    if limit is None:
        return rows
    items = rows[["split", item]].drop_duplicates()
    kept = items.groupby("split", sort=False).head(limit)[item]
    return rows[rows[item].isin(kept)]
