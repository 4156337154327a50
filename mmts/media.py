"""Read pictures by reference: a file, or a member of a tar. Videos are only looked for here.

A reference is a path (relative to the working folder, or absolute), or `<name>.tar::<member>`; of
a video a file, or a folder of its chunks. Only regular files are read: no pipe, no device.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from mmts.errors import InputError, out_of_memory
from mmts.picture import (
    MAX_BYTES,
    START_BYTES,
    decode_image,
    may_be_picture,
    read_square,
    square,
)
from mmts.tars import opened_tar, refuse_sparse

__all__ = [
    "SEPARATOR",
    "MediaFacts",
    "MediaReader",
    "decode_image",
    "inspect",
    "inspect_videos",
    "parts",
    "read_square",
    "square",
]
SEPARATOR = "::"


class MediaFacts(NamedTuple):
    """Size in bytes and hex SHA-256 of one picture file; of a video the size alone."""

    size: int
    sha256: str

    @staticmethod
    def of(data: bytes) -> MediaFacts:
        """The facts of a file's bytes."""
        return MediaFacts(len(data), hashlib.sha256(data).hexdigest())


class MediaReader:
    """Bytes of referenced pictures; a tar is indexed once and read in place."""

    def __init__(self) -> None:
        self._tars: dict[str, dict[str, tuple[int, int]]] = {}

    def read(self, reference: str) -> bytes:
        """The file's bytes; FileNotFoundError where there is no such picture.

        Of a file that does not begin as a picture only the first `START_BYTES` bytes are read.

        Raises:
            OSError: it is no regular file, cannot be read, or is too large for a picture.
        """
        if not reference:
            raise InputError(
                "a clip without media cannot be read (`videos: null`); name the folder of videos, "
                "or set towers.vision.frozen to false to embed captions alone"
            )
        tar, member = parts(reference)
        if not member:
            return _read(reference, 0, _size(reference), reference)
        return _read(tar, *self._find(tar, member), reference)

    def read_unchanged(self, reference: str, sample_id: str, facts: MediaFacts) -> bytes:
        """The file's bytes, which must be those that the captions stage recorded.

        Raises:
            InputError: the file is gone, cannot be read, or has changed.
        """
        try:
            data = self.read(reference)
        except OSError as error:
            raise InputError(
                f"{reference} ({sample_id}): {error.strerror or error}; it was there in the "
                "captions stage: put it back, or run `dvc repro -sf captions`"
            ) from None
        if MediaFacts.of(data) != facts:
            raise InputError(
                f"{reference} ({sample_id}) has changed since the captions stage saw it; run "
                "`dvc repro -sf captions`"
            )
        return data

    def members(self, tar: Path | str) -> Collection[str]:
        """Return the names of the files of a tar, without `./` before them."""
        if str(tar) not in self._tars:
            self._tars[str(tar)] = _index_tar(str(tar))
        return self._tars[str(tar)].keys()

    def index(self, references: list[str]) -> None:
        """Index the tars of `references` now, before threads read from them."""
        for tar in {tar for tar, member in map(parts, references) if member}:
            if tar not in self._tars and Path(tar).exists():
                self._tars[tar] = _index_tar(tar)

    def _find(self, tar: str, member: str) -> tuple[int, int]:
        if tar not in self._tars:
            self._tars[tar] = _index_tar(tar)
        try:
            return self._tars[tar][member]
        except KeyError:
            raise FileNotFoundError(f"{tar} has no member {member}") from None


def parts(reference: str) -> tuple[str, str]:
    """The tar and the member of a reference; the path itself and nothing where it is a file."""
    tar, _, member = reference.partition(f".tar{SEPARATOR}")
    return (f"{tar}.tar", plain_name(member)) if member else (reference, "")


def plain_name(member: str) -> str:
    """Return a tar member's name without the `./` that `tar -c .` puts before it."""
    while member.startswith("./"):
        member = member[2:].lstrip("/")
    return member


