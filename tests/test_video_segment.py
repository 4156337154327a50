"""Segments: written, read frame by frame, refused where they are none."""

from __future__ import annotations

import io
import mmap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmts.errors import InputError
from mmts.video import SegmentReader, write_segment
from tests.making_video import number_frame, read_number


def jpeg(number: int, size: tuple[int, int] = (96, 64), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(number_frame(number, size)).convert(mode).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def segment() -> bytes:
    return write_segment([jpeg(number) for number in range(20)])


def test_frames_by_number(segment: bytes) -> None:
    reader = SegmentReader(segment)
    assert len(reader) == 20 and reader.size == (96, 64)
    wanted = [3, 3, 19, 0, 7]
    found = reader.frames(wanted)
    assert found.shape == (5, 64, 96, 3) and found.dtype == np.uint8
    assert [read_number(frame) for frame in found] == wanted
    for frame, number in zip(found, wanted, strict=True):
        assert (frame == np.asarray(Image.open(io.BytesIO(jpeg(number))))).all()
    assert reader.frames(np.array([], dtype=np.int64)).shape == (0, 64, 96, 3)
    assert [reader.jpeg(n) for n in range(20)] == [jpeg(n) for n in range(20)]


def test_a_frame_that_repeats_is_decoded_once(
    segment: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, plain = [], Image.open
    monkeypatch.setattr(Image, "open", lambda *a, **k: opened.append(1) or plain(*a, **k))
    assert len(list(SegmentReader(segment).images([4, 4, 4, 5, 5]))) == 5
    assert len(opened) == 2


def test_only_the_bytes_that_are_asked_for_are_read(segment: bytes, tmp_path: Path) -> None:
    spoilt = bytearray(segment)
    first = len(jpeg(0))
    spoilt[:first] = bytes(first)  # frame 0 is gone, the others are not touched by it
    (tmp_path / "s").write_bytes(b"before" + spoilt + b"after")
    with (
        open(tmp_path / "s", "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole,
        memoryview(whole) as view,
        view[6 : 6 + len(spoilt)] as part,
    ):
        reader = SegmentReader(part)
        assert [read_number(np.asarray(image)) for image in reader.images([1, 19])] == [1, 19]
        with pytest.raises(InputError, match="frame 0 of a video segment is damaged"):
            list(reader.images([0]))
        del reader


def test_grey_frames_become_rgb() -> None:
    reader = SegmentReader(write_segment([jpeg(5, mode="L")]))
    assert reader.frames([0]).shape == (1, 64, 96, 3)
    assert next(reader.images([0])).mode == "RGB"


def test_players_see_an_mjpeg_stream(segment: bytes) -> None:
    import av

    with av.open(io.BytesIO(segment), format="mjpeg") as container:
        found = [read_number(f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]
    assert found == list(range(20))


@pytest.mark.parametrize("index", [-1, 20])
def test_a_frame_that_is_not_there(segment: bytes, index: int) -> None:
    with pytest.raises(InputError, match=f"frame {index} of a video segment, that has 0 to 19"):
        SegmentReader(segment).frames([index])


def test_what_is_no_segment(segment: bytes) -> None:
    for data in (b"", b"x", bytes(100), jpeg(0), segment[:-1], segment[:-12], segment + b"x"):
        with pytest.raises(InputError, match="is no video segment, or one cut short"):
            SegmentReader(data)
    for data in (segment[1:], b"x" + segment):
        with pytest.raises(InputError, match=r"a video segment has .* bytes of frames, not"):
            SegmentReader(data)
    no_frames = bytes(4) + segment[-8:]
    with pytest.raises(InputError, match="is no video segment"):
        SegmentReader(no_frames)
    with pytest.raises(InputError, match="no frames"):
        write_segment([])


def test_frames_of_two_sizes_and_damaged_ones(segment: bytes) -> None:
    reader = SegmentReader(write_segment([jpeg(0), jpeg(1, size=(48, 32))]))
    with pytest.raises(InputError, match=r"frames of \(48, 32\) and \(96, 64\)"):
        reader.frames([0, 1])
    with pytest.raises(InputError, match="frame 1 of a video segment is damaged"):
        SegmentReader(write_segment([jpeg(0), jpeg(1)[:700]])).frames([1])


def test_a_flipped_bit_is_found_in_the_frame_that_has_it(segment: bytes) -> None:
    spoilt = bytearray(segment)
    spoilt[len(jpeg(0)) // 2] ^= 4
    reader = SegmentReader(bytes(spoilt), "clip 3 of data/x.tar")
    assert read_number(np.asarray(next(reader.images([1])))) == 1
    with pytest.raises(InputError, match=r"^frame 0 of clip 3 of data/x\.tar is damaged; cut it"):
        reader.jpeg(0)
