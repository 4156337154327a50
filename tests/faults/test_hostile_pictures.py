"""Picture files that are bombs, or of formats that run something: refused in little memory."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mmts.errors import InputError
from mmts.picture import FORMATS, Picture, decode_image, read_square, upright
from mmts.reporting.gallery import thumbnail
from mmts.video import SegmentReader, write_segment
from tests.faults.apart import apart
from tests.making import picture

READERS: list[Callable[[bytes], object]] = [
    decode_image, lambda data: read_square(data, 8), thumbnail,
]  # fmt: skip
ZEROS = zlib.compress(bytes(1 << 27), 9)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A part of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, extra: bytes = b"", rows: int = 0) -> bytes:
    """A black PNG of one bit a pixel with as many rows in it."""
    pixels = zlib.compress(bytes((width // 8 + 1) * rows), 9) if rows else b""
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", head), extra, chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def jpeg(width: int, height: int) -> bytes:
    """A small JPEG whose header claims another size."""
    data = bytearray(picture(1, coded="JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def scans(count: int, side: int = 2000) -> bytes:
    """A progressive JPEG with its last scan again and again."""
    buffer = io.BytesIO()
    Image.new("L", (side, side)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    return data[:-2] + count * data[data.rindex(b"\xff\xda") : -2] + b"\xff\xd9"


def as_format(name: str) -> bytes:
    """A small picture in another format."""
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, name)
    return buffer.getvalue()


BOMBS = {
    "20,000 a side": png(20_000, 20_000, rows=20_000),
    "2^31 wide": png(2**31 - 1, 1),
    "2^31 a side": png(2**31 - 1, 2**31 - 1),
    "JPEG of 65,500 a side": jpeg(65_500, 65_500),
    "5,000 scans": scans(5000),
    "ICO": as_format("ICO"),
    "PCX": as_format("PCX"),
    "PDF": as_format("PDF"),
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>',
}


TEXTS = {
    "zTXt": png(8, 8, chunk(b"zTXt", b"k\0\0" + ZEROS), 8),
    "iTXt": png(8, 8, chunk(b"iTXt", b"k\0\1\0\0\0" + ZEROS), 8),
    "iCCP": png(8, 8, chunk(b"iCCP", b"k\0\0" + ZEROS), 8),
    "100 zTXt": png(8, 8, 100 * chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**6), 9)), 8),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_every_reader_in_little_memory(name: str) -> None:
    assert len(BOMBS[name]) < 500_000
    for read in READERS:
        told = apart(lambda read=read: read(BOMBS[name]), memory=1 << 27, seconds=5)  # type: ignore[misc]
        assert told.startswith("refused: ")


@pytest.mark.parametrize("name", TEXTS)
def test_a_bomb_in_the_text_of_a_sound_picture_is_left_out_in_little_memory(name: str) -> None:
    """Also a text behind the pixels."""
    data, plain = TEXTS[name], decode_image(png(8, 8, rows=8)).tobytes()
    at, end = data.index(b"IDAT") - 4, data.index(b"IEND") - 4
    for found in (data, data[:33] + data[at:end] + data[33:at] + data[end:]):
        assert len(found) == len(data) < 500_000
        told = apart(lambda found=found: decode_image(found).tobytes() == plain, 1 << 27, 5)  # type: ignore[misc]
        assert told == "True"
        for read in READERS:
            apart(lambda read=read, found=found: read(found), memory=1 << 27, seconds=5)  # type: ignore[misc]


def test_eighty_million_pixels_are_read_and_no_more() -> None:
    """PNGs of one bit a pixel, with all their rows, and the header of a JPEG."""
    most = png(8000, 10_000, rows=10_000)
    assert Picture(most).size == upright(most).size == (8000, 10_000)
    for data in (png(8000, 10_001, rows=10_001), png(80_000_001, 1, rows=1), jpeg(8000, 10_001)):
        for read in (Picture, upright, *READERS):
            with pytest.raises(InputError, match="pixels; a picture has 80,000,000 at most"):
                read(data)


def test_the_formats_that_are_opened() -> None:
    """EPS is not among them, for which Pillow starts Ghostscript."""
    assert FORMATS == ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
    for name in FORMATS:
        assert decode_image(as_format(name)).size == (8, 8)


def test_of_many_frames_the_first_alone_is_read() -> None:
    frames = [Image.new("L", (8, 8), n) for n in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], disposal=2)
    data = buffer.getvalue()
    last = data[data.rindex(b"!\xf9") : -1]
    told = apart(lambda: decode_image(data[:-1] + 100_000 * last + b";").size, 1 << 27, 5)
    assert told == "(8, 8)"


def test_a_jpeg_of_ordinary_scans_is_read() -> None:
    """Also with bytes behind its end that look like scans, as a film there has them."""
    assert decode_image(scans(40, 16) + 500 * b"\xff\xda").size == (16, 16)
    baseline = picture(1, coded="JPEG")
    assert decode_image(baseline + 500 * b"\xff\xda\x00\x02").size == (40, 32)
    with pytest.raises(InputError, match=r"a JPEG of [67]\d scans; a picture has 60 at most"):
        decode_image(scans(60, 16))


def test_a_frame_of_a_clip_that_claims_a_size() -> None:
    reader = SegmentReader(write_segment([jpeg(65_500, 65_500)]))
    for read in (lambda: reader.size, lambda: reader.frames([0])):
        assert apart(read, 1 << 27).startswith("refused: frame 0 of a video segment")


def test_damaged_exif_does_not_stop_the_report(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + b"\xff" * 600
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", exif=exif)
    with pytest.warns(UserWarning, match="Corrupt EXIF"):
        assert thumbnail(buffer.getvalue()).startswith("data:image/webp")
