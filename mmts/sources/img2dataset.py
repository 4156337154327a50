"""What img2dataset writes, read in place: <shard>.tar (or a folder) and <shard>.parquet beside it.

Of a tar only members with allow-listed endings are ever read: pictures, and .txt where there is no
.parquet. Nothing is unpacked or unpickled.
"""

from __future__ import annotations

import codecs
import re
import tarfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from mmts.errors import InputError, first_line
from mmts.files import require
from mmts.media import SEPARATOR
from mmts.sources import CAPTION_BYTES, MISSING
from mmts.sources.names import ESCAPES, PICTURES, check_inside, key_and_ending
from mmts.tars import opened_tar, refuse_sparse

COLUMNS = ("key", "caption", "status")
AGAIN = "run img2dataset again with the same arguments, it goes on where it stopped"
ENOUGH = CAPTION_BYTES + 4  # bytes: a caption that is cut here in a character is still too long
DOTTED = ".parquet"


class Shard(NamedTuple):
    """A tar or a folder of files, and the records beside it; either may be absent."""

    files: Path | None
    records: Path | None


def read_output(folder: Path) -> pd.DataFrame:
    """key, caption, media and lacks (why there is no picture, or empty) of each recorded image.

    Without records (.parquet) the captions are those of the .txt members or files, and what could
    not be downloaded is not known.

    Raises:
        InputError: there are no shards, or one cannot be read, or a key stands twice.
    """
    shards = find_shards(require(folder, "name the folder that img2dataset wrote to"))
    ignored: list[str] = []
    parts = [read_shard(shard, ignored) for shard in shards]
    if ignored:
        warnings.warn(
            f"{folder}: ignored {len(ignored)} members of tars that are no picture, .txt or .json, "
            f"or lie outside of the tar; the first is {ignored[0]}",
            stacklevel=1,
        )
    rows = pd.concat(parts, ignore_index=True)
    twice = rows["key"].duplicated()
    if twice.any():
        raise InputError(
            f"{folder}: the key {rows.loc[twice, 'key'].iloc[0]!r} stands twice; a folder holds "
            "one run of img2dataset: remove the shards of the other"
        )
    return rows


def find_shards(folder: Path) -> list[Shard]:
    """The shards of a folder in the order of their names: every tar, and folders of digits."""
    found: dict[str, Shard] = {}
    entries = sorted(folder.iterdir())
    for path in entries:
        if path.suffix == ".tar" or (re.fullmatch(r"[0-9]+", path.name) and path.is_dir()):
            stem = path.name.removesuffix(".tar")
            if not path.is_file() and not path.is_dir():
                raise InputError(f"{path} is no regular file; remove it")  # a pipe has no end
            if stem in found:
                raise InputError(f"{folder} has {stem} as tar and as folder; keep one of them")
            found[stem] = Shard(path, None)
    for path in entries:
        if path.suffix == DOTTED and (path.stem in found or re.fullmatch(r"[0-9]+", path.stem)):
            found[path.stem] = Shard(found.get(path.stem, Shard(None, None)).files, path)
    if not found:
        raise InputError(
            f"{folder} has no shards (00000.tar or 00000/, and 00000{DOTTED}); name the folder "
            "that img2dataset wrote to"
        )
    return [found[stem] for stem in sorted(found)]


def read_shard(shard: Shard, ignored: list[str]) -> pd.DataFrame:
    """The rows of one shard; names of members that were passed over are added to `ignored`."""
    if shard.records is not None:
        return _recorded(shard.records, shard.files)
    assert shard.files is not None
    if shard.files.is_dir():
        captions = dict(_files(shard.files))
        start = f"{shard.files}/"
    else:
        captions = _members(shard.files, ignored)
        start = f"{shard.files}{SEPARATOR}"
    rows = pd.DataFrame({"name": list(captions), "caption": list(captions.values())}, dtype="str")
    rows["key"] = [key_and_ending(name)[0] for name in captions]
    return pd.DataFrame(
        {"key": rows["key"], "caption": rows["caption"], "media": start + rows["name"], "lacks": ""}
    )


