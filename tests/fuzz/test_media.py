"""Pictures, segments of videos, videos, and their sound."""

import io
import math
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmts.audio.slices import load_slices
from mmts.audio.track import cut_sound, write_wav
from mmts.errors import InputError
from mmts.picture import MAX_PIXELS, decode_image, read_square
from mmts.video.decoder import VideoDecoder
from mmts.video.encode import FrameEncoder
from mmts.video.probe import probe
from mmts.video.segment import SegmentReader, write_segment
from tests.fuzz.hostile import damaged, fewer, write
from tests.fuzz.outcome import Refused, outcome
from tests.making import picture
from tests.making_video import write_video


def _coded(kind: str, **how: object) -> bytes:
    image = Image.open(io.BytesIO(picture(1, (20, 14), mode=str(how.pop("mode", "RGB")))))
    buffer = io.BytesIO()
    image.convert(str(how.pop("to", image.mode))).save(buffer, kind, **how)
    return buffer.getvalue()


EXIF = Image.Exif()
EXIF[0x0112], EXIF[0x010E] = 6, "words"
PICTURES = (
    _coded("JPEG"), _coded("JPEG", to="CMYK"), _coded("JPEG", progressive=True, exif=EXIF),
    _coded("JPEG", to="L"), _coded("PNG"), _coded("PNG", mode="RGBA", exif=EXIF),
    _coded("PNG", to="P"), _coded("PNG", to="I;16"), _coded("PNG", to="1"),
    _coded("GIF", save_all=True, append_images=[Image.new("RGB", (20, 14))]), _coded("BMP"),
    _coded("BMP", to="1"), _coded("WEBP"), _coded("WEBP", mode="RGBA", lossless=True),
    _coded("TIFF"), _coded("TIFF", compression="tiff_lzw"), _coded("TIFF", to="F"),
    _coded("TIFF", compression="jpeg"), _coded("TIFF", to="LAB", compression="tiff_deflate"),
)  # fmt: skip


@given(st.sampled_from(PICTURES).flatmap(damaged), st.sampled_from((1, 4, 24)))
def test_pictures(data: bytes, size: int) -> None:
    found = outcome(decode_image, data)
    if not isinstance(found, Refused):
        assert found.mode == "RGB" and 0 < found.width * found.height <= MAX_PIXELS
    pixels = outcome(read_square, data, size)
    assert isinstance(pixels, Refused) or pixels.shape == (size, size, 3)


# --- segments ----------------------------------------------------------------------------------

FRAMES = [picture(n, (16, 12), coded="JPEG") for n in range(3)]
SEGMENT = write_segment(FRAMES)


def _frames(data: bytes) -> np.ndarray:
    reader = SegmentReader(data)
    return reader.frames(range(min(len(reader), 4)))


@given(damaged(SEGMENT))
def test_segments(data: bytes) -> None:
    found = outcome(_frames, data)
    if not isinstance(found, Refused):
        assert found.dtype == np.uint8 and 1 <= len(found) <= 4


@given(st.sampled_from(PICTURES).flatmap(damaged), st.integers(0, 2))
def test_frames_of_a_segment(data: bytes, place: int) -> None:
    frames = list(FRAMES)
    frames[place] = data
    found = outcome(_frames, write_segment(frames))
    assert isinstance(found, Refused) or found.shape == (3, 12, 16, 3)


