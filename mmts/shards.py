"""WebDataset shards with cluster IDs: written byte for byte the same each time, read in place.

A shard is an uncompressed tar; a sample is `<key>.jpg` or `<key>.png` and `<key>.json`, with keys
of our own making (`00000042`). The JSON holds the lists `captions`, `caption_ids` and `cluster_id`,
one entry a caption, and so for each of LISTS that the captions table has.
manifest.json has each shard's number of samples and SHA-256, index.parquet the place of each
member, so that reading neither walks a tar nor unpickles anything.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from PIL import Image
from tqdm import tqdm

from mmts.captions import SPLITS
from mmts.errors import InputError
from mmts.files import read_json, read_parquet, require, sha256_file, write_json
from mmts.media import FORMATS, MediaFacts, MediaReader, decode_image
from mmts.settings import Pack

REMEDY = "run `dvc repro -sf pack`"
LISTS = ("verb_class", "noun_classes", "sentence", "groups")
"""Optional columns of the captions table; a sample's JSON has a list of their values."""
EXTENSIONS = {"JPEG": "jpg", "PNG": "png"}


class Item(NamedTuple):
    """One media item with all its captions, as the captions table has them."""

    source: str
    split: str
    sample_id: str
    media: str
    media_bytes: int
    media_sha256: str
    captions: list[str]
    caption_ids: list[str]
    cluster_id: list[int]
    lists: dict[str, list[Any]]


def items(captions: pd.DataFrame, clusters: pd.DataFrame) -> list[Item]:
    """Media items in order of first appearance, their captions joined with their clusters."""
    cluster_of = dict(zip(clusters["caption_id"], clusters["cluster_id"], strict=True))
    found: dict[str, Item] = {}
    names = [name for name in LISTS if name in captions]
    rows: Iterable[Any] = captions.itertuples(index=False)
    for row in rows:
        if row.caption_id not in cluster_of:
            raise InputError(
                f"caption {row.caption_id} has no cluster; run `dvc repro -sf cluster`"
            )
        item = found.get(row.sample_id)
        if item is None:
            item = found[row.sample_id] = Item(
                row.source, row.split, row.sample_id, row.media, row.media_bytes, row.media_sha256,
                [], [], [], {name: [] for name in names},
            )  # fmt: skip
        item.captions.append(row.caption)
        item.caption_ids.append(row.caption_id)
        item.cluster_id.append(int(cluster_of[row.caption_id]))
        for name in names:
            item.lists[name].append(plain(getattr(row, name)))
    return list(found.values())


def plain(value: Any) -> Any:
    """A cell of the captions table as JSON has it: NumPy's lists and numbers as Python's."""
    return value.tolist() if hasattr(value, "tolist") else value


def cluster_sizes(clusters: pd.DataFrame) -> dict[int, int]:
    """Training rows of each cluster_id of a clustering's table."""
    sizes = clusters.drop_duplicates("cluster_id")
    return dict(zip(sizes["cluster_id"].tolist(), sizes["cluster_size"].tolist(), strict=True))


def write_shards(
    folder: Path, found: list[Item], cluster_size: dict[int, int], settings: Pack
) -> dict[str, Any]:
    """Write the shards of all splits with manifest.json and index.parquet; return the manifest.

    Args:
        folder: where to.
        found: what `items` gives.
        cluster_size: training rows of each cluster_id; goes into the manifest.
        settings: `datasets.<name>.pack`.

    Raises:
        InputError: a picture has changed since the captions stage saw it, or cannot be read.
    """
    reader = MediaReader()
    shards: dict[str, dict[str, Any]] = {}
    index: list[tuple[Any, ...]] = []
    with tqdm(total=len(found), desc="pack", unit="img") as bar:
        for split in SPLITS:
            members = [item for item in found if item.split == split]
            for number, start in enumerate(range(0, len(members), settings.shard_size)):
                name = f"{split}-{number:06d}.tar"
                part = members[start : start + settings.shard_size]
                places = _write_shard(folder / name, part, start, reader, settings.image_size, bar)
                index += [(split, name, *place) for place in places]
                digest = sha256_file(folder / name)
                shards[name] = {"split": split, "samples": len(part), "sha256": digest}
    columns = ["split", "shard", "key", "sample_id", "extension", "image_offset", "image_bytes",
               "json_offset", "json_bytes"]  # fmt: skip
    pd.DataFrame(index, columns=columns).to_parquet(folder / "index.parquet", index=False)
    manifest = {
        "shards": shards,
        "samples": {
            s: sum(v["samples"] for v in shards.values() if v["split"] == s) for s in SPLITS
        },
        "index_sha256": sha256_file(folder / "index.parquet"),
        "cluster_size": {str(cluster): size for cluster, size in sorted(cluster_size.items())},
    }
    write_json(folder / "manifest.json", manifest)
    return manifest


