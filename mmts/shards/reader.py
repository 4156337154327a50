"""Samples of one split, by number."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from copy import copy
from mmap import ACCESS_READ, ALLOCATIONGRANULARITY, mmap
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from mmts.captions_table import SPLITS
from mmts.errors import InputError
from mmts.files import read_json, require
from mmts.kinds.stream import ENDING, IMAGE, NAME
from mmts.shards.in_place import path_of
from mmts.shards.index import PLACE, columns_of, read_index
from mmts.shards.samples import Samples
from mmts.shards.tars import REMEDY as REMEDY_TARS
from mmts.shards.verified import memory_of, verify
from mmts.video import SegmentReader

REMEDY = "run `dvc repro -sf pack`"
OPEN_FILES = 512
"""Of one split, at most; no more than a quarter of what the process may have (`ulimit -n`)."""
WHOLE = re.compile(r"-?[0-9]{1,18}")
CLOSE_ON_EXEC = getattr(os, "O_CLOEXEC", 0)


class ShardReader:
    """Random access to one split of packed shards, checked against their manifest when opened.

    It can be pickled and used from processes that were forked.

    Attributes:
        samples: what the JSON of each sample says, in packed order.
        cluster_size: training rows of each cluster_id of the packed clustering.
        video: whether the samples are clips: `segment` gives them, not `image_bytes`.
        streams: names of the further streams and the endings of their files: `member` gives them.
    """

    def __init__(self, folder: Path, split: str, tars: bool = True) -> None:
        """`tars`: whether the shards are there and to be checked; the index must be."""
        self._files: dict[str, int] = {}  # first: __del__ closes them
        manifest = read_manifest(folder)
        check_shards(folder, manifest, split, tars)
        self.cluster_size = {int(c): int(n) for c, n in manifest["cluster_size"].items()}
        self.video = "clips" in manifest
        self.streams: dict[str, str] = manifest.get("streams", {})
        index = read_index(folder / "index.parquet", split, REMEDY, self.streams)
        self.samples = Samples(index)
        shard = index["shard"].combine_chunks()
        self._folder = folder
        self._names: list[str] = shard.dictionary.to_pylist()
        self._shard = shard.indices.to_numpy(zero_copy_only=False)
        of_main = {IMAGE: [f"image_{name}" for name in PLACE]}
        self._places = {
            stream: np.stack([index[name].to_numpy() for name in names])
            for stream, names in (
                of_main | {stream: columns_of(stream) for stream in self.streams}
            ).items()
        }
        _check_places(self, manifest, folder)

    def __len__(self) -> int:
        return len(self.samples)

    def some(self, numbers: NDArray[np.int64]) -> ShardReader:
        """The same split with some of its samples alone; `cluster_size` stays that of all."""
        part = copy(self)
        part.samples = self.samples.take(numbers)
        part._shard = self._shard[numbers]
        part._places = {stream: place[:, numbers] for stream, place in self._places.items()}
        return part

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}

    def __del__(self) -> None:
        self._close()

    def _place(self, number: int, stream: str) -> tuple[str, int, int, int]:
        """Shard, offset, size and CRC-32 of a member of a sample."""
        offset, size, crc = self._places[stream][:, number].tolist()
        return self._names[self._shard[number]], offset, size, crc

    def image_bytes(self, number: int) -> bytes:
        """The jpg or png of sample `number`."""
        return self.member(number, IMAGE)

    def member(self, number: int, stream: str) -> bytes:
        """Return what is stored of a further stream of sample `number`."""
        shard, offset, size, crc = self._place(number, stream)
        file = self._files.get(shard)
        if file is None:
            file = self._open(shard)
        data = os.pread(file, size, offset)
        if len(data) != size or crc32(data) != crc:
            path = path_of(self._folder, shard)
            remedy = REMEDY if path.parent == self._folder else REMEDY_TARS
            called = "picture" if stream == IMAGE else stream
            what = "is damaged in" if len(data) == size else "ends before"
            raise InputError(f"{path} {what} its {called} {number}; {remedy}")
        return data

    def _open(self, shard: str) -> int:
        """The file, which stays open; reading by offset lets forked processes share it."""
        limit = getrlimit(RLIMIT_NOFILE)[0] % 2**31  # -1 is none
        if len(self._files) >= min(OPEN_FILES, limit // 4):
            self._close()
        path = path_of(self._folder, shard)
        file = self._files[shard] = os.open(path, os.O_RDONLY | CLOSE_ON_EXEC)
        return file

    def _close(self) -> None:
        while self._files:
            os.close(self._files.popitem()[1])

    def segment(self, number: int) -> SegmentReader:
        """The frames of clip `number`, on a memory map: only what is asked for is read.

        Each has a map of its own, which ends with it: a map a shard would hold open hundreds of
        files in each process, and take no less time beside the decoding.
        """
        shard, offset, size, _ = self._place(number, IMAGE)
        start = offset - offset % ALLOCATIONGRANULARITY
        path = self._folder / shard
        with open(path, "rb") as file:
            try:
                data = mmap(file.fileno(), offset + size - start, access=ACCESS_READ, offset=start)
            except ValueError:
                raise InputError(f"{path} ends before its clip {number}; {REMEDY}") from None
        return SegmentReader(memoryview(data)[offset - start :], f"clip {number} of {path}")


def read_manifest(folder: Path) -> dict[str, Any]:
    """manifest.json, if it has what is read of it."""
    path = folder / "manifest.json"
    found = read_json(path, REMEDY)
    wanted = {"shards": dict, "samples": dict, "cluster_size": dict, "index_sha256": str}
    if not _has(found, wanted):
        raise InputError(f"{path} is of another kind; {REMEDY}")
    tars = found.get("tars", {})
    shard, tar = {"split": str, "bytes": int, "sha256": str}, {"bytes": int, "sha256": str}
    sound = (
        isinstance(tars, dict)
        and all("/" not in name and _has(facts, shard) for name, facts in found["shards"].items())
        and all(_has(facts, {**tar, "samples": dict}) for facts in tars.values())
        and _has(found["samples"], dict.fromkeys(SPLITS, int))
        and _sound_clips(found.get("clips", {}))
        and _sound_streams(found.get("streams", {}))
        and all(WHOLE.fullmatch(name) for name in found["cluster_size"])
        and all(type(size) is int for size in found["cluster_size"].values())
    )
    if not sound:
        raise InputError(f"{path} has a shard, a tar or a number that is none; {REMEDY}")
    manifest: dict[str, Any] = found
    return manifest


def _sound_clips(clips: Any) -> bool:
    """Return whether the numbers of frames, where there are any, are counts by whole numbers."""
    frames = clips.get("frames", {}) if isinstance(clips, dict) else None
    return isinstance(frames, dict) and all(
        isinstance(counts, dict)
        and all(WHOLE.fullmatch(name) for name in counts)
        and _has(counts, dict.fromkeys(counts, int))
        for counts in frames.values()
    )


def _sound_streams(streams: Any) -> bool:
    """Return whether it has the ending of each stream by its name."""
    return isinstance(streams, dict) and all(
        NAME.fullmatch(name) and isinstance(ending, str) and ENDING.fullmatch(ending)
        for name, ending in streams.items()
    )


def _has(facts: Any, wanted: Mapping[str, type]) -> bool:
    """Whether it is a mapping with values of these types; numbers as a file's size may be."""
    return isinstance(facts, dict) and all(
        type(facts.get(name)) is kind and (kind is not int or 0 <= facts[name] < 1 << 62)
        for name, kind in wanted.items()
    )


