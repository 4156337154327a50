"""Retrieval examples and thumbnails."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from mmts.errors import InputError
from mmts.reporting.cells import Dataset
from mmts.reporting.gallery import FRAME, GAP, SIDE, gallery, strip, thumbnail
from mmts.reporting.results import write_results
from tests.reporting.graded import FakeSegment


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
    with pytest.raises(InputError, match="not a picture of a known format"):
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
        rank = query["rank"]
        told = "right answer ranked first" if rank == 1 else f"first right answer at rank {rank}"
        assert (example.told, example.part) == (told, query["part"])
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


def test_a_clip_is_a_strip_of_frames_from_the_middles_of_its_parts() -> None:
    for frames, wanted in ((9, [1, 3, 5, 7]), (4, [0, 1, 2, 3]), (2, [0, 1]), (1, [0])):
        segment = FakeSegment(3, frames)
        image = _decoded(strip(segment))
        assert segment.asked == wanted
        assert image.size == (len(wanted) * (FRAME + GAP) - GAP, FRAME * 90 // 160)
    red = [_decoded(strip(FakeSegment(3))).convert("RGB").getpixel((x, 20)) for x in (40, 340)]
    assert abs(red[0][0] - 25) < 12 and abs(red[1][0] - 175) < 12  # type: ignore[index]


def test_clips_are_shown_with_caption_and_relevancy(ek100: SimpleNamespace) -> None:
    [shown] = ek100.report.galleries
    assert shown.video
    queries = ek100.dataset.of(shown.method)[0].queries
    told = {
        f"average precision {100 * row.AP:.1f}, nDCG {100 * row.nDCG:.1f}"
        for row in queries.itertuples()
    }
    for example in (*shown.t2v, *shown.v2t):
        assert example.told in told
        assert [a.relevancy for a in example.answers] == [1.0, 0.5, 0.25, 0.0, 1.0]
        assert [a.match for a in example.answers] == [True, False, False, False, True]
    for example in shown.t2v:
        assert all(
            a.uri and a.text in set(ek100.dataset.captions["caption"]) for a in example.answers
        )
    assert all(example.query.uri for example in shown.v2t)


def test_clips_are_on_the_local_page_only(ek100: SimpleNamespace, tmp_path: Path) -> None:
    write_results(tmp_path, [ek100.report])
    public, local = (
        (tmp_path / name).read_text(encoding="utf-8") for name in ("index.html", "local/index.html")
    )
    assert "image/webp" not in public and "kitchenred" not in public
    assert local.count("image/webp") == 3 * 5 + 3
    assert "<script" not in local and "alert(&#39;x&#39;)" in local
    assert local.count('<span class="graded">relevancy 0.25</span>') == 6
    assert "Caption to clip" in local and "Caption to picture" not in local
