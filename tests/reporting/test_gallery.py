"""Retrieval examples and thumbnails."""

from __future__ import annotations

import base64
import io
from types import SimpleNamespace

import pytest
from PIL import Image, UnidentifiedImageError

from mmts.reporting.cells import Dataset
from mmts.reporting.gallery import SIDE, gallery, thumbnail


def _decoded(uri: str) -> Image.Image:
    head, _, data = uri.partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_thumbnails_are_small_and_lie_on_white() -> None:
    source = Image.new("RGBA", (400, 200), (0, 0, 0, 0))
    buffer = io.BytesIO()
    source.save(buffer, "PNG")
    image = _decoded(thumbnail(buffer.getvalue()))
    assert image.size == (SIDE, SIDE // 2)
    assert min(image.convert("RGB").getpixel((5, 5))) > 250  # type: ignore[type-var, arg-type]


def test_other_formats_than_the_packed_ones_are_not_opened() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "BMP")
    with pytest.raises(UnidentifiedImageError):
        thumbnail(buffer.getvalue())


def test_examples_show_each_item_once_with_its_rank(
    dataset: Dataset, data: SimpleNamespace
) -> None:
    found = gallery(dataset, "main", "mmts", data.shards["open"], count=6, seed=1)
    queries = dataset.of("mmts")[0].queries.set_index(["direction", "query_id"])
    captions = dataset.captions.set_index("caption")["caption_id"]
    assert (len(found.t2v), len(found.v2t), found.seed) == (6, 6, 0)
    assert len({example.query.text for example in found.t2v}) == 6
    for example in found.t2v:
        query = queries.loc[("t2v", captions[example.query.text])]
        assert (example.rank, example.part) == (query["rank"], query["part"])
    assert len({example.query.uri for example in found.v2t}) > 1


def test_right_answers_are_marked(dataset: Dataset, data: SimpleNamespace) -> None:
    found = gallery(dataset, "main", "mmts", data.shards["open"], count=20, seed=1)
    owner = dataset.captions.set_index("caption")["sample_id"]
    marked = 0
    for example in (*found.t2v, *found.v2t):
        for answer in example.answers:
            assert answer.match == (owner[answer.text] == owner[example.query.text])
            marked += answer.match
    assert marked > 0


def test_the_draw_follows_the_seed(dataset: Dataset, data: SimpleNamespace) -> None:
    def drawn(seed: int) -> list[str]:
        shown = gallery(dataset, "main", "mmts", data.shards["open"], count=4, seed=seed)
        return [example.query.text for example in shown.t2v]

    assert drawn(1) == drawn(1) != drawn(2)