def _recorded(records: Path, files: Path | None) -> pd.DataFrame:
    """Rows by a .parquet: the tar beside it is opened only for the ending of its pictures."""
    import pyarrow.parquet as pq

    require(records, AGAIN)
    try:
        with pq.ParquetFile(records) as file:
            absent = [name for name in COLUMNS if name not in file.schema_arrow.names]
            if absent:
                raise InputError(
                    f"{records} has no column {absent[0]}; it is not what img2dataset writes "
                    "beside a shard: remove it, or run img2dataset with --caption_col"
                )
            table = file.read(columns=list(COLUMNS))
            table.validate(full=True)
            rows = table.to_pandas(ignore_metadata=True)[list(COLUMNS)].astype("str")
    except InputError:
        raise
    except Exception as error:  # a damaged file may raise anything
        problem = first_line(error)
        raise InputError(f"{records} is not a whole Parquet file ({problem}); {AGAIN}") from None
    if rows.columns.size > len(COLUMNS) or rows["key"].isna().any():
        raise InputError(f"{records} has rows without a key, or a column twice; {AGAIN}")
    key, status = rows["key"], rows["status"].fillna("not recorded")
    check_inside(key, records, "row")
    lacks = pd.Series(np.where(status == "success", "", MISSING + " (" + status + ")"), dtype="str")
    media = pd.Series("", index=rows.index, dtype="str")
    if files is None:
        lacks[lacks == ""] = f"{MISSING} (no shard)"
    elif files.is_dir():
        media = f"{files}/" + key + _ending(sorted(path.name for path in files.iterdir()))
    else:
        media = f"{files}{SEPARATOR}" + key + _ending(m.name for m in _regular(files, []))
    return pd.DataFrame(
        {"key": key, "caption": rows["caption"].fillna(""), "media": media,
         "lacks": lacks}
    )  # fmt: skip


def _ending(names: Iterable[str]) -> str:
    """The ending of the first picture: a run of img2dataset gives all the same one."""
    pictures = (name for name in names if key_and_ending(name)[1] in PICTURES)
    return "." + next(pictures, "jpg").rpartition(".")[2]


def _regular(tar: Path, ignored: list[str]) -> Iterator[tarfile.TarInfo]:
    """The members that may be read: regular files inside the tar, with allow-listed endings."""
    with opened_tar(tar, AGAIN) as archive:
        for member in archive:
            ending = key_and_ending(member.name)[1]
            allowed = member.isreg() and ending in (*PICTURES, ".txt", ".json")
            if allowed and not re.search(ESCAPES, member.name):
                refuse_sparse(tar, member)
                yield member
            elif not member.isdir():
                ignored.append(f"{tar}{SEPARATOR}{member.name}")


def _members(tar: Path, ignored: list[str]) -> dict[str, str]:
    """Caption of each picture of a tar, by member name: one pass over the headers."""
    pictures: dict[str, str] = {}
    texts: dict[str, str] = {}
    with open(tar, "rb") as file:
        for member in _regular(tar, ignored):
            key, ending = key_and_ending(member.name)
            if ending in PICTURES:
                if key in pictures:
                    raise InputError(f"{tar}: the key {key!r} stands twice; write the tar again")
                pictures[key] = member.name
            elif ending == ".txt":
                file.seek(member.offset_data)
                data = file.read(min(member.size, ENOUGH))
                texts[key] = _decoded(data, f"{tar}{SEPARATOR}{member.name}")
    return _joined(tar, pictures, texts)


def _files(folder: Path) -> dict[str, str]:
    """Caption of each picture of a folder, by file name."""
    pictures: dict[str, str] = {}
    for name in sorted(path.name for path in folder.iterdir()):
        key, ending = key_and_ending(name)
        if ending in PICTURES:
            if key in pictures:
                raise InputError(f"{folder} has {pictures[key]} and {name}; keep one of them")
            pictures[key] = name
    texts: dict[str, str] = {}
    for key in pictures:
        path = folder / f"{key}.txt"
        if path.is_file():
            with open(path, "rb") as file:
                texts[key] = _decoded(file.read(ENOUGH), str(path))
    return _joined(folder, pictures, texts)


def _joined(files: Path, pictures: dict[str, str], texts: dict[str, str]) -> dict[str, str]:
    """Caption by name of picture; empty where a picture has none."""
    if pictures and not texts:
        raise InputError(
            f"{files} has pictures and no captions: neither .txt nor {files.stem}{DOTTED} beside "
            "it; run img2dataset with --caption_col"
        )
    return {name: texts.get(key, "") for key, name in pictures.items()}


def _decoded(data: bytes, where: str) -> str:
    """The text of at most ENOUGH bytes; what is longer is cut, and dropped as too long."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data, final=len(data) < ENOUGH)
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
