"""Retrieval examples: a caption and the pictures or clips found for it, and the reverse."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from mmts.errors import InputError
from mmts.kinds.measure import MeasureKind
from mmts.reporting.cells import Cell, Dataset
from mmts.reporting.facts import REMEDY, Retrievals, read_facts
from mmts.reporting.words import shortened

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 128  # longest side of an embedded picture, in pixels
TOP = 5
STRIP = 4  # frames that show a clip
FRAME = 96  # longest side of each, in pixels
GAP = 3  # pixels between them


class Segment(Protocol):
    """The part of `mmts.video.SegmentReader` that the gallery needs."""

    def __len__(self) -> int:
        """Number of frames."""

    def images(self, indices: Sequence[int], /) -> Iterator[Image]:
        """The frames of these numbers."""


class Pictures(Protocol):
    """The part of `mmts.shards.ShardReader` that the gallery needs."""

    @property
    def samples(self) -> Sequence[Mapping[str, Any]]:
        """The JSON of each sample."""

    @property
    def video(self) -> bool:
        """Whether the samples are clips."""

    def image_bytes(self, number: int, /) -> bytes:
        """The encoded picture of sample `number`, which is no clip."""

    def segment(self, number: int, /) -> Segment:
        """The frames of sample `number`, which is a clip."""


@dataclass(frozen=True)
class Thing:
    """A caption, or a picture or clip (`uri` set, `text` its caption), and whether it is right.

    `relevancy` is that of an answer to its query, where it is graded.
    """

    text: str
    uri: str = ""
    match: bool = False
    relevancy: float | None = None


@dataclass(frozen=True)
class Example:
    """A query, the best answers in order, and how well it was answered."""

    query: Thing
    answers: tuple[Thing, ...]
    told: str
    part: str


@dataclass(frozen=True)
class Gallery:
    """Examples of one model on one test source, both directions."""

    source: str
    method: str
    seed: int
    video: bool
    t2v: tuple[Example, ...]
    v2t: tuple[Example, ...]


def gallery(
    dataset: Dataset, source: str, method: str, pictures: Pictures, *, count: int, seed: int
) -> Gallery:
    """`count` retrievals a direction of the method's first seed, drawn at random, no item twice."""
    cell = dataset.of(method)[0]
    album = _Album(pictures, source)
    kept = [r for r in read_facts(cell.retrievals, Retrievals) if r["source"] == source]
    of_query = _query_table(cell, source)
    for found in kept:
        if (found["direction"], found["query_id"]) not in of_query or not album.has(found):
            raise InputError(
                f"{cell.retrievals}: {found['query_id']} or an answer to it is not in "
                f"queries.parquet or not in {dataset.shards}; {REMEDY}"
            )

    def examples(direction: str) -> tuple[Example, ...]:
        drawn = _drawn([r for r in kept if r["direction"] == direction], count, seed)
        return tuple(
            _example(album, r, of_query[direction, r["query_id"]], dataset.measure) for r in drawn
        )

    both = examples("t2v"), examples("v2t")
    return Gallery(source, method, cell.seed, pictures.video, *both)


class _Album:
    """Pictures or clips of one source by sample_id, as small data URIs."""

    def __init__(self, pictures: Pictures, source: str) -> None:
        self._pictures = pictures
        self._number = {
            str(sample["sample_id"]): number
            for number, sample in enumerate(pictures.samples)
            if sample["source"] == source
        }

    def has(self, found: Mapping[str, Any]) -> bool:
        """Whether the pictures that a retrieval shows are there."""
        shown = found["top"] if found["direction"] == "t2v" else [found]
        return all(of["sample_id"] in self._number for of in shown)

    def picture(self, sample_id: str, answer: Mapping[str, Any] | None = None) -> Thing:
        number = self._number[sample_id]
        captions = self._pictures.samples[number]["captions"]
        text = next((c for c in captions if c.strip()), sample_id)
        if self._pictures.video:
            uri = strip(self._pictures.segment(number))
        else:
            uri = thumbnail(self._pictures.image_bytes(number))
        return Thing(shortened(text), uri, *_marks(answer or {}))


def strip(segment: Segment) -> str:
    """STRIP frames side by side, from the middles of equal parts of a clip, as a WebP data URI."""
    from PIL import Image

    count = min(STRIP, len(segment))
    frames = list(segment.images([(2 * i + 1) * len(segment) // (2 * count) for i in range(count)]))
    for frame in frames:
        frame.thumbnail((FRAME, FRAME), Image.Resampling.LANCZOS)
    width, height = frames[0].size
    paper = Image.new("RGB", (count * (width + GAP) - GAP, height), "white")
    for place, frame in enumerate(frames):
        paper.paste(frame, (place * (width + GAP), 0))
    return _webp(paper)


def thumbnail(data: bytes) -> str:
    """The picture on white, at most SIDE pixels a side, as a WebP data URI."""
    from PIL import Image

    from mmts.picture import upright

    image = upright(data, ("JPEG", "PNG", "WEBP")).convert("RGBA")
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    paper = Image.new("RGBA", image.size, "white")
    paper.alpha_composite(image)
    return _webp(paper.convert("RGB"))


def _webp(image: Image) -> str:
    small = io.BytesIO()
    image.save(small, format="WEBP", quality=72, method=6)
    return data_uri(small.getvalue(), "image/webp")


def data_uri(data: bytes, kind: str) -> str:
    """Bytes as a data URI of the media type `kind`."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _query_table(cell: Cell, source: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The row of queries.parquet of each direction and query_id."""
    queries = cell.queries[cell.queries["source"] == source]
    rows = queries.to_dict("records")
    return {(str(r["direction"]), str(r["query_id"])): cast(dict[str, Any], r) for r in rows}


def _drawn(found: list[dict[str, Any]], count: int, seed: int) -> list[dict[str, Any]]:
    drawn: dict[str, dict[str, Any]] = {}
    for row in np.random.default_rng(seed).permutation(len(found)).tolist():
        if len(drawn) == count:
            break
        drawn.setdefault(str(found[row]["sample_id"]), found[row])
    return list(drawn.values())


def _marks(answer: Mapping[str, Any]) -> tuple[bool, float | None]:
    """Whether an answer of retrievals.json is right, and its relevancy."""
    return bool(answer.get("match", False)), answer.get("relevancy")


def _example(
    album: _Album, found: Mapping[str, Any], of_query: Mapping[str, Any], measure: MeasureKind
) -> Example:
    top = found["top"][:TOP]
    if found["direction"] == "t2v":
        query = Thing(shortened(found["query"]))
        answers = tuple(album.picture(str(answer["sample_id"]), answer) for answer in top)
    else:
        query = album.picture(str(found["sample_id"]))
        answers = tuple(Thing(shortened(answer["text"]), "", *_marks(answer)) for answer in top)
    return Example(query, answers, measure.answered(of_query), str(of_query["part"]))
