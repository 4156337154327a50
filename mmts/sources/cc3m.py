"""CC3M, Conceptual Captions (Sharma et al. 2018): img2dataset's output, or the TSV and pictures."""

from __future__ import annotations

import csv
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from mmts.errors import InputError
from mmts.files import require
from mmts.sources import MISSING, SourceRows
from mmts.sources.img2dataset import read_output
from mmts.sources.names import check_inside, check_once
from mmts.sources.table import first_per_split

if TYPE_CHECKING:
    from mmts.kinds.source.cc3m import Kind, Part

CREDIT = (
    "Conceptual Captions: P. Sharma, N. Ding, S. Goodman, R. Soricut (2018), A Cleaned, "
    "Hypernymed, Image Alt-text Dataset. The images belong to their owners."
)
SPLITS = ("train", "val", "test")
SHARD = 10_000  # lines a shard: img2dataset's default
HEADER = ("caption", "url")


def read(settings: Kind, raw: Path) -> SourceRows:
    """A row a listed image of each split, also of those that could not be downloaded."""
    parts: dict[str, Part] = {
        split: part for split in SPLITS if (part := getattr(settings, split)) is not None
    }
    alone = [split for split, part in parts.items() if part.images is None]
    if alone and len(alone) < len(parts):
        raise InputError(
            f"cc3m: {alone[0]} has no images, other splits have; name a folder of images for each "
            "split, or for none"
        )
    found, untried = [], {}
    for split, part in parts.items():
        rows = read_part(part, raw)
        if part.tsv is not None and part.images is not None and part.names == "img2dataset":
            untried[split] = _untried(raw / part.tsv, len(rows))
        rows.insert(0, "sample_id", f"cc3m/{split}/" + rows.pop("key"))
        found.append(rows.assign(split=split))
    rows = first_per_split(pd.concat(found), settings.limit)
    return SourceRows(
        rows,
        CREDIT,
        publishable=False,
        media="none" if alone else "pictures",
        may_lack=tuple(split for split in SPLITS if split not in parts),
        min_coverage=settings.min_coverage,
        untried=untried if settings.limit is None else {},
    )


def read_part(part: Part, raw: Path) -> pd.DataFrame:
    """key, caption, media and lacks of one split; the index says which line or record it is."""
    if part.images is not None and part.names == "img2dataset":
        return read_output(raw / part.images)
    assert part.tsv is not None
    path = raw / part.tsv
    table = read_tsv(path, columns=3 if part.names == "column" else 2)
    lacks = pd.Series("", index=table.index, dtype="str")
    if part.images is None:
        key = pd.Series([f"{row:09d}" for row in range(len(table))], index=table.index, dtype="str")
        media = lacks
    else:
        folder = require(raw / part.images, "put the pictures there, or set images: null")
        key = table["image"] if part.names == "column" else named(table["url"], part.names)
        unnamed = key == ""
        check_inside(key, path)
        check_once(key[~unnamed], path)
        media = f"{folder}/" + key
        key = key.where(~unnamed, "line-" + table.index.astype("str").to_series(table.index))
        lacks[unnamed] = f"{MISSING} (no image named)"
    return pd.DataFrame({"key": key, "caption": table["caption"], "media": media, "lacks": lacks})


def named(urls: pd.Series, pattern: str) -> pd.Series:
    """The picture of each line by a pattern of row, shard, index and crc32."""
    names = [
        pattern.format(
            row=row, shard=row // SHARD, index=row % SHARD, crc32=zlib.crc32(url.encode())
        )
        for row, url in enumerate(urls)
    ]
    return pd.Series(names, index=urls.index, dtype="str")


def read_tsv(path: Path, columns: int = 2) -> pd.DataFrame:
    """caption, url and with three columns image of each line; the index is the line, from 1.

    A first line that says caption, tab, url is passed over.

    Raises:
        InputError: a line has more or fewer fields, or the file is not UTF-8.
    """
    require(path, "take it from ai.google.com/research/ConceptualCaptions/download")
    fields = ["caption", "url", "image"][:columns]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path, sep="\t", names=[*fields, "more"], dtype="str", index_col=False,
                quoting=csv.QUOTE_NONE, keep_default_na=False, encoding="utf-8-sig",
                lineterminator="\n", skip_blank_lines=False,
            )  # fmt: skip
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except pd.errors.ParserWarning:  # of the first line
        raise InputError(f"{path} line 1 has more than {columns} fields; mend that line") from None
    except pd.errors.ParserError as error:
        problem = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise InputError(f"{path} cannot be read: {problem}; mend that line") from None
    if table.empty:
        raise InputError(f"{path} is empty; download it again")
    table.index = pd.RangeIndex(1, len(table) + 1)
    table[table.columns] = table.apply(lambda column: column.str.removesuffix("\r"))
    if tuple(table.iloc[0, :2].str.strip().str.lower()) == HEADER:
        table = table.iloc[1:]
    bad = (table["url"].str.strip() == "") | (table["more"] != "")
    if bad.any():
        line = table.index[bad.to_numpy()][0]
        problem = (
            f"has more than {columns} fields" if table.loc[line, "more"] else "has no tab and url"
        )
        raise InputError(
            f"{path} line {line} {problem}; a line is {'<TAB>'.join(fields)}: mend or remove it"
        )
    return table[fields]


def _untried(path: Path, recorded: int) -> int:
    """How many lines of the TSV img2dataset has no record of."""
    require(path, "name the TSV that img2dataset has read, or set tsv: null")
    with open(path, "rb") as file:
        last = head = file.readline()
        header = head.decode("utf-8-sig", "replace").strip().lower().startswith("\t".join(HEADER))
        lines = 0 if header else 1
        while block := file.read(2**20):
            lines += block.count(b"\n")
            last = block
    if last is not head and not last.endswith(b"\n"):
        lines += 1
    if lines < recorded:
        raise InputError(
            f"{path} lists {lines:,} images and img2dataset has recorded {recorded:,}; name the "
            "TSV that it has read, or set tsv: null"
        )
    return lines - recorded
