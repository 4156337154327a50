"""Folders that are either whole or not there, and that show any later change.

A sealed folder has SHA256SUMS, in the form of sha256sum: `sha256sum -c SHA256SUMS` checks it too.
"""

from __future__ import annotations

import re
from pathlib import Path

from mmts.errors import InputError
from mmts.files import discard, sha256_file, sync

SUMS = "SHA256SUMS"


def seal(work: Path, final: Path) -> None:
    """List the files of `work`, wait until all are on disk, and only then give it its name.

    Whatever stops the process or the machine, `final` is whole or not there. One that was there
    is replaced.
    """
    files = sorted(path for path in work.iterdir() if path.name != SUMS)
    lines = [f"{sha256_file(path)}  {path.name}\n" for path in files]
    (work / SUMS).write_text("".join(lines), encoding="utf-8")
    for path in (*files, work / SUMS, work):
        sync(path)
    if final.exists():
        discard(final)
    work.rename(final)
    sync(final.parent)


def check_seal(folder: Path, needed: set[str], *, others: bool = True) -> None:
    """InputError naming the first file of a sealed folder that is not as it was written.

    Args:
        folder: the sealed folder.
        needed: files that it must have.
        others: whether to look at all that it lists.
    """
    remedy = f"delete {folder} to go on from the checkpoint before it"
    if not folder.is_dir() or not (folder / SUMS).is_file():
        raise InputError(
            f"{folder} is no checkpoint: that is a folder step-NUMBER with {SUMS}, which nothing "
            "but training writes"
        )
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
        if sha256_file(path) != digest:
            raise InputError(f"{path} is damaged: not the bytes that {SUMS} lists; {remedy}")


def _listed(folder: Path, remedy: str) -> dict[str, str]:
    text = (folder / SUMS).read_bytes().decode("utf-8", errors="replace")
    found = re.findall(r"^([0-9a-f]{64})  ([\w.-]+)$", text, flags=re.MULTILINE | re.ASCII)
    if not text or text != "".join(f"{digest}  {name}\n" for digest, name in found):
        raise InputError(f"{folder / SUMS} is damaged; {remedy}")
    return {name: digest for digest, name in found}
