"""Flickr8k (Hodosh et al. 2013) in the layout that people download.

`captions.txt` (image,caption), `Flickr_8k.{train,dev,test}Images.txt`, and the photographs in
`Images/` or in a tar beside them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from mmts.errors import InputError
from mmts.files import require
from mmts.media import SEPARATOR
from mmts.sources import SourceRows
from mmts.sources.delimited import read_csv
from mmts.sources.names import shown
from mmts.sources.table import first_per_split, numbered_lines

if TYPE_CHECKING:
    from mmts.kinds.source.flickr8k import Kind

LISTS = {"train": "train", "val": "dev", "test": "test"}
LAYOUT = "put Images/ (or a tar of it), captions.txt and the three Flickr_8k.*Images.txt there"
CREDIT = (
    "Flickr8k: M. Hodosh, P. Young, J. Hockenmaier (2013), Framing Image Description as a Ranking "
    "Task. Photographs for non-commercial research only."
)


def read(settings: Kind, raw: Path) -> SourceRows:
    """A row a caption of the photographs that one of the three lists names."""
    table = read_csv(require(raw / "captions.txt", LAYOUT), ",")
    for column in ("image", "caption"):
        if column not in table:
            raise InputError(
                f"{raw / 'captions.txt'} has no column {column!r}; it has "
                f"{', '.join(map(shown, table.columns))}: its first line must be image,caption"
            )
    split_of = read_lists(raw)
    alone = sorted(split_of.keys() - set(table["image"]))
    if alone:
        raise InputError(
            f"{raw / 'captions.txt'} has no caption of {alone[0]}, which a split list names"
        )
    folder = media_folder(raw)
    table["split"] = table["image"].map(split_of)
    table = table[table["split"].notna()]
    rows = pd.DataFrame(
        {
            "sample_id": "flickr8k/" + table["image"],
            "caption": table["caption"],
            "media": folder + table["image"],
            "split": table["split"],
        }
    )
    return SourceRows(first_per_split(rows, settings.limit), CREDIT, publishable=False)


def read_lists(raw: Path) -> dict[str, str]:
    """The split of each photograph that one of the three lists names."""
    split_of: dict[str, str] = {}
    for split, word in LISTS.items():
        path = require(raw / f"Flickr_8k.{word}Images.txt", LAYOUT)
        for name in names_in(path):
            if split_of.setdefault(name, split) != split:
                raise InputError(f"{path}: {name} is in the {split_of[name]} list too; keep one")
    return split_of


def names_in(path: Path) -> list[str]:
    """The file names in a split list, a line each."""
    return [line.strip() for _, line in numbered_lines(path)]


def media_folder(raw: Path) -> str:
    """What to put before a file name to get its media reference."""
    if (raw / "Images").is_dir():
        return f"{raw / 'Images'}/"
    tars = sorted(raw.glob("*.tar"))
    if len(tars) != 1:
        found = ", ".join(t.name for t in tars) or "none"
        raise InputError(f"{raw} has no Images/ and not one tar but {found}; {LAYOUT}")
    return f"{tars[0]}{SEPARATOR}Images/"
