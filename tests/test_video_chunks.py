"""Videos that lie on disk as chunks of 15 s, here of 2 s."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmts.errors import InputError
from mmts.video import cut, cut_many
from mmts.video.parts import parts
from tests.making_video import write_video
from tests.test_video_cut import expected, numbers

CHUNK = 50  # frames: 2 s


@pytest.fixture(scope="module")
def chunks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chunks from 0 to 7 s, the last one short; none from 8 s to 10 s; one more from 10 s."""
    folder = tmp_path_factory.mktemp("chunks")
    for start in (0, 2, 4, 10):
        first = start * 25
        write_video(folder / f"{start}.MP4", range(first, first + CHUNK))
    write_video(folder / "6.mp4", range(150, 200))
    (folder / "notes.txt").write_text("not a chunk")
    return folder


def test_segments_across_borders(chunks: Path) -> None:
    spans = [(1.5, 2.5), (0.0, 8.0), (2.0, 4.0), (3.99, 4.01), (1.9, 6.1), (7.5, 8.0), (10.3, 12.0),
             (5.96, 6.0), (1.96, 2.0)]  # fmt: skip
    found = dict(cut_many(chunks, spans, short_side=64))
    for number, (start, stop) in enumerate(spans):
        assert numbers(found[number]) == expected(start, stop, frames=300), (start, stop)
        assert found[number] == cut(chunks, start, stop, short_side=64)


def test_a_missing_chunk(chunks: Path) -> None:
    spans = [(7.0, 8.0), (7.0, 8.5), (8.2, 9.0), (9.0, 11.0), (7.0, 11.0), (10.0, 11.0)]
    found = dict(cut_many(chunks, spans, short_side=64))
    for number in (1, 2, 3, 4):
        start, stop = spans[number]
        assert str(found[number]) == (
            f"{chunks} has nothing from 8.000 s to 10 s, which the segment from {start:.3f} s to "
            f"{stop:.3f} s needs; is a chunk missing?"
        )
    assert numbers(found[0]) == expected(7, 8, frames=300)
    assert numbers(found[5]) == expected(10, 11, frames=300)


def test_past_the_end_and_before_the_first(chunks: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"stop 12\.100 s is past the end .* at 12\.000 s"):
        cut(chunks, 11.0, 12.1, short_side=64)
    with pytest.raises(InputError, match=r"start 15\.000 s is past the end .* at 12\.000 s"):
        cut(chunks, 15.0, 16.0, short_side=64)
    write_video(tmp_path / "15.mp4", range(375, 400))
    with pytest.raises(InputError, match=r"start 14\.9 s is before the first chunk at 15 s"):
        cut(tmp_path, 14.9, 15.5, short_side=64)
    assert numbers(cut(tmp_path, 15.2, 15.4, short_side=64)) == list(range(380, 385))


def test_chunks_that_overlap_give_each_frame_once(tmp_path: Path) -> None:
    for start in (0, 2):
        write_video(tmp_path / f"{start}.mp4", range(start * 25, start * 25 + 60))
    spans = [(1.0, 3.0), (2.1, 2.3), (0.5, 2.0), (2.0, 2.2)]
    found = dict(cut_many(tmp_path, spans, short_side=64))
    for number, (start, stop) in enumerate(spans):
        assert numbers(found[number]) == expected(start, stop)


def test_a_chunk_that_is_broken_costs_its_own_segments_only(chunks: Path, tmp_path: Path) -> None:
    for file in chunks.glob("[0246].*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "2.MP4").write_text("no video")
    found = dict(cut_many(tmp_path, [(0, 1), (1, 3), (2, 3), (3, 5), (4, 7)], short_side=64))
    for number in (1, 2, 3):
        assert str(found[number]).startswith(f"{tmp_path / '2.MP4'} is not a video")
    assert numbers(found[0]) == expected(0, 1) and numbers(found[4]) == expected(4, 7, frames=300)


def test_folders_without_chunks(tmp_path: Path) -> None:
    for name in ("a.mp4", "1x.mp4", "-1.mp4", "0.txt"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match="holds no chunks; they are named by their start"):
        parts(tmp_path)
    (tmp_path / "00.mp4").touch()
    (tmp_path / "0.MOV").touch()
    with pytest.raises(InputError, match=r"0\.MOV and 00\.mp4 start at the same second"):
        parts(tmp_path)
