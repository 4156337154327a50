"""index.parquet: where each sample stands in its shard, and what its JSON says, as columns.

So a split of millions is opened without reading its shards, and its captions lie in Arrow arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmts.errors import InputError, first_line
from mmts.files import require
from mmts.shards.items import Item, sample_of

ROWS = 1 << 17
COLUMNS = {
    **dict.fromkeys(("shard", "sample_id", "source", "split"), pa.string()),
    "image_offset": pa.int64(), "image_bytes": pa.int64(), "image_crc32": pa.int64(),
    "captions": pa.list_(pa.string()),
    "caption_ids": pa.list_(pa.string()), "cluster_id": pa.list_(pa.int64()),
}  # fmt: skip
"""What is read, and without a gap."""
PLACE = ("offset", "bytes", "crc32")
"""What the index has of a member: of the picture or clip as `image_…`, of a stream as
`stream_<name>_…`."""
NOT_READ = {"key", "extension", "json_offset", "json_bytes"}


class Place(NamedTuple):
    """Where in its shard a sample stands.

    `streams` has offset, bytes and CRC-32 of the member of each stream, in the dataset's order.
    """

    key: str
    sample_id: str
    extension: str
    image_offset: int
    image_bytes: int
    image_crc32: int
    json_offset: int
    json_bytes: int
    streams: Sequence[Sequence[int]] = ()

    def moved(self, by: int) -> Place:
        """Return the place of the sample that many bytes further on."""
        return self._replace(
            image_offset=self.image_offset + by,
            json_offset=self.json_offset + by,
            streams=tuple((start + by, *rest) for start, *rest in self.streams),
        )


def write_index(
    path: Path, places: Sequence[tuple[str, str, Place]], item_of: Mapping[str, Item],
    streams: Sequence[str] = (),
) -> None:  # fmt: skip
    """Write the index of samples in packed order.

    Args:
        path: where to.
        places: split, shard and place of each.
        item_of: what was packed, by sample_id.
        streams: their names.
    """
    parts = [
        _table(places[start : start + ROWS], item_of, streams)
        for start in range(0, max(1, len(places)), ROWS)
    ]
    whole = pa.concat_tables(parts, promote_options="permissive").combine_chunks()
    pq.write_table(whole, path)


def _table(
    places: Sequence[tuple[str, str, Place]], item_of: Mapping[str, Item], streams: Sequence[str]
) -> pa.Table:
    """A part of the index in Arrow arrays, which take a fraction of Python's lists."""
    columns: dict[str, list[Any]] = {"split": [], "shard": []}
    columns |= {name: [] for name in Place._fields if name != "streams"}
    columns |= {name: [] for stream in streams for name in columns_of(stream)}
    for split, shard, (*place, members) in places:
        numbers = [number for member in members for number in member]
        for name, value in zip(columns, (split, shard, *place, *numbers), strict=True):
            columns[name].append(value)
    samples = [sample_of(item_of[place.sample_id]) for _, _, place in places]
    for name in samples[0] if samples else ():
        if name not in columns:
            columns[name] = [sample[name] for sample in samples]
    return pa.table(columns)


def columns_of(stream: str) -> list[str]:
    """Return the names of the columns with the place of a stream's member."""
    return [f"stream_{stream}_{name}" for name in PLACE]


def read_index(path: Path, split: str, remedy: str, streams: Iterable[str] = ()) -> pa.Table:
    """The rows of one split, without what stock tools alone need of the place.

    Args:
        path: of the index.
        split: whose rows.
        remedy: what to do where it is damaged.
        streams: whose places must be there.

    Raises:
        InputError: the file is missing, no Parquet, or of an older version of this project.
    """
    require(path, remedy)
    try:
        names = [name for name in pq.read_schema(path).names if name not in NOT_READ]
        for name in ("captions", "image_crc32"):
            if name not in names:
                raise InputError(f"{path} has no {name}: an older version wrote it; {remedy}")
        found = pq.read_table(
            path, columns=names, filters=[("split", "==", split)],
            read_dictionary=["shard", "source", "split"], use_threads=False, pre_buffer=False,
        )  # fmt: skip
        found.validate(full=True)
        pa.default_memory_pool().release_unused()
    except (InputError, MemoryError):
        raise
    except Exception as error:  # a damaged file may raise anything
        if isinstance(error, OSError) and error.errno:
            raise  # the disk's or the rights' fault
        raise InputError(f"{path} is not a Parquet file ({first_line(error)}); {remedy}") from None
    wanted = [name for stream in streams for name in columns_of(stream)]
    _check(found, {**COLUMNS, **dict.fromkeys(wanted, pa.int64())}, path, remedy)
    return found


def _check(found: pa.Table, columns: Mapping[str, pa.DataType], path: Path, remedy: str) -> None:
    """InputError where a column is missing, of another type, or not as long as the captions."""
    for name, kind in columns.items():
        there = found.column_names.count(name) == 1
        if not there or not _is(found[name], kind):
            raise InputError(f"{path}: {name} is not there or not of {kind}, once each; {remedy}")
    lists = [name for name in found.column_names if pa.types.is_list(found[name].type)]
    length = pc.list_value_length(found["captions"])
    for name in lists:
        if not pc.all(pc.equal(pc.list_value_length(found[name]), length)).as_py() and len(found):
            raise InputError(f"{path}: {name} has not one value a caption; {remedy}")


def _is(column: pa.ChunkedArray, kind: pa.DataType) -> bool:
    own = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    gaps = column.null_count + (pc.list_flatten(column).null_count if pa.types.is_list(own) else 0)
    return own.equals(kind) and not gaps
