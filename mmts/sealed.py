"""Folders that show any later change of what was written into them.

A sealed folder has SHA256SUMS, in the form of sha256sum: `sha256sum -c SHA256SUMS` checks it too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from mmts.errors import InputError

SUMS = "SHA256SUMS"
_known: dict[str, tuple[int, int, int, str]] = {}
"""Size, mtime, inode and digest of the files that this process has read whole."""


def sha256_file(path: Path | str) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sums(folder: Path, known: Mapping[str, str] | None = None) -> list[Path]:
    """List all files of a folder in SHA256SUMS.

    Args:
        folder: where to.
        known: digests by name, of files that are not read again; None for those that are listed.

    Returns:
        The files, SHA256SUMS last.
    """
    sums = folder / SUMS
    if known is None:
        known = _listed(folder, "write it anew") if sums.exists() else {}
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != sums)
    names = [path.relative_to(folder).as_posix() for path in files]
    lines = [f"{known.get(name) or sha256_file(folder / name)}  {name}\n" for name in names]
    sums.write_text("".join(lines), encoding="utf-8")
    return [*files, sums]


def check_file(path: Path, remedy: str) -> None:
    """InputError if a file is not as it was written; one of an unsealed folder is not looked at.

    In a process each is read once, as long as its size, mtime and inode stay.
    """
    if not (path.parent / SUMS).is_file():
        return
    wanted = _listed(path.parent, remedy).get(path.name)
    if wanted is None:
        raise InputError(f"{path.parent / SUMS} does not list {path.name}; {remedy}")
    facts = path.stat()
    mark = (facts.st_size, facts.st_mtime_ns, facts.st_ino, wanted)
    if _known.get(str(path.absolute())) == mark:
        return
    _compare(path, wanted, remedy)
    _known[str(path.absolute())] = mark


def check_seal(folder: Path, needed: set[str], remedy: str, *, others: bool = True) -> None:
    """InputError naming the first file of a sealed folder that is not as it was written.

    Args:
        folder: the sealed folder.
        needed: files that it must have.
        remedy: ends the message.
        others: whether to look at all that it lists.
    """
    listed = _listed(folder, remedy)
    missing = sorted(needed - listed.keys())
    if missing:
        raise InputError(f"{folder / SUMS} does not list {missing[0]}; {remedy}")
    for name, digest in listed.items():
        if not others and name not in needed:
            continue
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path} is missing; {remedy}")
        _compare(path, digest, remedy)


def _compare(path: Path, digest: str, remedy: str) -> None:
    if sha256_file(path) != digest:
        raise InputError(f"{path} is damaged: not the bytes that {SUMS} lists; {remedy}")


def _listed(folder: Path, remedy: str) -> dict[str, str]:
    """The digest of each file by its name."""
    text = (folder / SUMS).read_bytes().decode("utf-8", errors="replace")
    found = re.findall(r"^([0-9a-f]{64})  ([^\n]+)$", text, flags=re.MULTILINE | re.ASCII)
    if not text or text != "".join(f"{digest}  {name}\n" for digest, name in found):
        raise InputError(f"{folder / SUMS} is damaged; {remedy}")
    return {name: digest for digest, name in found}
