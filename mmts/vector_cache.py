"""A content-addressed store of vectors: what was computed once is not computed again.

One SQLite file a model. Every `put` is a transaction, so that an interrupted run keeps all
finished batches and nothing else.
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import TracebackType
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mmts.disk import room
from mmts.errors import InputError

Vectors = NDArray[np.float32]
SUM = struct.Struct("<IB")
"""CRC-32 of key and vector, behind the vector, and a byte: so the length tells that it is there."""
TEXTS_A_TRANSACTION = 1024
TEXTS_AT_ONCE = 10_000  # tokenised: their tokens take up to 4 kB a text
SCHEMA = "CREATE TABLE vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL)"
UNPADDED = "unpadded"
"""Stands in the name of a cache of `by_length`: padding changes the last bits of a vector."""


class VectorCache:
    """float32 vectors of one length by the SHA-256 of what they were computed from."""

    def __init__(self, path: Path, dim: int) -> None:
        self.path, self.dim = path, dim
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=60)
            self._db.execute(SCHEMA.replace("TABLE", "TABLE IF NOT EXISTS"))
            found = self._db.execute("SELECT sql FROM sqlite_master").fetchall()
        if (SCHEMA,) not in found or any(sql not in (SCHEMA, None) for (sql,) in found):
            self._db.close()
            raise InputError(f"{path} is a database of another kind; delete it")

    def __enter__(self) -> VectorCache:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._db.close()

    def get(self, keys: Sequence[bytes]) -> Iterator[tuple[bytes, Vectors]]:
        """Key and vector of those that are there, in any order."""
        for start in range(0, len(keys), 500):
            part = keys[start : start + 500]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, vector FROM vectors WHERE key IN ({marks})"  # noqa: S608
            for key, blob in self._rows(query, part):
                yield key, self._vector(key, blob)

    def _rows(self, query: str, keys: Sequence[bytes]) -> Iterator[tuple[bytes, object]]:
        with self._told():
            yield from self._db.execute(query, keys)

    def put(self, keys: Sequence[bytes], vectors: Vectors) -> None:
        """Store a batch, all of it or nothing."""
        rows = [
            (key, data + SUM.pack(crc32(data, crc32(key)), 1))
            for key, vector in zip(keys, vectors, strict=True)
            for data in [np.ascontiguousarray(vector, dtype=np.float32).tobytes()]
        ]
        with self._told(), self._db:
            self._db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)

    def _vector(self, key: bytes, blob: object) -> Vectors:
        """What a row holds; one of an older version has no CRC-32."""
        size = 4 * self.dim
        if not isinstance(blob, bytes) or len(blob) not in (size, size + SUM.size):
            raise InputError(f"{self.path} holds vectors of another length; delete it")
        vector = np.frombuffer(blob[:size], dtype=np.float32)
        if len(blob) > size and SUM.unpack(blob[size:]) != (crc32(blob[:size], crc32(key)), 1):
            raise InputError(f"{self.path} holds a vector that is damaged; delete it")
        if not np.isfinite(vector).all():
            raise InputError(f"{self.path} holds a vector that is not finite; delete it")
        return vector

    @contextmanager
    def _told(self) -> Iterator[None]:
        """InputError of what SQLite says; only a damaged file is to be deleted."""
        try:
            with room(self.path, "give the same command again: what it holds stays"):
                yield
        except sqlite3.OperationalError as error:
            raise InputError(
                f"{self.path} cannot be used ({error}); make it writable, and end other commands "
                "that use it"
            ) from None
        except (sqlite3.Error, UnicodeDecodeError) as error:  # of names that are no UTF-8
            raise InputError(f"{self.path} is not a usable cache ({error}); delete it") from None


def content_key(data: bytes) -> bytes:
    """The cache key of some content."""
    return hashlib.sha256(data).digest()


def through_cache(
    cache: VectorCache,
    keys: Sequence[bytes],
    compute: Callable[[NDArray[np.int64]], Iterable[tuple[NDArray[np.int64], Vectors]]],
) -> tuple[Vectors, int]:
    """Vectors for all keys, computing only what the cache lacks.

    Args:
        cache: where vectors are looked up and stored.
        keys: [N]; a key may occur several times and is computed once.
        compute: gets the positions of the missing keys; yields (positions, vectors) in batches,
            until each has its vector.

    Returns:
        [N, cache.dim] vectors, and how many were computed now.
    """
    vectors = np.empty((len(keys), cache.dim), dtype=np.float32)
    there = np.zeros(len(keys), dtype=np.bool_)
    first = first_positions(keys)
    for key, vector in cache.get(list(first)):
        vectors[first[key]], there[first[key]] = vector, True
    missing = np.array([i for i in first.values() if not there[i]], dtype=np.int64)
    if len(missing):
        for positions, batch in compute(missing):
            cache.put([keys[i] for i in positions], batch)
            vectors[positions] = batch
    for i, key in enumerate(keys):
        if first[key] != i:
            vectors[i] = vectors[first[key]]
    return vectors, len(missing)


def first_positions(keys: Sequence[bytes]) -> dict[bytes, int]:
    """Where each distinct key stands first."""
    first: dict[bytes, int] = {}
    for i, key in enumerate(keys):
        first.setdefault(key, i)
    return first


def lengths(
    missing: NDArray[np.int64], count: Callable[[list[int]], Iterable[int]]
) -> NDArray[np.int64]:
    """The `tokens` of `by_length`, counted in portions: of the tokens themselves nothing is kept.

    Args:
        missing: [M] positions of the texts.
        count: positions of at most TEXTS_AT_ONCE texts -> the length of each.
    """
    starts = range(0, len(missing), TEXTS_AT_ONCE)
    parts = (count(missing[start : start + TEXTS_AT_ONCE].tolist()) for start in starts)
    return np.fromiter(chain.from_iterable(parts), np.int64, len(missing))


def by_length(
    missing: NDArray[np.int64],
    tokens: NDArray[np.int64],
    encode: Callable[[NDArray[np.int64]], Vectors],
    desc: str,
) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
    """What `through_cache` computes of texts: those of one length together, the longest first.

    So nothing is padded. That takes less time, and padding, whose length the other new texts would
    decide, does not change the last bits of a vector.

    Args:
        missing: [M] positions of the texts.
        tokens: [M], the length of each.
        encode: positions of texts of one length -> their vectors.
        desc: in front of the progress bar.
    """
    order = np.argsort(-tokens, kind="stable")
    total = int(tokens.sum())  # not the texts: the last ones take the least time
    with tqdm(total=total, desc=desc, unit="token", unit_scale=True) as bar:
        for start in range(0, len(order), TEXTS_A_TRANSACTION):
            part = order[start : start + TEXTS_A_TRANSACTION]
            found = []
            for rows in np.split(part, np.flatnonzero(np.diff(tokens[part])) + 1):
                found.append(encode(missing[rows]))
                bar.update(int(tokens[rows].sum()))
            yield missing[part], np.concatenate(found)
