"""A split whose index is here and whose shards come from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from mmts.errors import InputError, first_line
from mmts.files import read_json
from mmts.kinds.stream import IMAGE
from mmts.shards.reader import REMEDY, ShardReader
from mmts.shards.remote import Streamed
from mmts.video import SegmentReader


class StreamedReader(ShardReader):
    """Knows of all samples what their JSON says, and has the members of those that it is given.

    Attributes:
        shards: what the manifest says of each shard.
        asked: the sample of which a member was asked for last; None after `hold`.
    """

    def __init__(self, folder: Path, split: str) -> None:
        super().__init__(folder, split, tars=False)
        self.shards: dict[str, Any] = read_json(folder / "manifest.json", REMEDY)["shards"]
        path = folder / "index.parquet"
        try:
            index = pq.read_table(
                path,
                columns=["key", "sample_id"],
                filters=[("split", "==", split)],
                use_threads=False,
                pre_buffer=False,
            )
            keys = np.array(index["key"].to_pylist(), dtype=np.int64)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            problem = first_line(error)
            raise InputError(f"{path} has no key that is a number ({problem}); {REMEDY}") from None
        self._order = np.argsort(keys)
        self._keys, self._ids = keys[self._order], index["sample_id"].combine_chunks()
        self._held: dict[int, Streamed] = {}
        self.asked: Streamed | None = None

    def hold(self, samples: list[Streamed]) -> list[int]:
        """Have the members of these samples, and no others; their numbers.

        Raises:
            InputError: a sample is not the one that the index has under its key.
        """
        numbers = [self._number(sample) for sample in samples]
        self._held, self.asked = dict(zip(numbers, samples, strict=True)), None
        return numbers

    def _number(self, sample: Streamed) -> int:
        key = int(sample.key) if sample.key.isdecimal() else -1
        place = int(np.searchsorted(self._keys, key))
        known = place < len(self) and self._keys[place] == key
        number = int(self._order[place]) if known else -1
        if not known or self._ids[number].as_py() != sample.said.get("sample_id"):
            raise InputError(
                f"{sample.name}: its sample_id {sample.said.get('sample_id')!r} is not what "
                f"{self._folder / 'index.parquet'} has under its key; copy the shards that were "
                "packed with it"
            )
        return number

    def member(self, number: int, stream: str) -> bytes:
        """Return what is stored of a stream of sample `number`."""
        self.asked = self._held[number]
        if stream not in self.asked.members and stream != IMAGE:
            raise InputError(f"it has no {stream}.{self.streams[stream]}")
        return self.asked.members.get(stream, b"")

    def segment(self, number: int) -> SegmentReader:
        """The frames of clip `number`."""
        return SegmentReader(self.image_bytes(number))
