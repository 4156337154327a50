"""One shard as a tar, the index of all shards, and their manifest."""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mmts.captions_table import SPLITS
from mmts.errors import InputError
from mmts.files import write_json
from mmts.kinds.stream import StreamKind
from mmts.sealed import sha256_file, write_sums
from mmts.shards.in_place import InPlace
from mmts.shards.index import Place, write_index
from mmts.shards.items import Empty, Item, sample_json

BLOCK, RECORD = tarfile.BLOCKSIZE, tarfile.RECORDSIZE
PIECE = 1 << 20
FIRST = 3
"""Items without a stream that the manifest names in each split."""
LARGEST = 8**11 - 1
"""Bytes of a member: eleven octal digits."""


class Shard(NamedTuple):
    """A written shard."""

    split: str
    sha256: str
    bytes: int
    places: list[Place]


class ShardFile:
    """A tar that is written front to back and hashed on the way.

    What tarfile writes in USTAR format with fixed owner, mode and time, in a tenth of its time.
    """

    def __init__(self, path: Path, split: str) -> None:
        self._split = split
        self._places: list[Place] = []
        self._hash = hashlib.sha256()
        self._pending = bytearray()
        self._written = 0
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115

    def __enter__(self) -> ShardFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._end()
        finally:
            self._file.close()

    def add_sample(self, key: str, item: Item, members: Mapping[str, bytes]) -> None:
        """Append a sample.

        Args:
            key: of its members.
            item: whose captions go into its JSON.
            members: by their endings: the picture or clip, then those of the streams.
        """
        text = sample_json(item)
        (extension, at_image), *streams = (
            (ending, (self._add(f"{key}.{ending}", data), len(data), zlib.crc32(data)))
            for ending, data in members.items()
        )
        at_json = self._add(f"{key}.json", text)
        where = *at_image, at_json, len(text), tuple(place for _, place in streams)
        self._places.append(Place(key, item.sample_id, extension, *where))

    def add_shard(self, path: Path, shard: Shard) -> None:
        """Append the samples of the shard in the file `path`, as `add_sample` would."""
        start = self._written + len(self._pending)
        end = max(place.json_offset + place.json_bytes for place in shard.places)
        with open(path, "rb") as file:
            self._pending += file.read(end + -end % BLOCK)
        self._places += [place.moved(start) for place in shard.places]
        if len(self._pending) >= PIECE:
            self._flush()

    def facts(self) -> Shard:
        """Of the shard, once it is closed."""
        return Shard(self._split, self._hash.hexdigest(), self._written, self._places)

    def _add(self, name: str, data: bytes) -> int:
        """Append a member; where its bytes start."""
        self._pending += header(name, len(data))
        start = self._written + len(self._pending)
        self._pending += data
        self._pending += bytes(-len(data) % BLOCK)
        if len(self._pending) >= PIECE:
            self._flush()
        return start

    def _end(self) -> None:
        self._pending += bytes(2 * BLOCK)
        self._pending += bytes(-(self._written + len(self._pending)) % RECORD)
        self._flush()

    def _flush(self) -> None:
        self._hash.update(self._pending)
        rest = memoryview(self._pending)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._written += len(self._pending)
        self._pending = bytearray()


def empty_rows(found: Sequence[Item], empty: Empty) -> pd.DataFrame:
    """What has no bytes, stream by stream in order of `found`."""
    place = {item.sample_id: n for n, item in enumerate(found)}
    rows = sorted((name, place[item], reason) for (name, item), reason in empty.items())
    columns = ["stream", "source", "split", "sample_id", "media", "reason"]
    items = [(name, found[n], reason) for name, n, reason in rows]
    return pd.DataFrame(
        [(name, i.source, i.split, i.sample_id, i.media, reason) for name, i, reason in items],
        columns=columns, dtype="object",
    )  # fmt: skip


def _counted(rows: pd.DataFrame) -> dict[str, Any]:
    """Of each split with such items how many they are, why, and the first of them."""
    found: dict[str, Any] = {}
    for split, of in rows.groupby("split"):
        reasons = of["reason"].str.split(":").str[0].value_counts().sort_index()
        found[str(split)] = {
            "items": len(of),
            "reasons": {str(reason): int(count) for reason, count in reasons.items()},
            "first": of["sample_id"].tolist()[:FIRST],
        }
    return {split: found[split] for split in SPLITS if split in found}


