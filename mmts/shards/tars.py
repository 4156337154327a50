"""Tars of somebody's that are read where they are: what is in each, found in one pass.

What was found is kept in `data/cache/tars`, a file a tar, and holds while size, mtime and inode of
the tar are the same (see `mmts.shards.verified`): another K or another caption reads no tar again.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import pyarrow as pa
import pyarrow.parquet as pq

from mmts.errors import InputError
from mmts.files import output_file
from mmts.picture import MAX_BYTES, Picture
from mmts.shards.remote import PIECE, Hashed
from mmts.shards.verified import SETTLED, Mark, mark
from mmts.tars import content, opened_tar

ABOUT = b"mark 3"
"""Where a kept file has the mark of its tar; count up where other members are kept."""
EXTENSIONS = {"JPEG": "jpg", "PNG": "png"}
"""Of the formats that are packed as they are."""
REMEDY = "put it back, or run `dvc repro -sf captions`"
MEMBERS = pa.schema(
    {"name": pa.string(), "offset": pa.int64(), "bytes": pa.int64(), "crc32": pa.int64(),
     "sha256": pa.string(), "extension": pa.string()}
)  # fmt: skip


class Job(NamedTuple):
    """A tar, and the folder where what is found in it is kept; None for not."""

    path: Path
    kept: Path | None


class Tar(NamedTuple):
    """What is in a tar.

    Attributes:
        sha256, bytes: of the file.
        mark: of the file as it was read; None where it was written so lately that a change since
            could not be told.
        members: name, offset, bytes, sha256 and extension of each regular file; the extension is
            empty where a picture cannot be packed as it is.
    """

    sha256: str
    bytes: int
    mark: Mark | None
    members: pa.Table


def survey(job: Job) -> Iterator[Tar]:
    """What is in a tar, from what was kept if it still holds.

    Raises:
        InputError: it is not there, cannot be read, or is cut short.
    """
    kept = job.kept and job.kept / (
        hashlib.sha256(str(job.path.absolute()).encode()).hexdigest()[:32] + ".parquet"
    )
    try:
        found = _recall(kept, job.path) if kept else None
        if found is None:
            found = _read(job.path)
            if kept and found.mark is not None:
                _keep(kept, found)
    except OSError as error:
        raise InputError(f"{job.path} cannot be read ({error.strerror}); {REMEDY}") from None
    yield found


def _read(path: Path) -> Tar:
    """One pass from front to end: the file's hash, and the members' on the way."""
    begun = time.time_ns()
    rows: dict[str, tuple[str, int, int, int, str, str]] = {}
    before = mark(path, "")
    with open(path, "rb", buffering=PIECE) as file:
        hashed = Hashed(file)
        with opened_tar(path, REMEDY, cast(BinaryIO, hashed)) as tar:
            for member in tar:
                text = member.name.endswith((".txt", ".json"))  # two of three, in CC3M
                if not text and _plain(member):
                    data = content(tar, member)
                    digest = hashlib.sha256(data).hexdigest()
                    place = (member.name, member.offset_data, len(data), zlib.crc32(data))
                    rows[member.name] = (*place, digest, _extension(data))
        sha256, size = hashed.hexdigest(), file.tell()
    found = mark(path, sha256)
    settled = before[:-1] == found[:-1] and begun - path.stat().st_mtime_ns > SETTLED
    members = pa.Table.from_pylist(
        [dict(zip(MEMBERS.names, row, strict=True)) for row in rows.values()], MEMBERS
    )
    return Tar(sha256, size, found if settled else None, members)


def _plain(member: tarfile.TarInfo) -> bool:
    """A regular file whose bytes stand in the tar as they are: no link, no device, not sparse.

    One that is too large for a picture is none either.
    """
    return member.isreg() and not member.issparse() and member.size <= MAX_BYTES


def _extension(data: bytes) -> str:
    try:
        return EXTENSIONS.get(Picture(data).format, "")
    except InputError:
        return ""


def _recall(kept: Path, path: Path) -> Tar | None:
    """What was kept of a tar that is still the same; None where nothing was, or it is damaged."""
    try:
        members = pq.read_table(kept, use_threads=False, pre_buffer=False)
        known = json.loads(members.schema.metadata[ABOUT])
        size, _, _, sha256 = known
    except (OSError, ValueError, LookupError, TypeError, RecursionError, pa.ArrowException):
        return None
    same = members.schema.equals(MEMBERS) and mark(path, sha256) == known
    return Tar(sha256, size, known, members) if same else None


def _keep(kept: Path, found: Tar) -> None:
    table = found.members.replace_schema_metadata({ABOUT: json.dumps(found.mark)})
    # no room, or a read-only folder: the tar is read again the next time
    with suppress(OSError, InputError), output_file(kept) as work:
        pq.write_table(table, work)
