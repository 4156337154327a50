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
from mmts.media import SEPARATOR, plain_name
from mmts.sources import CAPTION_BYTES, MISSING
from mmts.sources.names import ESCAPES, PICTURES, check_inside, key_and_ending
from mmts.tars import opened_tar, refuse_sparse

COLUMNS = ("key", "caption", "status")
AGAIN = "run img2dataset again with the same arguments, it goes on where it stopped"
ENOUGH = CAPTION_BYTES + 4  # bytes: a caption that is cut here in a character is still too long
DOTTED = ".parquet"
DIGITS = 9  # of a key that img2dataset makes


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
        pictures, texts = _files(shard.files)
        start = f"{shard.files}/"
    else:
        pictures, texts = _members(shard.files, ignored)
        start = f"{shard.files}{SEPARATOR}"
    if pictures and not texts:
        raise InputError(
            f"{shard.files} has pictures and no captions: neither .txt nor "
            f"{shard.files.stem}{DOTTED} beside it; run img2dataset with --caption_col"
        )
    found = joined(shard.files, pictures, texts)
    rows = pd.DataFrame(found, columns=["key", "name", "caption"], dtype="str")
    media = (start + rows["name"]).where(rows["name"] != "", "")
    lacks = np.where(rows["name"] == "", f"{MISSING} (no picture of this key)", "")
    return pd.DataFrame(
        {"key": rows["key"], "caption": rows["caption"], "media": media,
         "lacks": pd.Series(lacks, dtype="str")}
    )  # fmt: skip


def _recorded(records: Path, files: Path | None) -> pd.DataFrame:
    """Rows by a .parquet: the tar beside it is opened only for the ending of its pictures."""
    import pyarrow as pa
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
            table = file.read(columns=list(COLUMNS), use_threads=False)
            table.validate(full=True)
            kind = table.schema.field("key").type
            numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind)
            rows = table.to_pandas(ignore_metadata=True)[list(COLUMNS)].astype("str")
    except (InputError, MemoryError):
        raise
    except Exception as error:  # a damaged file may raise anything
        problem = first_line(error)
        raise InputError(f"{records} is not a whole Parquet file ({problem}); {AGAIN}") from None
    if rows.columns.size > len(COLUMNS) or rows["key"].isna().any():
        raise InputError(f"{records} has rows without a key, or a column twice; {AGAIN}")
    names: list[str] = []
    if files is not None and files.is_dir():
        names = sorted(path.name for path in files.iterdir())
    elif files is not None:
        names = [plain_name(member.name) for member in _regular(files, [])]
    pictures = {stem(name): name for name in names if ending(name) in PICTURES}
    if files is not None:
        check_once_each(files, [name for name in names if ending(name) in PICTURES])
    digits = max((len(key) for key in pictures if key.isdigit()), default=DIGITS)
    key = rows["key"].str.removesuffix(".0") if numbers else rows["key"]
    if numbers or not key.isin(list(pictures)).any():  # 000000012 has become 12
        key = key.where(~key.str.fullmatch("[0-9]+"), key.str.zfill(digits))
    status = rows["status"].fillna("not recorded")
    check_inside(key, records, "row")
    lacks = pd.Series(np.where(status == "success", "", MISSING + " (" + status + ")"), dtype="str")
    media = pd.Series("", index=rows.index, dtype="str")
    if files is None:
        lacks[lacks == ""] = f"{MISSING} (no shard)"
    else:
        start = f"{files}/" if files.is_dir() else f"{files}{SEPARATOR}"
        by_key = {key_of(name): name for name in pictures.values()} | pictures
        wanted = key[lacks == ""]
        if pictures and len(wanted) and not wanted.isin(list(by_key)).any():
            raise InputError(
                f"{records} names no picture of {files}: its first key is {wanted.iloc[0]!r}, the "
                f"first picture {next(iter(pictures.values()))!r}; put together what belongs "
                "together"
            )
        usual = next(iter(pictures.values()), ".jpg").rpartition(".")[2]
        media = start + pd.Series([by_key.get(k, f"{k}.{usual}") for k in key], dtype="str")
    return pd.DataFrame(
        {"key": key, "caption": rows["caption"].fillna(""), "media": media,
         "lacks": lacks}
    )  # fmt: skip


def ending(name: str) -> str:
    """Return the ending of a name, in lower case."""
    return key_and_ending(name)[1]


