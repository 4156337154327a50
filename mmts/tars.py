"""Tars of others, whose headers may say anything."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self

from mmts.errors import InputError, in_short

LONGEST = 1 << 20
"""Bytes of a header that belongs to another member: a name, or what pax adds."""
CLAIMED = 8**11 - 1
"""Bytes of a member, at most: eleven octal digits, all that a plain header can say."""
READ = 1 << 30
"""Bytes of a member that is read into memory, at most: beyond any picture or clip."""
DAMAGE = (
    tarfile.TarError, EOFError, IndexError, KeyError, MemoryError, OverflowError, RecursionError,
    ValueError,
)  # fmt: skip
"""What tarfile raises of headers that are no headers, beside OSError."""
HEADERS = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip


class Member(tarfile.TarInfo):
    """A member whose size neither leads backwards (CVE-2025-8194) nor fills the memory."""

    def _block(self, count: int) -> int:
        """Bytes that a member of `count` bytes takes; newer versions of Python check it too."""
        if count < 0:
            raise tarfile.ReadError("a size below 0")
        found: int = super()._block(count)  # type: ignore[misc]
        return found

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        """Read what follows the header."""
        if self.type in HEADERS and self.size > LONGEST:
            raise tarfile.ReadError(f"a header of {self.size:,} bytes")
        try:
            found: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        except tarfile.HeaderError as error:
            raise _not_the_end(error) from None
        if found.size > CLAIMED:  # a stream would be read on behind its end, for days
            raise tarfile.ReadError(f"{found.name} claims {found.size:,} bytes")
        return found

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header; tarfile takes a damaged one between two members for the end."""
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise _not_the_end(error) from None


def _not_the_end(error: tarfile.HeaderError) -> tarfile.TarError:
    """ReadError of a damaged header, which tarfile would take for the end of the tar."""
    if type(error).__name__ == "InvalidHeaderError":
        return tarfile.ReadError(str(error))
    return error


def content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """The bytes of a regular member; ReadError where they are too many, or fewer than it says."""
    if member.size > READ:
        raise tarfile.ReadError(f"{member.name} has {member.size:,} bytes, {READ:,} at most")
    file = archive.extractfile(member)
    data = b"" if file is None else file.read()
    if len(data) != member.size:
        raise tarfile.ReadError(f"{member.name} is cut short")
    return data


def refuse_sparse(path: Path | str, member: tarfile.TarInfo) -> None:
    """InputError of a sparse member: its bytes do not stand in the tar as they are."""
    if member.issparse():
        raise InputError(
            f"{path} has the sparse member {member.name}, whose bytes do not stand there as they "
            "are; repack it without --sparse"
        )


@contextmanager
def opened_tar(path: Path | str, remedy: str, stream: IO[bytes] | None = None) -> Iterator[
    tarfile.TarFile
]:  # fmt: skip
    """An uncompressed tar; what is wrong with it, also later in the block, is an InputError.

    Bytes of names that are not UTF-8 are written as `\\xff`.

    Args:
        path: of the file, or what it is called.
        remedy: what to do about a damaged one.
        stream: to read it from, front to back, instead of the file.
    """
    if stream is None and Path(path).exists() and not Path(path).is_file():
        raise InputError(f"{path} is no regular file; {remedy}")  # a pipe or device has no end
    try:
        mode = "r:" if stream is None else "r|"
        with tarfile.open(  # type: ignore[call-overload]
            str(path), mode, fileobj=stream, tarinfo=Member, encoding="utf-8",
            errors="backslashreplace",
        ) as archive:  # fmt: skip
            yield archive
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(
            f"{path} is not a whole, uncompressed tar ({in_short(error)}); {remedy}"
        ) from None
