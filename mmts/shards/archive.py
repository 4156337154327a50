"""One shard as a tar, the index of all shards, and their manifest."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mmts.captions import SPLITS
from mmts.files import sha256_file, write_json
from mmts.shards.items import Item, sample_json


class Place(NamedTuple):
    """Where in its shard a sample stands: a row of the index."""

    key: str
    sample_id: str
    extension: str
    image_offset: int
    image_bytes: int
    json_offset: int
    json_bytes: int


class Shard(NamedTuple):
    """A written shard."""

    split: str
    sha256: str
    bytes: int
    places: list[Place]

    @staticmethod
    def of(path: Path, split: str, places: list[Place]) -> Shard:
        """The facts of a tar that is complete."""
        return Shard(split, sha256_file(path), path.stat().st_size, places)


def open_tar(path: Path) -> tarfile.TarFile:
    """A new tar to add samples to."""
    return tarfile.open(path, "w:", format=tarfile.USTAR_FORMAT)


def add_sample(tar: tarfile.TarFile, key: str, item: Item, data: bytes, extension: str) -> Place:
    """Append the two members of a sample."""
    text = sample_json(item)
    at_image = _add(tar, f"{key}.{extension}", data)
    at_json = _add(tar, f"{key}.json", text)
    return Place(key, item.sample_id, extension, at_image, len(data), at_json, len(text))


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> int:
    """Append a member with fixed owner, mode and time; where its bytes start."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))
    return tar.offset - (len(data) + -len(data) % tarfile.BLOCKSIZE)


def write_tables(
    folder: Path,
    shards: dict[str, Shard],
    cluster_size: dict[int, int],
    clips: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write index.parquet and manifest.json of shards by name; return the manifest.

    Args:
        folder: where the shards are.
        shards: by file name, in order.
        cluster_size: training rows of each cluster_id.
        clips: how clips were cut; None for pictures. The manifest then has the shards' sizes too.
    """
    rows = [(s.split, name, *place) for name, s in shards.items() for place in s.places]
    index = pd.DataFrame(rows, columns=["split", "shard", *Place._fields])
    index.to_parquet(folder / "index.parquet", index=False)
    samples = {
        split: sum(len(s.places) for s in shards.values() if s.split == split) for split in SPLITS
    }
    manifest: dict[str, Any] = {
        "shards": {
            name: {"split": s.split, "samples": len(s.places), "sha256": s.sha256}
            for name, s in shards.items()
        },
        "samples": samples,
        "index_sha256": sha256_file(folder / "index.parquet"),
        "cluster_size": {str(cluster): size for cluster, size in sorted(cluster_size.items())},
    }
    if clips is not None:
        for name, shard in shards.items():
            manifest["shards"][name]["bytes"] = shard.bytes
        manifest["clips"] = clips
    write_json(folder / "manifest.json", manifest)
    return manifest