def stem(name: str) -> str:
    """Return a name without its ending."""
    return key_and_ending(name)[0]


def key_of(name: str) -> str:
    """Return webdataset's key of a name, which ends at the first dot of its last part."""
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.partition('.')[0]}"


def check_once_each(files: Path, pictures: Iterable[str]) -> None:
    """InputError naming the first picture that stands twice, be it with another ending."""
    first: dict[str, str] = {}
    for name in pictures:
        if stem(name) in first:
            raise InputError(
                f"{files}: the key {stem(name)!r} stands twice, as {first[stem(name)]} and {name}; "
                "keep one"
            )
        first[stem(name)] = name


def joined(files: Path, pictures: list[str], texts: dict[str, str]) -> list[tuple[str, str, str]]:
    """Key, picture and caption of each picture, then of each text without a picture.

    A text belongs to the picture that is called the same but for the ending. What is left over
    (`1.input.jpg` beside `1.outputs.txt`) is joined by webdataset's key, if that leaves no choice.

    Args:
        files: the tar or folder, for errors.
        pictures: their names.
        texts: what each text says, by its name.
    """
    check_once_each(files, pictures)
    by_stem = {stem(name): name for name in texts}
    text_of = {name: by_stem[stem(name)] for name in pictures if stem(name) in by_stem}
    used = set(text_of.values())
    free: dict[str, list[str]] = {}
    for text in texts:
        if text not in used:
            free.setdefault(key_of(text), []).append(text)
    alone: dict[str, list[str]] = {}
    for name in pictures:
        alone.setdefault(key_of(name), []).append(name)
    for key, left in free.items():
        lacking = [name for name in alone.get(key, []) if name not in text_of]
        if not lacking:
            continue
        if len(left) > 1 or len(lacking) > 1:
            raise InputError(
                f"{files}: the key {key!r} has the pictures {', '.join(lacking)} and the texts "
                f"{', '.join(left)}; call each text as its picture"
            )
        text_of[lacking[0]] = left[0]
        used.add(left[0])
    if pictures and not text_of:
        raise InputError(
            f"{files}: no picture has a caption; the first picture is {pictures[0]!r}, the first "
            f"text {next(iter(texts))!r}: call each text as its picture"
        )
    found = [
        (
            key_of(name) if len(alone[key_of(name)]) == 1 else stem(name),
            name,
            texts.get(text_of.get(name, ""), ""),
        )
        for name in pictures
    ]
    return found + [(stem(name), "", texts[name]) for name in texts if name not in used]


def _regular(tar: Path, ignored: list[str]) -> Iterator[tarfile.TarInfo]:
    """The members that may be read: regular files inside the tar, with allow-listed endings."""
    with opened_tar(tar, AGAIN) as archive:
        for member in archive:
            allowed = member.isreg() and ending(member.name) in (*PICTURES, ".txt", ".json")
            if allowed and not re.search(ESCAPES, member.name):
                refuse_sparse(tar, member)
                yield member
            elif not member.isdir():
                ignored.append(f"{tar}{SEPARATOR}{member.name}")


def _members(tar: Path, ignored: list[str]) -> tuple[list[str], dict[str, str]]:
    """The pictures of a tar, and its texts by name: one pass over the headers."""
    pictures: list[str] = []
    texts: dict[str, str] = {}
    with open(tar, "rb") as file:
        for member in _regular(tar, ignored):
            name = plain_name(member.name)
            if ending(name) in PICTURES:
                pictures.append(name)
            elif ending(name) == ".txt":
                file.seek(member.offset_data)
                data = file.read(min(member.size, ENOUGH))
                texts[name] = _decoded(data, f"{tar}{SEPARATOR}{name}")
    return pictures, texts


def _files(folder: Path) -> tuple[list[str], dict[str, str]]:
    """The pictures of a folder, and its texts by name."""
    names = sorted(path.name for path in folder.iterdir())
    texts: dict[str, str] = {}
    for name in names:
        path = folder / name
        if ending(name) == ".txt" and path.is_file():
            with open(path, "rb") as file:
                texts[name] = _decoded(file.read(ENOUGH), str(path))
    return [name for name in names if ending(name) in PICTURES], texts


def _decoded(data: bytes, where: str) -> str:
    """The text of at most ENOUGH bytes; what is longer is cut, and dropped as too long."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data, final=len(data) < ENOUGH)
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