def instead(reference: str) -> str:
    """Return what an error adds about a missing picture: one name that is there, if any."""
    tar, member = parts(reference)
    if member and Path(tar).is_file():
        names = sorted(MediaReader().members(tar))
        return f"; {tar} has {names[0]!r}" if names else f"; {tar} holds no picture"
    folder = Path(tar).parent
    try:
        names = sorted(path.name for path in folder.iterdir() if path.is_file())
    except OSError:
        return f"; there is no folder {folder}"
    return f"; {folder} has {names[0]!r}" if names else f"; {folder} holds no file"


def _size(path: str) -> int:
    """The bytes of a regular file; OSError where it is none."""
    try:
        facts = Path(path).stat()
    except ValueError as error:  # a NUL or half a character, which no name has
        if isinstance(error, UnicodeEncodeError) and not error.encoding.startswith("utf"):
            raise  # the locale lacks it: the picture may be there
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
    if stat.S_ISDIR(facts.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(facts.st_mode):  # reading a pipe would never end
        raise OSError(errno.EINVAL, "Not a regular file", path)
    return facts.st_size


def _read(path: str, offset: int, size: int, reference: str) -> bytes:
    """Read a picture from a file, or only the start of what cannot be one."""
    if size > MAX_BYTES:
        raise OSError(errno.EOVERFLOW, "Too large for a picture", reference)
    with open(path, "rb") as file:
        file.seek(offset)
        start = file.read(min(size, START_BYTES))
        if not may_be_picture(start):
            return start
        file.seek(offset)
        return file.read(size)


def _index_tar(path: str) -> dict[str, tuple[int, int]]:
    """Offset and size of the regular files of an uncompressed tar, by member name."""
    found: dict[str, tuple[int, int]] = {}
    with opened_tar(path, "unpack or repack it") as tar:
        for m in tar:
            if not m.isreg() or m.name.endswith((".txt", ".json")):  # two of three, in CC3M
                continue
            refuse_sparse(path, m)
            found[plain_name(m.name)] = (m.offset_data, m.size)
    return found


def inspect(
    references: list[str], reader: MediaReader, progress: str = "pictures"
) -> tuple[dict[str, MediaFacts], dict[str, str]]:
    """Read and decode each picture: the facts of the good ones, what is wrong with the others."""
    from tqdm import tqdm

    def look(reference: str) -> MediaFacts | str:
        try:
            data = reader.read(reference)
        except FileNotFoundError:
            return "missing"
        except OSError as error:
            if out_of_memory(error):  # not the picture's fault
                raise
            return f"unreadable ({error.strerror})"
        try:
            decode_image(data)
        except InputError as error:
            return f"undecodable: {error}"
        return MediaFacts.of(data)

    good: dict[str, MediaFacts] = {}
    bad: dict[str, str] = {}
    reader.index(references)
    bar = tqdm(total=len(references), desc=f"check {progress}", unit="img", mininterval=0.5)
    with bar, ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(references), 4096):  # map() makes all its futures at once
            block = references[start : start + 4096]
            for reference, facts in zip(block, pool.map(look, block), strict=True):
                if isinstance(facts, str):
                    bad[reference] = facts
                else:
                    good[reference] = facts
                bar.update()
    return good, bad


def inspect_videos(references: list[str]) -> tuple[dict[str, MediaFacts], dict[str, str]]:
    """As `inspect`, but without reading: hundreds of GB would take hours to hash.

    A video is a file that is not empty, or a folder of such files; the hash is left empty.
    """
    good: dict[str, MediaFacts] = {}
    bad: dict[str, str] = {}
    for reference in references:
        path = Path(reference)
        try:
            chunks = sorted(path.iterdir()) if path.is_dir() else [path]
            sizes = {chunk.name: chunk.stat().st_size for chunk in chunks}
        except FileNotFoundError:
            bad[reference] = "missing"
            continue
        except OSError as error:
            bad[reference] = f"unreadable ({error.strerror})"
            continue
        empty = [name for name, size in sizes.items() if size == 0]
        if not sizes:
            bad[reference] = "a folder without chunks"
        elif empty:
            bad[reference] = f"empty file {empty[0]}"
        else:
            good[reference] = MediaFacts(sum(sizes.values()), "")
    return good, bad