def _write_shard(
    path: Path, part: list[Item], first: int, reader: MediaReader, size: int | None, bar: tqdm[Any]
) -> list[tuple[Any, ...]]:
    """Write one tar; the places of its members."""
    places = []
    with tarfile.open(path, "w:", format=tarfile.USTAR_FORMAT) as tar:
        for number, item in enumerate(part, first):
            key = f"{number:08d}"
            data, extension = picture(item, reader, size)
            text = json.dumps(
                {
                    "sample_id": item.sample_id,
                    "source": item.source,
                    "split": item.split,
                    "captions": item.captions,
                    "caption_ids": item.caption_ids,
                    "cluster_id": item.cluster_id,
                    **item.lists,
                },
                ensure_ascii=False,
            ).encode()
            at_image = _add(tar, f"{key}.{extension}", data)
            at_json = _add(tar, f"{key}.json", text)
            places.append((key, item.sample_id, extension, at_image, len(data), at_json, len(text)))
            bar.update()
    return places


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> int:
    """Append a member with fixed owner, mode and time; where its bytes start."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))
    return tar.offset - (len(data) + -len(data) % tarfile.BLOCKSIZE)


def picture(item: Item, reader: MediaReader, size: int | None) -> tuple[bytes, str]:
    """The bytes to pack and their extension: the file itself, or smaller or re-encoded."""
    try:
        data = reader.read(item.media)
    except OSError as error:
        raise InputError(
            f"{item.media} ({item.sample_id}): {error.strerror or error}; it was there in the "
            "captions stage: put it back, or run `dvc repro -sf captions`"
        ) from None
    if MediaFacts.of(data) != (item.media_bytes, item.media_sha256):
        raise InputError(
            f"{item.media} ({item.sample_id}) has changed since the captions stage saw it; run "
            "`dvc repro -sf captions`"
        )
    try:
        image = decode_image(data)
    except InputError as error:
        raise InputError(f"{item.media} ({item.sample_id}): {error}; mend it") from None
    extension = EXTENSIONS.get(Image.open(io.BytesIO(data), formats=FORMATS).format or "")
    shrink = size is not None and min(image.size) > size
    if extension and not shrink:
        return data, extension
    if shrink:
        assert size is not None
        scale = size / min(image.size)
        shape = (max(size, round(image.width * scale)), max(size, round(image.height * scale)))
        image = image.resize(shape, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if extension == "png":
        image.save(buffer, "PNG")
        return buffer.getvalue(), "png"
    image.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue(), "jpg"


class ShardReader:
    """Random access to one split of packed shards, checked against their manifest when opened.

    Attributes:
        samples: the JSON of each sample, in packed order.
        cluster_size: training rows of each cluster_id of the packed clustering.
    """

    def __init__(self, folder: Path, split: str) -> None:
        manifest = read_json(folder / "manifest.json", REMEDY)
        check_shards(folder, manifest, split)
        self.cluster_size = {int(c): int(n) for c, n in manifest["cluster_size"].items()}
        index = read_parquet(folder / "index.parquet", REMEDY)
        index = index[index["split"] == split]
        self._folder = folder
        self._images = list(
            zip(index["shard"], index["image_offset"], index["image_bytes"], strict=True)
        )
        texts = zip(index["shard"], index["json_offset"], index["json_bytes"], strict=True)
        self.samples: list[dict[str, Any]] = [json.loads(data) for data in self._read_all(texts)]

    def __len__(self) -> int:
        return len(self.samples)

    def image_bytes(self, number: int) -> bytes:
        """The jpg or png of sample `number`."""
        shard, offset, size = self._images[number]
        with open(self._folder / shard, "rb") as file:
            file.seek(offset)
            return file.read(size)

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
    """InputError naming the first file of the split that is not what the manifest says."""
    wanted = {n: facts for n, facts in manifest["shards"].items() if facts["split"] == split}
    if not wanted:
        raise InputError(f"{folder / 'manifest.json'} has no shards of split {split}; {REMEDY}")
    digests = {name: facts["sha256"] for name, facts in wanted.items()}
    for name, digest in {**digests, "index.parquet": manifest["index_sha256"]}.items():
        path = require(folder / name, REMEDY)
        if sha256_file(path) != digest:
            raise InputError(f"{path} does not match the SHA-256 in manifest.json; {REMEDY}")