def _check_places(reader: ShardReader, manifest: dict[str, Any], folder: Path) -> None:
    """InputError where the index names a place that no shard has."""
    known = {**manifest.get("tars", {}), **manifest["shards"]}
    size = {name: facts["bytes"] for name, facts in known.items()}
    of_shard = np.array([size.get(name, -1) for name in reader._names], dtype=np.int64)
    for offset, length, _ in reader._places.values():
        end = of_shard[reader._shard] if len(of_shard) else offset
        if ((offset < 0) | (length < 0) | (offset > end) | (length > end - offset)).any():
            raise InputError(f"{folder / 'index.parquet'} names places outside of shards; {REMEDY}")


def check_shards(folder: Path, manifest: dict[str, Any], split: str, tars: bool = True) -> None:
    """InputError naming the first file of the split that is not what the manifest says.

    Sizes and the index are compared each time, the hash of a shard once: see
    `mmts.shards.verified`. What becomes of a shard later, its CRC-32 shows where a picture or frame
    is read. Without `tars`, only the index is compared.
    """
    wanted = {n: facts for n, facts in manifest["shards"].items() if facts["split"] == split}
    in_place = {n: f for n, f in manifest.get("tars", {}).items() if split in f["samples"]}
    if not wanted and not in_place:
        raise InputError(f"{folder / 'manifest.json'} has no shards of split {split}; {REMEDY}")
    if in_place and not tars:
        raise InputError(
            f"{folder / 'manifest.json'} has pictures of split {split} in tars in place, which "
            "cannot be streamed; set train.stream to null, or pack.in_place to false"
        )
    wanted = wanted if tars else {}
    _check_sizes(folder, wanted, REMEDY)
    _check_sizes(folder, in_place, REMEDY_TARS)
    index = require(folder / "index.parquet", REMEDY)
    digests = {folder / name: facts["sha256"] for name, facts in wanted.items()}
    verify(digests, memory_of(folder), REMEDY)
    verify({index: manifest["index_sha256"]}, None, REMEDY)
    digests = {path_of(folder, name): facts["sha256"] for name, facts in in_place.items()}
    verify(digests, memory_of(folder), REMEDY_TARS)


def _check_sizes(folder: Path, wanted: dict[str, dict[str, Any]], remedy: str) -> None:
    for name, facts in wanted.items():
        path = path_of(folder, name)
        size = require(path, remedy).stat().st_size
        if size != facts["bytes"]:
            raise InputError(
                f"{path} has {size:,} bytes, not the {facts['bytes']:,} of manifest.json; {remedy}"
            )