def empty_lines(
    manifest: Mapping[str, Any], streams: Mapping[str, StreamKind], folder: Path
) -> list[str]:
    """Return a line for each stream and split in which items lack the stream."""
    return [
        f"{name}: {about['items']:,} of {manifest['samples'][split]:,} {split} items have no "
        f"{streams[name].noun or name} ("
        + ", ".join(f"{reason}: {count:,}" for reason, count in about["reasons"].items())
        + f"; the first is {about['first'][0]}; listed in {folder / 'empty.parquet'})"
        for name, splits in manifest.get("empty", {}).items()
        for split, about in splits.items()
    ]


def _template() -> bytes:
    """A header without name, size and checksum."""
    member = tarfile.TarInfo("")
    member.mode = 0o644
    found = bytearray(member.tobuf(tarfile.USTAR_FORMAT))
    found[124:136], found[148:156] = bytes(12), bytes(8)
    return bytes(found)


TEMPLATE = _template()
BARE_SUM = sum(TEMPLATE) + 8 * ord(" ")  # of a checksum taken for spaces


def header(name: str, size: int) -> bytes:
    """What stands before a member, as tarfile writes it.

    Args:
        name: ASCII, at most 100 characters.
        size: in bytes.
    """
    if size > LARGEST:
        raise InputError(f"{name} has {size:,} bytes; a member of a shard has {LARGEST:,} at most")
    coded, digits = name.encode("ascii"), b"%011o\0" % size
    if len(coded) > 100:
        raise InputError(f"{name} is longer than the 100 characters of a member's name")
    check = b"%06o\0 " % (BARE_SUM + sum(coded) + sum(digits))
    padded = coded.ljust(100, b"\0")
    return padded + TEMPLATE[100:124] + digits + TEMPLATE[136:148] + check + TEMPLATE[156:]


def write_tables(
    folder: Path,
    shards: dict[str, Shard],
    found: Sequence[Item],
    cluster_size: dict[int, int],
    clips: dict[str, Any] | None = None,
    tars: dict[str, InPlace] | None = None,
    streams: Mapping[str, StreamKind] | None = None,
    empty: Empty | None = None,
) -> dict[str, Any]:
    """Write index.parquet and manifest.json of shards by name; return the manifest.

    Args:
        folder: where the shards are.
        shards: by file name, in order.
        found: what was packed, at least.
        cluster_size: training rows of each cluster_id.
        clips: how clips were cut; None for pictures.
        streams: by name.
        empty: why a stream has no bytes; empty.parquet lists it.
        tars: that are read in place, by name; the index then has all samples in order of `found`.
    """
    places = [(s.split, name, place) for name, s in shards.items() for place in s.places]
    if tars:
        places += [(split, name, at) for name, tar in tars.items() for split, at in tar.places]
        order = {item.sample_id: (SPLITS.index(item.split), n) for n, item in enumerate(found)}
        places.sort(key=lambda place: order[place[2].sample_id])
    names = list(streams or ())
    write_index(folder / "index.parquet", places, {item.sample_id: item for item in found}, names)
    samples = Counter(split for split, _, _ in places)
    manifest: dict[str, Any] = {
        "shards": {
            name: {
                "split": s.split, "samples": len(s.places), "bytes": s.bytes, "sha256": s.sha256,
            }
            for name, s in shards.items()
        },
        "samples": {split: samples[split] for split in SPLITS},
        "index_sha256": sha256_file(folder / "index.parquet"),
        "cluster_size": {str(cluster): size for cluster, size in sorted(cluster_size.items())},
    }  # fmt: skip
    if clips is not None:
        manifest["clips"] = clips
    if tars:
        manifest["tars"] = {name: tar.facts() for name, tar in tars.items()}
    if streams:
        manifest["streams"] = {name: kind.extension for name, kind in streams.items()}
        rows = empty_rows(found, empty or {})
        rows.to_parquet(folder / "empty.parquet", index=False)
        manifest["empty"] = {name: _counted(rows[rows["stream"] == name]) for name in streams}
    write_json(folder / "manifest.json", manifest)
    write_sums(folder, {name: s.sha256 for name, s in shards.items()})
    return manifest
