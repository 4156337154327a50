"""What is packed: a media item with all its captions and their clusters."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from mmts.captions_table import STREAM, stream_columns
from mmts.columns import plain
from mmts.errors import InputError, blamed, in_short, kind_file
from mmts.kinds.stream import EMPTY, Lacking, Origin, StreamKind, encoded, encoders, loaded

LISTS = ("verb_class", "noun_classes", "sentence", "groups")
"""Optional columns of the captions table; a sample's JSON has a list of their values."""

BAR_OF_UNEVEN_WORK = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
"""The `bar_format` of tqdm, without speed and time left, for work by the video or the tar."""

Empty = dict[tuple[str, str], str]
"""Why a member has no bytes, by the name of its stream and sample_id."""


class Item(NamedTuple):
    """One media item with all its captions, as the captions table has them.

    `start` and `stop` are those of a clip, in seconds of its video (infinity for its end), and None
    of a picture.
    `columns` has the item's value in each column that a stream is made of.
    """

    source: str
    split: str
    sample_id: str
    media: str
    media_bytes: int
    media_sha256: str
    start: float | None
    stop: float | None
    captions: list[str]
    caption_ids: list[str]
    cluster_id: list[int]
    lists: dict[str, list[Any]]
    columns: Mapping[str, Any] = {}


def items(
    captions: pd.DataFrame, clusters: pd.DataFrame, columns: Iterable[str] = ()
) -> list[Item]:
    """Media items in order of first appearance, their captions joined with their clusters.

    Args:
        captions, clusters: the tables.
        columns: that streams are made of, without `stream_`.
    """
    columns = list(columns)
    for name in columns:
        if f"{STREAM}{name}" not in captions:
            there = ", ".join(c.removeprefix(STREAM) for c in stream_columns(captions)) or "none"
            raise InputError(
                f"a stream is made of column {name!r}, but the sources give {there}; name it in "
                "their stream_columns, or subtitles"
            )
    cluster_of = dict(zip(clusters["caption_id"], clusters["cluster_id"], strict=True))
    found: dict[str, Item] = {}
    names = [name for name in LISTS if name in captions]
    of_videos = "start" in captions
    rows: Iterable[Any] = captions.itertuples(index=False)
    of_streams = {name: captions[f"{STREAM}{name}"].tolist() for name in columns}
    for number, row in enumerate(rows):
        if row.caption_id not in cluster_of:
            raise InputError(
                f"caption {row.caption_id} has no cluster; run `dvc repro -sf cluster`"
            )
        item = found.get(row.sample_id)
        if item is None:
            start, stop = (float(row.start), float(row.stop)) if of_videos else (None, None)
            item = found[row.sample_id] = Item(
                row.source, row.split, row.sample_id, row.media, row.media_bytes, row.media_sha256,
                start, stop, [], [], [], {name: [] for name in names},
                {name: json.loads(cells[number]) for name, cells in of_streams.items()},
            )  # fmt: skip
        item.captions.append(row.caption)
        item.caption_ids.append(row.caption_id)
        item.cluster_id.append(int(cluster_of[row.caption_id]))
        for name in names:
            item.lists[name].append(plain(getattr(row, name)))
    return list(found.values())


def members(name: str, kind: StreamKind, found: Sequence[Item]) -> Iterator[bytes | Lacking]:
    """Yield what is stored of a stream of each of some items: of one picture, or of one video.

    In the place of a member without bytes is why.

    Raises:
        InputError: the kind refuses a value, or gives more or fewer members than there are items.
    """
    given = 0
    column = kind.column
    origins = [
        Origin(None if column is None else i.columns[column], i.media, i.start, i.stop)
        for i in found
    ]
    try:
        for given, data in enumerate(kind.members(origins), 1):
            if not isinstance(data, bytes | Lacking):
                raise InputError(
                    f"stream {name}: its kind {kind.kind} packs {type(data).__name__}; let it give "
                    "bytes"
                )
            if given <= len(found):
                yield data or EMPTY
    except InputError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        item = found[min(given, len(found) - 1)]
        made = item.media if column is None else f"its {column}"
        raise InputError(
            f"{item.sample_id} of source {item.source}: stream {name} cannot be packed of {made} "
            f"({in_short(error)}); mend it"
        ) from None
    if given != len(found):
        raise InputError(
            f"stream {name}: its kind {kind.kind} gave {given} members for {len(found)} items of "
            f"{found[0].media}; let it give one each"
        )


def stored(member: bytes | Lacking) -> bytes:
    """Return the bytes of what `members` yields."""
    return member if isinstance(member, bytes) else b""


def try_streams(item: Item, streams: Mapping[str, StreamKind]) -> None:
    """Pack, load and encode the streams of an item that are made of a column.

    Raises:
        InputError: one cannot be packed of it; or it names the file of a kind whose `load` or
            encoder fails.
    """
    for name, kind in streams.items():
        if kind.column is None:  # it would take its time
            continue
        (member,) = members(name, kind, [item])
        if not kind.two_tower:
            continue
        data = stored(member)
        with blamed(kind_file(type(kind).__module__)):
            import torch

            arrays = torch.from_numpy(loaded(name, kind, [data, data], [None, None]))
            with torch.no_grad():
                encoded(name, encoders({name: kind})[name].eval(), arrays)


def cluster_sizes(clusters: pd.DataFrame) -> dict[int, int]:
    """Training rows of each cluster_id of a clustering's table."""
    sizes = clusters.drop_duplicates("cluster_id")
    return dict(zip(sizes["cluster_id"].tolist(), sizes["cluster_size"].tolist(), strict=True))


def sample_of(item: Item) -> dict[str, Any]:
    """What the JSON of a sample says."""
    end = None if item.stop == math.inf else item.stop
    times = {} if item.start is None else {"start": item.start, "stop": end}
    return {
        "sample_id": item.sample_id,
        "source": item.source,
        "split": item.split,
        **times,
        "captions": item.captions,
        "caption_ids": item.caption_ids,
        "cluster_id": item.cluster_id,
        **item.lists,
    }


def sample_json(item: Item) -> bytes:
    """The JSON of a sample."""
    return encode(sample_of(item)).encode()


encode = json.JSONEncoder(ensure_ascii=False).encode
