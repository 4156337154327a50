"""What is kept of the cells of a study: a line of JSON a cell, by dataset."""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmts.disk import room
from mmts.errors import InputError
from mmts.files import output_file, read_parquet
from mmts.metrics.recall import KS

Levels = NDArray[np.uint8]
"""How well each query was answered: 0 where the right answer ranks first, 1 where it is among the
first five, 2 among the first ten, 3 after them."""


VERSION = 2
"""Of a line of the file. In version 1, which names none, rsum is a sum of fractions, 0 to 6."""


class Records:
    """The records of one dataset, in `<folder>/<dataset>.jsonl`; by key, the last one counts.

    A record has `key`, the facts of its cell, `validation` (metrics), and where it was tested
    `test` (metrics) and `levels` (see `packed`), and facts about the run. Recalls are fractions and
    rsum is 0 to 600, whatever the version of its line.
    """

    def __init__(self, folder: Path, dataset: str) -> None:
        """`folder`: of the study."""
        self.path = folder / f"{dataset}.jsonl"
        self.by_key: dict[str, dict[str, Any]] = {}
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        cut = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        self._cut = len(cut)  # a killed run's last line
        for number, line in enumerate(lines, 1):
            try:
                record = _record(line)
                rsum, key = float(record["validation"]["val/rsum"]), record["key"]
                if not isfinite(rsum) or not isinstance(key, str):
                    raise ValueError
                _line(record)  # that it can be kept
                self.by_key[key] = record
            except (
                ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError,
            ):  # fmt: skip
                raise InputError(
                    f"{self.path} line {number} is no record; remove the line and run the study "
                    "again"
                ) from None

    def add(self, record: dict[str, Any]) -> None:
        """Keep a record; it is on the disk on return."""
        again = "run the study again: it goes on from its records"
        with room(self.path, again):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab", buffering=0) as file:
                end = file.tell() - self._cut
                file.truncate(end)
                self._cut = 0
                try:
                    rest = memoryview(_line(record))
                    while rest:
                        rest = rest[file.write(rest) :]
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(end)  # the next record must not go on in this one's line
                    raise
        self.by_key[record["key"]] = record

    def keep_queries(self, queries: pd.DataFrame) -> None:
        """Keep the test queries that levels are of; InputError where they are others by now.

        Classes may be others: they are those of the long-tail sweep's present settings.
        """
        path = self.path.with_suffix(".parquet")
        if path.exists():
            kept = read_parquet(path, "remove it and run the study again")
            if kept.equals(queries):
                return
            if not kept.drop(columns="class").equals(queries.drop(columns="class")):
                raise InputError(
                    f"{path} has other test queries or parts than the data; for a study of the "
                    f"present data remove it and {self.path}"
                )
        with output_file(path) as work:
            queries.to_parquet(work, index=False)

    def tidy(self, keys: set[str]) -> None:
        """Keep the records of these keys alone, in the order of the keys."""
        self.by_key = {key: self.by_key[key] for key in sorted(self.by_key) if key in keys}
        with output_file(self.path) as work:
            work.write_bytes(b"".join(map(_line, self.by_key.values())))
        self._cut = 0


def _record(line: bytes) -> dict[str, Any]:
    """Return the record of a line, with rsum from 0 to 600."""
    record: dict[str, Any] = json.loads(line)
    version = record.pop("version", 1)
    if version not in (1, VERSION):
        raise ValueError
    for part, key in (("validation", "val/rsum"), ("test", "rsum")):
        if version == 1 and key in record.get(part, {}):
            record[part][key] = 100 * float(record[part][key])
    return record


def _line(record: Mapping[str, Any]) -> bytes:
    versioned = {"version": VERSION, **record}
    text = json.dumps(versioned, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode() + b"\n"


def levels_of(ranks: NDArray[np.int64]) -> Levels:
    """Levels of ranks that are counted from 1."""
    return np.searchsorted(np.array(KS), ranks).astype(np.uint8)


def packed(levels: Levels) -> str:
    """Levels as text: two bits a query, compressed, in base 64."""
    four = np.zeros((-(-len(levels) // 4), 4), np.uint8)
    four.reshape(-1)[: len(levels)] = levels
    bytes_ = (four << np.array([0, 2, 4, 6], np.uint8)).sum(axis=1).astype(np.uint8)
    return base64.b64encode(zlib.compress(bytes_.tobytes(), 9)).decode()


def unpacked(text: str, queries: int) -> Levels:
    """The levels of so many queries; InputError where the text does not have as many."""
    size = -(-queries // 4)
    try:
        data = zlib.decompressobj().decompress(base64.b64decode(text), size + 1)
    except (TypeError, ValueError, zlib.error):
        data = b""
    if len(data) != size:
        raise InputError(
            f"the levels of a record are damaged, or not those of {queries:,} queries; remove the "
            "record and run the study again"
        )
    four = np.frombuffer(data, np.uint8)[:, None] >> np.array([0, 2, 4, 6], np.uint8) & 3
    found: Levels = four.reshape(-1)[:queries].astype(np.uint8)
    return found