def resized(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header says another size: a few bytes that stand for gigabytes."""
    at = jpeg.index(b"\xff\xc0")
    return jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]


@pytest.mark.parametrize("side", [10_000, 65_500])
def test_a_frame_of_gigabytes_is_refused_by_its_header(side: int) -> None:
    bomb = write_segment([resized(FRAMES[0], side, side)])
    found = outcome(_frames, bomb)
    assert isinstance(found, Refused) and "pixels" in found.line


# --- videos ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def videos(folder: Path) -> list[bytes]:
    """A video in each of some containers and codecs."""
    made = [("a.mp4", "mpeg4"), ("b.mkv", "mpeg4"), ("c.avi", "mjpeg"), ("d.mpg", "mpeg1video")]
    return [
        write_video(folder / name, range(4), codec=codec, size=(32, 32), b_frames=0).read_bytes()
        for name, codec in made
    ]


def _read(path: Path) -> int:
    with VideoDecoder(path) as decoder:
        encode, count = FrameEncoder(16, 90), 0
        for time, frame in decoder.between(0.0, 1.0):
            assert frame is None or (np.isfinite(time) and time >= 0)
            if frame is not None:
                assert encode(frame, decoder).startswith(b"\xff\xd8")
                count += 1
        return count


@given(st.data())
def test_videos(folder: Path, videos: list[bytes], data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(videos) - 1))
    path = write(folder / "v.mp4", data.draw(damaged(videos[number])))
    found = outcome(probe, path)
    if not isinstance(found, Refused):
        assert found.width > 0 and found.height > 0
        assert np.isfinite([found.frame_rate, found.duration]).all() and found.frame_rate > 0
    outcome(_read, path)


# --- sound -------------------------------------------------------------------------------------

TONE = np.sin(np.arange(4_000) / 5).astype(np.float32) / 2


@pytest.fixture(scope="module")
def sounding(folder: Path) -> list[bytes]:
    """A video with half a second of sound in each of some containers and codecs."""
    made = [("a.mp4", "aac"), ("b.mkv", "pcm_s16le"), ("c.mkv", "aac"), ("d.mkv", "libopus")]
    return [
        write_video(
            folder / f"heard-{name}", range(4), rate=8, size=(32, 32), b_frames=0, sound_rate=8_000,
            sound=TONE, sound_codec=codec,
        ).read_bytes()
        for name, codec in made
    ]  # fmt: skip


@fewer(2)
@given(st.data())
def test_sound(folder: Path, sounding: list[bytes], data: st.DataObject) -> None:
    """It comes as samples or as a reason, never as an error: no clip is lost for it."""
    number = data.draw(st.integers(0, len(sounding) - 1))
    path = write(folder / "heard.mp4", data.draw(damaged(sounding[number])))
    whole, part = outcome(cut_sound, path, [(0.0, math.inf), (0.1, 0.3)])
    for found in (whole, part):
        if isinstance(found, str):
            assert found and "\n" not in found
        else:
            assert found.dtype == np.int16
            assert load_slices(write_wav(found), 1, 64).shape == (1, 1024, 64)
    assert isinstance(part, str) or len(part) == 3_200


@fewer(2)
@given(damaged(write_wav(np.arange(600, dtype=np.int16))))
def test_wav(data: bytes) -> None:
    try:
        found = outcome(load_slices, data, 1, 64)
    except ValueError:
        return
    assert np.isfinite(found).all()


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mpeg4"), ("b.avi", "mjpeg")])
def test_a_video_of_more_pixels_than_the_bound_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str
) -> None:
    """Before FFmpeg has made the frame, which may be of gigabytes; it counts its margins too."""
    path = write_video(folder / name, range(2), codec=codec, size=(64, 48), b_frames=0)
    monkeypatch.setattr(sys.modules["mmts.video.probe"], "MAX_PIXELS", 99_999)
    assert probe(path).width == 64 and _read(path) == 2
    monkeypatch.setattr(sys.modules["mmts.video.probe"], "MAX_PIXELS", 32 * 48)
    for read in (probe, _read):
        assert isinstance(outcome(read, path), Refused)


def test_a_title_that_is_not_utf_8_does_not_matter(folder: Path) -> None:
    import av

    path = folder / "title.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "caffe"
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes().replace(b"caffe", b"caf\xe9e"))
    try:
        assert probe(path).width == 32
    except InputError as error:
        raise AssertionError(str(error)) from None
