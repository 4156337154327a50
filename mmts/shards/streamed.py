"""A split whose index is here and whose shards come from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from mmts.errors import InputError
from mmts.files import read_json
from mmts.shards.reader import REMEDY, ShardReader
from mmts.shards.remote import Streamed
from mmts.video import SegmentReader


class StreamedReader(ShardReader):
    """Knows of all samples what their JSON says, and has the pictures or clips that it is given.

    Attributes:
        shards: what the manifest says of each shard.
    """

    def __init__(self, folder: Path, split: str) -> None:
        super().__init__(folder, split, tars=False)
        self.shards: dict[str, Any] = read_json(folder / "manifest.json", REMEDY)["shards"]
        index = pq.read_table(
            folder / "index.parquet", columns=["key", "sample_id"],
            filters=[("split", "==", split)],
        )  # fmt: skip
        keys = np.array(index["key"].to_pylist(), dtype=np.int64)
        self._order = np.argsort(keys)
        self._keys, self._ids = keys[self._order], index["sample_id"].combine_chunks()
        self._held: dict[int, bytes] = {}

    def hold(self, samples: list[Streamed]) -> list[int]:
        """Have the pictures or clips of these samples, and no others; their numbers.

        Raises:
            InputError: a sample is not the one that the index has under its key.
        """
        numbers = [self._number(sample) for sample in samples]
        self._held = {number: s.media for number, s in zip(numbers, samples, strict=True)}
        return numbers

    def _number(self, sample: Streamed) -> int:
        place = len(self)
        if sample.key.isdecimal():
            place = int(np.searchsorted(self._keys, int(sample.key)))
        number = int(self._order[place]) if place < len(self) else -1
        if number < 0 or self._ids[number].as_py() != sample.said.get("sample_id"):
            raise InputError(
                f"the streamed sample {sample.key} ({sample.said.get('sample_id')}) is not that of "
                f"{self._folder / 'index.parquet'}; copy the shards that were packed with it"
            )
        return number

    def image_bytes(self, number: int) -> bytes:
        """The jpg or png of sample `number`."""
        return self._held[number]

    def segment(self, number: int) -> SegmentReader:
        """The frames of clip `number`."""
        return SegmentReader(memoryview(self._held[number]))
