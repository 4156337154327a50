"""Samples of one split, by number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from mmap import ACCESS_READ, ALLOCATIONGRANULARITY, mmap
from pathlib import Path
from typing import Any

from mmts.errors import InputError
from mmts.files import read_json, read_parquet, require, sha256_file
from mmts.video import SegmentReader

REMEDY = "run `dvc repro -sf pack`"


class ShardReader:
    """Random access to one split of packed shards, checked against their manifest when opened.

    It can be pickled and used from processes that were forked: no file stays open.

    Attributes:
        samples: the JSON of each sample, in packed order.
        cluster_size: training rows of each cluster_id of the packed clustering.
        video: whether the samples are clips: `segment` gives them, not `image_bytes`.
    """

    def __init__(self, folder: Path, split: str) -> None:
        manifest = read_json(folder / "manifest.json", REMEDY)
        check_shards(folder, manifest, split)
        self.cluster_size = {int(c): int(n) for c, n in manifest["cluster_size"].items()}
        self.video = "clips" in manifest
        index = read_parquet(folder / "index.parquet", REMEDY)
        index = index[index["split"] == split]
        self._folder = folder
        self._places: list[tuple[str, int, int]] = list(
            zip(index["shard"], index["image_offset"], index["image_bytes"], strict=True)
        )
        texts = zip(index["shard"], index["json_offset"], index["json_bytes"], strict=True)
        self.samples: list[dict[str, Any]] = [json.loads(data) for data in self._read_all(texts)]

    def __len__(self) -> int:
        return len(self.samples)

    def image_bytes(self, number: int) -> bytes:
        """The jpg or png of sample `number`."""
        shard, offset, size = self._places[number]
        with open(self._folder / shard, "rb") as file:
            file.seek(offset)
            return file.read(size)

    def segment(self, number: int) -> SegmentReader:
        """The frames of clip `number`, on a memory map: only what is asked for is read.

        Each has a map of its own, which ends with it: a map a shard would hold open hundreds of
        files in each process, and take no less time beside the decoding.
        """
        shard, offset, size = self._places[number]
        start = offset - offset % ALLOCATIONGRANULARITY
        path = self._folder / shard
        with open(path, "rb") as file:
            try:
                data = mmap(file.fileno(), offset + size - start, access=ACCESS_READ, offset=start)
            except ValueError:
                raise InputError(f"{path} ends before its clip {number}; {REMEDY}") from None
        return SegmentReader(memoryview(data)[offset - start :])

    def _read_all(self, places: Iterator[tuple[str, int, int]]) -> Iterator[bytes]:
        """Many small members in packed order, each shard opened once."""
        current, file = "", None
        try:
            for shard, offset, size in places:
                if shard != current:
                    if file is not None:
                        file.close()
                    current, file = shard, open(self._folder / shard, "rb")  # noqa: SIM115
                assert file is not None
                file.seek(offset)
                yield file.read(size)
        finally:
            if file is not None:
                file.close()


def check_shards(folder: Path, manifest: dict[str, Any], split: str) -> None:
    """InputError naming the first file of the split that is not what the manifest says.

    Of shards of clips the size is compared, not the SHA-256: they may be hundreds of GB, and every
    stage opens them. A segment says itself when it is damaged.
    """
    wanted = {n: facts for n, facts in manifest["shards"].items() if facts["split"] == split}
    if not wanted:
        raise InputError(f"{folder / 'manifest.json'} has no shards of split {split}; {REMEDY}")
    digests = {n: facts["sha256"] for n, facts in wanted.items() if "bytes" not in facts}
    for name, facts in wanted.items():
        path = require(folder / name, REMEDY)
        if "bytes" in facts and path.stat().st_size != facts["bytes"]:
            raise InputError(
                f"{path} has {path.stat().st_size:,} bytes, not the {facts['bytes']:,} of "
                f"manifest.json; {REMEDY}"
            )
    for name, digest in {**digests, "index.parquet": manifest["index_sha256"]}.items():
        path = require(folder / name, REMEDY)
        if sha256_file(path) != digest:
            raise InputError(f"{path} does not match the SHA-256 in manifest.json; {REMEDY}")
