"""The captions table, which every later stage reads.

Columns, in this order: `source`, `split` (train, val, test), `sample_id` (the media item),
`caption_id` (unique), `caption`, `media` (a reference, see mmts.media; empty where a source has
annotations only), `media_bytes`, `media_sha256` (empty for videos), then where a source has them

- `start`, `stop`: of a clip, in seconds of its video; a stop of infinity is the video's end;
- `verb_class`, `noun_classes` (a list): what the caption's graded relevancy is made of;
- `sentence`: whether the caption is searched for and searched among; without the column all are;
- `groups` (a list): names of groups of queries that `evaluate` reports apart;

and any `class_<name>` and `stream_<name>`: what a stream is made of (`datasets.<name>.streams`), as
JSON, the same for all captions of an item.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mmts.columns import Kind, check_columns
from mmts.errors import InputError
from mmts.files import read_parquet

SPLITS = ("train", "val", "test")
COLUMNS = (
    "source", "split", "sample_id", "caption_id", "caption", "media", "media_bytes", "media_sha256",
)  # fmt: skip
OPTIONAL_COLUMNS = ("start", "stop", "verb_class", "noun_classes", "sentence", "groups")
STREAM = "stream_"
KINDS: dict[str, Kind] = {
    **dict.fromkeys(COLUMNS, "text"), "media_bytes": "whole", "start": "number", "stop": "end",
    "verb_class": "whole", "noun_classes": "list", "sentence": "bool", "groups": "list",
}  # fmt: skip


def read_captions(folder: Path) -> pd.DataFrame:
    """The captions table of a dataset from `data/captions/<dataset>`."""
    path = folder / "captions.parquet"
    rows = read_parquet(path, "run `dvc repro`")
    wanted = {name: KINDS[name] for name in KINDS if name in COLUMNS or name in rows}
    wanted |= dict.fromkeys(stream_columns(rows), "text")
    check_columns(rows, wanted, path, "run `dvc repro -sf captions`")
    odd = ~rows["split"].isin(SPLITS)
    if odd.any() or rows["caption_id"].duplicated().any():
        problem = f"split {rows['split'][odd].iloc[0]!r}" if odd.any() else "a caption_id twice"
        raise InputError(f"{path} has {problem}; run `dvc repro -sf captions`")
    return rows


def class_column(rows: pd.DataFrame, name: str, setting: str) -> str:
    """Return the name of a class column; an error that begins with `setting` where it is none."""
    if f"class_{name}" not in rows:
        there = [c.removeprefix("class_") for c in rows.columns if c.startswith("class_")]
        raise InputError(
            f"{setting}: there is no such class column; there are: "
            f"{', '.join(there) or 'none (name them in class_columns)'}"
        )
    return f"class_{name}"


def stream_columns(rows: pd.DataFrame) -> list[str]:
    """Return the names of the columns that streams are made of."""
    return [name for name in rows.columns if str(name).startswith(STREAM)]
