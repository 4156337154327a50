"""Pictures -> shards, in the order of the captions table."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from mmts.captions_table import SPLITS
from mmts.errors import InputError
from mmts.kinds.stream import Lacking, StreamKind
from mmts.media import MediaFacts, MediaReader
from mmts.picture import Picture
from mmts.settings.prepared import Pack
from mmts.shards.archive import Shard, ShardFile, write_tables
from mmts.shards.in_place import find_in_place
from mmts.shards.items import BAR_OF_UNEVEN_WORK, Empty, Item, members, stored
from mmts.shards.tars import EXTENSIONS


def write_shards(
    folder: Path,
    found: list[Item],
    cluster_size: dict[int, int],
    settings: Pack,
    streams: Mapping[str, StreamKind] | None = None,
) -> dict[str, Any]:
    """Write the shards of all splits with manifest.json and index.parquet; return the manifest.

    Args:
        folder: where to.
        found: what `items` gives.
        cluster_size: training rows of each cluster_id; goes into the manifest.
        settings: `datasets.<name>.pack`.
        streams: `datasets.<name>.streams`; not where pictures are in place.

    Raises:
        InputError: a picture has changed since the captions stage saw it, or cannot be read; a
            stream cannot be packed.
    """
    reader = MediaReader()
    shards: dict[str, Shard] = {}
    empty: Empty = {}
    with tqdm(total=len(found), desc="pack", unit="img", bar_format=BAR_OF_UNEVEN_WORK) as bar:
        here = found if settings.in_place else []
        tars = find_in_place(folder, here, settings.workers, bar.update)
        placed = {place.sample_id for tar in tars.values() for _, place in tar.places}
        for split in SPLITS:
            members = [i for i in found if i.split == split and i.sample_id not in placed]
            for number, start in enumerate(range(0, len(members), settings.shard_size)):
                name = f"{split}-{number:06d}.tar"
                with ShardFile(folder / name, split) as shard:
                    for n, item in enumerate(members[start : start + settings.shard_size], start):
                        data, extension = picture(item, reader, settings.image_size)
                        shard.add_sample(
                            f"{n:08d}",
                            item,
                            {extension: data, **_of_streams(item, streams or {}, empty)},
                        )
                        bar.update()
                shards[name] = shard.facts()
    return write_tables(
        folder, shards, found, cluster_size, tars=tars, streams=streams, empty=empty
    )


def _of_streams(item: Item, streams: Mapping[str, StreamKind], empty: Empty) -> dict[str, bytes]:
    """The members of an item's streams by their endings; what has no bytes goes into `empty`."""
    found = {}
    for name, kind in streams.items():
        (member,) = members(name, kind, [item])
        if isinstance(member, Lacking):
            empty[name, item.sample_id] = member.reason
        found[f"{name}.{kind.extension}"] = stored(member)
    return found


def picture(item: Item, reader: MediaReader, size: int | None) -> tuple[bytes, str]:
    """The bytes to pack and their extension: the file itself, or smaller or re-encoded."""
    facts = MediaFacts(item.media_bytes, item.media_sha256)
    data = reader.read_unchanged(item.media, item.sample_id, facts)
    try:
        whole = Picture(data)
        extension = EXTENSIONS.get(whole.format)
        shrink = size is not None and min(whole.size) > size
        if extension and not shrink:  # the captions stage decoded these very bytes
            return data, extension
        image = whole.decode()
    except InputError as error:
        raise InputError(f"{item.media} ({item.sample_id}): {error}; mend it") from None
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
