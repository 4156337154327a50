"""Retrieval examples: a caption and the pictures found for it, and the reverse."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from mmts.reporting.cells import Cell, Dataset

SIDE = 128  # longest side of an embedded picture, in pixels
TOP = 5


class Pictures(Protocol):
    """The part of `mmts.shards.ShardReader` that the gallery needs."""

    @property
    def samples(self) -> Sequence[Mapping[str, Any]]:
        """The JSON of each sample."""

    def image_bytes(self, number: int, /) -> bytes:
        """The encoded picture of sample `number`."""


@dataclass(frozen=True)
class Thing:
    """A caption, or a picture (`uri` set, `text` its description), and whether it is right."""

    text: str
    uri: str = ""
    match: bool = False


@dataclass(frozen=True)
class Example:
    """A query, the best answers in order, and where the first right one ranked."""

    query: Thing
    answers: tuple[Thing, ...]
    rank: int
    part: str


@dataclass(frozen=True)
class Gallery:
    """Examples of one model on one test source, both directions."""

    source: str
    method: str
    seed: int
    t2v: tuple[Example, ...]
    v2t: tuple[Example, ...]


def gallery(
    dataset: Dataset, source: str, method: str, pictures: Pictures, *, count: int, seed: int
) -> Gallery:
    """`count` retrievals a direction of the method's first seed, drawn at random, no item twice."""
    cell = dataset.of(method)[0]
    album = _Album(pictures, source)
    kept = [r for r in _retrievals(cell.retrievals) if r["source"] == source]
    of_query = _query_table(cell, source)

    def examples(direction: str) -> tuple[Example, ...]:
        drawn = _drawn([r for r in kept if r["direction"] == direction], count, seed)
        return tuple(_example(album, r, of_query.loc[(direction, r["query_id"])]) for r in drawn)

    return Gallery(source, method, cell.seed, examples("t2v"), examples("v2t"))


class _Album:
    """Pictures of one source by sample_id, as small data URIs."""

    def __init__(self, pictures: Pictures, source: str) -> None:
        self._pictures = pictures
        self._number = {
            str(sample["sample_id"]): number
            for number, sample in enumerate(pictures.samples)
            if sample["source"] == source
        }

    def picture(self, sample_id: str, match: bool = False) -> Thing:
        number = self._number[sample_id]
        captions = self._pictures.samples[number]["captions"]
        text = next((c for c in captions if c.strip()), sample_id)
        return Thing(text, thumbnail(self._pictures.image_bytes(number)), match)


def thumbnail(data: bytes) -> str:
    """The picture on white, at most SIDE pixels a side, as a WebP data URI."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGBA")
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    paper = Image.new("RGBA", image.size, "white")
    paper.alpha_composite(image)
    small = io.BytesIO()
    paper.convert("RGB").save(small, format="WEBP", quality=72, method=6)
    return data_uri(small.getvalue(), "image/webp")


def data_uri(data: bytes, kind: str) -> str:
    """Bytes as a data URI of the media type `kind`."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _retrievals(file: Path) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return content


def _query_table(cell: Cell, source: str) -> pd.DataFrame:
    queries = cell.queries[cell.queries["source"] == source]
    return queries.set_index(["direction", "query_id"])[["rank", "part"]]


def _drawn(found: list[dict[str, Any]], count: int, seed: int) -> list[dict[str, Any]]:
    drawn: dict[str, dict[str, Any]] = {}
    for row in np.random.default_rng(seed).permutation(len(found)).tolist():
        if len(drawn) == count:
            break
        drawn.setdefault(str(found[row]["sample_id"]), found[row])
    return list(drawn.values())


def _example(album: _Album, found: Mapping[str, Any], of_query: pd.Series) -> Example:
    top = found["top"][:TOP]
    if found["direction"] == "t2v":
        query = Thing(found["query"])
        answers = tuple(album.picture(str(a["sample_id"]), bool(a["match"])) for a in top)
    else:
        query = album.picture(str(found["sample_id"]))
        answers = tuple(Thing(a["text"], match=bool(a["match"])) for a in top)
    return Example(query, answers, int(of_query["rank"]), str(of_query["part"]))
