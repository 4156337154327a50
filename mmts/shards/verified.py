"""Which files were once found to be what their SHA-256 says, so that each is hashed once.

Remembered by path, size, mtime and inode in `data/cache/verified.json`. So a bit that flipped
before a shard is first opened is found then; one that flips on the disk later, without a write, is
found where its picture or frame is read, by a CRC-32. Deleting the file makes all be hashed again.
A copy or a checkout is another file and is hashed once.

`pack` remembers nothing, though it has just computed the digests: they are of the bytes that it
gave to the disk. That the disk gives them back is what the first reader finds out.
Tars that stay in place (`pack.in_place`) it has read from the disk, and those it remembers.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from mmts.errors import InputError
from mmts.files import output_file
from mmts.sealed import sha256_file

SETTLED = 2 * 10**9
"""Nanoseconds since the last write after which a second one cannot have the same mtime."""
THREADS = 4
PROGRESS_FROM = 1 << 30
"""Bytes to hash from which on there is a bar."""

Mark = list[object]


def memory_of(folder: Path) -> Path | None:
    """Where is remembered what is verified of `data/shards/<dataset>`; None for other folders."""
    data = folder.absolute().parent
    return data.parent / "cache/verified.json" if data.name == "shards" else None


def verify(digests: Mapping[Path, str], memory: Path | None, remedy: str) -> None:
    """InputError naming the first of the files that does not have this SHA-256."""
    known = _read(memory)
    marks = {path: mark(path, digest) for path, digest in digests.items()}
    left = [path for path, now in marks.items() if known.get(_name(path)) != now]
    if not left:
        return
    begun = time.time_ns()
    sure = {}
    for path, digest in zip(left, _hashes(left), strict=True):
        if digest != digests[path]:
            raise InputError(f"{path} does not match the SHA-256 in manifest.json; {remedy}")
        if begun - path.stat().st_mtime_ns > SETTLED:
            sure[_name(path)] = marks[path]
    remember(memory, sure)


def _hashes(paths: list[Path]) -> list[str]:
    from tqdm import tqdm

    total = sum(path.stat().st_size for path in paths)
    with (
        ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool,
        tqdm(
            total=total, desc="verify shards", unit="B", unit_scale=True,
            disable=total < PROGRESS_FROM,
        ) as bar,
    ):  # fmt: skip
        found = []
        for path, digest in zip(paths, pool.map(sha256_file, paths), strict=True):
            found.append(digest)
            bar.update(path.stat().st_size)
        return found


def _name(path: Path) -> str:
    return str(path.absolute())


def mark(path: Path, digest: str) -> Mark:
    """What tells a file from a changed one without reading it, and its SHA-256."""
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns, facts.st_ino, digest]


def _read(memory: Path | None) -> dict[str, Mark]:
    """What is remembered; nothing where the file is not there or damaged."""
    try:
        known = json.loads(memory.read_bytes()) if memory is not None else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def remember(memory: Path | None, sure: Mapping[str, Mark]) -> None:
    """Add to the file; of two processes at once one may be forgotten, and hashes again."""
    if memory is None or not sure:
        return
    known = {name: mark for name, mark in _read(memory).items() if Path(name).exists()}
    with (
        suppress(OSError, InputError),
        output_file(memory) as work,
    ):  # a read-only folder: nothing is kept
        work.write_text(json.dumps({**known, **sure}, indent=0), encoding="utf-8")
