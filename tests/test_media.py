import io
import os
import struct
import tarfile
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmts.errors import InputError
from mmts.media import MediaFacts, MediaReader, decode_image, inspect, inspect_videos, square
from mmts.picture import FORMATS, MAX_BYTES, START_BYTES, may_be_picture, upright
from tests.making import picture, png, tiff, write_picture


def tar_of(path: Path, **files: bytes) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"Images/{name}.png")
            member.size, member.mtime = len(data), 1234
            tar.addfile(member, io.BytesIO(data))
    return path


def test_a_file_and_a_member_of_a_tar(tmp_path: Path) -> None:
    reader = MediaReader()
    path = write_picture(tmp_path / "a.png", 1)
    assert reader.read(str(path)) == picture(1)
    tar = tar_of(tmp_path / "t.tar", a=picture(2), b=picture(3))
    for name, number in (("a", 2), ("b", 3)):
        reference = f"{tar}::Images/{name}.png"
        assert reader.read(reference) == picture(number)


def test_what_is_not_there(tmp_path: Path) -> None:
    reader = MediaReader()
    tar = tar_of(tmp_path / "t.tar", a=b"x")
    for reference in (f"{tmp_path}/no.png", f"{tar}::Images/no.png", f"{tmp_path}/no.tar::a.png"):
        with pytest.raises(FileNotFoundError):
            reader.read(reference)


def test_a_tar_that_is_none_or_compressed(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(b"no tar at all" * 100)
    with tarfile.open(tmp_path / "z.tar", "w:gz") as tar:
        tar.add(tmp_path / "t.tar", "a.png")
    for name in ("t", "z"):
        with pytest.raises(InputError, match=rf"{name}\.tar is not a whole, uncompressed tar"):
            MediaReader().read(f"{tmp_path}/{name}.tar::a.png")


def test_a_sparse_member_is_refused(tmp_path: Path) -> None:
    """Its bytes stand in the tar as a map and the parts that are no holes."""
    member = tarfile.TarInfo("b.png")
    member.pax_headers = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "2000",
    }  # fmt: skip
    data = b"1\n1995\n5\n".ljust(512, b"\0") + b"parts"
    member.size = len(data)
    path = tar_of(tmp_path / "t.tar", a=picture(2))
    with tarfile.open(path, "a", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(member, io.BytesIO(data))
    with tarfile.open(path) as tar:  # so that the test can fail
        assert tar.extractfile("b.png").read() == bytes(1995) + b"parts"  # type: ignore[union-attr]
    for act in (lambda r: r.read(f"{path}::b.png"), lambda r: r.index([f"{path}::Images/a.png"])):
        with pytest.raises(InputError, match=r"t\.tar has the sparse member b\.png, .*; repack it"):
            act(MediaReader())


def test_decode_gives_rgb_with_transparent_parts_on_white() -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    found = decode_image(buffer.getvalue())
    assert found.mode == "RGB"
    assert [found.getpixel((x, 0)) for x in (0, 1)] == [(255, 0, 0), (255, 255, 255)]
    palette = Image.new("P", (1, 1), 0)
    palette.putpalette([0, 0, 0])
    buffer = io.BytesIO()
    palette.save(buffer, "PNG", transparency=0)
    assert decode_image(buffer.getvalue()).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK"])
def test_decode_of_other_modes(mode: str) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (3, 2)).save(buffer, "TIFF" if mode == "CMYK" else "PNG")
    found = decode_image(buffer.getvalue())
    assert found.mode == "RGB" and found.size == (3, 2)


def test_bytes_that_are_no_picture_always_read_the_same() -> None:
    messages = set()
    for _ in range(3):
        with pytest.raises(InputError) as caught:
            decode_image(b"hello")
        messages.add(str(caught.value))
    assert messages == {"not a picture of a known format"}


@pytest.mark.filterwarnings("ignore:Tag data larger than file")
@pytest.mark.parametrize("coded", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_damaged_pictures_decode_or_say_so(coded: str) -> None:
    data, rng, refused = picture(0, coded=coded), np.random.default_rng(0), 0
    damaged = [data[: len(data) * n // 12] for n in range(12)]
    for _ in range(40):
        other = bytearray(data)
        for place in rng.integers(0, len(data), 6):
            other[place] = rng.integers(0, 256)
        damaged.append(bytes(other))
    for found in damaged:
        try:
            assert decode_image(found).mode == "RGB"
        except InputError as error:
            refused += 1
            assert "\n" not in str(error) and " object at 0x" not in str(error)
    assert refused >= 10


def test_a_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match="too many pixels"):
        decode_image(picture(0, size=(40, 32)))


def test_square_takes_the_centre() -> None:
    image = decode_image(picture(0, size=(30, 10)))
    found = square(image, 5)
    assert found.shape == (5, 5, 3) and found.dtype == np.uint8
    whole = np.asarray(image.resize((15, 5), Image.Resampling.BICUBIC))
    assert (found == whole[:, 5:10]).all()
    tall = image.transpose(Image.Transpose.TRANSPOSE)
    assert (square(tall, 5) == found.transpose(1, 0, 2)).all()
    image = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    assert (square(image, 8) == np.asarray(image)).all()


def test_inspect(tmp_path: Path) -> None:
    good = [str(write_picture(tmp_path / f"{n}.png", n)) for n in range(70)]
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "short.png").write_bytes(picture(1)[:500])
    (tmp_path / "folder.png").mkdir()
    bad = [str(tmp_path / f"{name}.png") for name in ("missing", "text", "short", "folder")]
    facts, found = inspect([*good[:40], *bad, *good[40:]], MediaReader())
    assert list(facts) == good
    assert facts[good[7]] == MediaFacts.of(picture(7))
    assert list(found) == bad
    assert found[bad[0]] == "missing"
    assert found[bad[1]] == "undecodable: not a picture of a known format"
    assert found[bad[2]].startswith("undecodable: not a readable picture")
    assert found[bad[3]].startswith("unreadable (Is a directory)")
    assert inspect([], MediaReader()) == ({}, {})


def test_inspect_videos(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"abc")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "no.mp4")
    (tmp_path / "none.mp4").mkdir()
    for folder, sizes in (("b.mp4", (5, 2)), ("c.mp4", (5, 0))):
        (tmp_path / folder).mkdir()
        for start, size in zip((0, 15), sizes, strict=True):
            (tmp_path / folder / f"{start}.MP4").write_bytes(b"x" * size)
    names = ("a", "b", "c", "empty", "gone", "none", "no")
    good, bad = inspect_videos([f"{tmp_path}/{name}.mp4" for name in names])
    assert good == {f"{tmp_path}/a.mp4": MediaFacts(3, ""), f"{tmp_path}/b.mp4": MediaFacts(7, "")}
    assert {Path(path).stem: why for path, why in bad.items()} == {
        "c": "empty file 15.MP4", "empty": "empty file empty.mp4", "gone": "missing",
        "none": "a folder without chunks", "no": "missing",
    }  # fmt: skip


def test_a_photograph_is_turned_upright_by_its_exif_orientation() -> None:
    pixels = np.zeros((4, 8, 3), dtype=np.uint8)
    pixels[:, :4] = 255  # the left half is white; orientation 6: turn clockwise to see it upright
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", exif=exif)
    upright = np.asarray(decode_image(buffer.getvalue()))
    assert upright.shape == (8, 4, 3)
    assert upright[:4].min() == 255 and upright[4:].max() == 0


def test_sixteen_bit_grey_keeps_its_shades() -> None:
    shades = np.array([[0, 1 << 14, 1 << 15, (1 << 16) - 1]], dtype=np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(shades).save(buffer, "PNG")
    assert np.asarray(decode_image(buffer.getvalue()))[0, :, 0].tolist() == [0, 64, 128, 255]


def half(*values: int) -> bytes:
    return struct.pack(f">{len(values)}H", *values)


def exact(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}H", *values)


CLEAR = b"tRNS"
WHITE, BLACK = [255] * 3, [0] * 3
GREYS = [BLACK, [64] * 3, [128] * 3, WHITE]
EDGES = (0, 0x4000, 0x8000, 0xFFFF)
PALETTE = (b"PLTE", bytes((255, 0, 0, 0, 255, 0, 0, 0, 255)))
BY_HAND: dict[str, tuple[bytes, list[list[int]]]] = {
    "1-bit grey": (png(2, 1, 1, 0, b"\x40"), [BLACK, WHITE]),
    "1-bit grey, black is clear": (png(2, 1, 1, 0, b"\x40", (CLEAR, half(0))), [WHITE, WHITE]),
    "1-bit grey, white is clear": (png(2, 1, 1, 0, b"\x40", (CLEAR, half(1))), [BLACK, WHITE]),
    "2-bit grey": (png(4, 1, 2, 0, b"\x1b"), [BLACK, [85] * 3, [170] * 3, WHITE]),
    "2-bit grey, 1 is clear": (
        png(4, 1, 2, 0, b"\x1b", (CLEAR, half(1))), [BLACK, WHITE, [170] * 3, WHITE],
    ),
    "4-bit grey, 15 and 1": (png(4, 1, 4, 0, b"\x01\x2f"), [BLACK, [17] * 3, [34] * 3, WHITE]),
    "4-bit grey, 2 is clear": (
        png(4, 1, 4, 0, b"\x01\x2f", (CLEAR, half(2))), [BLACK, [17] * 3, WHITE, WHITE],
    ),
    "8-bit grey, 64 is clear": (
        png(4, 1, 8, 0, bytes((0, 64, 128, 255)), (CLEAR, half(64))),
        [BLACK, WHITE, [128] * 3, WHITE],
    ),
    "16-bit grey": (png(4, 1, 16, 0, half(*EDGES)), GREYS),
    "16-bit grey, its black is clear": (
        png(4, 1, 16, 0, half(1, *EDGES[1:]), (CLEAR, half(1))), [WHITE, *GREYS[1:]],
    ),
    "16-bit grey, a neighbour is clear": (
        png(4, 1, 16, 0, half(*EDGES), (CLEAR, half(0x4001))), GREYS,
    ),
    "16-bit grey, 0x4000 is clear": (
        png(4, 1, 16, 0, half(*EDGES), (CLEAR, half(0x4000))), [BLACK, WHITE, *GREYS[2:]],
    ),
    "grey and alpha": (png(2, 1, 8, 4, bytes((0, 255, 0, 51))), [BLACK, [204] * 3]),
    "16-bit grey and alpha": (
        png(3, 1, 16, 4, half(0x4000, 0xFFFF, 0x4000, 0, 0, 0x3333)),
        [[64] * 3, WHITE, [204] * 3],
    ),
    "palette": (png(3, 1, 2, 3, b"\x18", PALETTE), [[255, 0, 0], [0, 255, 0], [0, 0, 255]]),
    "palette, 1 is clear": (
        png(3, 1, 2, 3, b"\x18", PALETTE, (CLEAR, b"\xff\0")), [[255, 0, 0], WHITE, [0, 0, 255]],
    ),
    "palette, half clear": (
        png(3, 1, 8, 3, b"\0\1\2", PALETTE, (CLEAR, b"\xff\x33\0")),
        [[255, 0, 0], [204, 255, 204], WHITE],
    ),
    "RGB": (png(2, 1, 8, 2, bytes((1, 2, 3, 4, 5, 6))), [[1, 2, 3], [4, 5, 6]]),
    "RGB, a colour is clear": (
        png(2, 1, 8, 2, bytes((1, 2, 3, 4, 5, 6)), (CLEAR, half(4, 5, 6))), [[1, 2, 3], WHITE],
    ),
    "16-bit RGB": (png(1, 1, 16, 2, half(0x4000, 0, 0xFFFF)), [[64, 0, 255]]),
    "RGBA": (png(1, 1, 8, 6, bytes((0, 0, 255, 51))), [[204, 204, 255]]),
    "16-bit RGBA": (png(1, 1, 16, 6, half(0, 0, 0xFFFF, 0x3333)), [[204, 204, 255]]),
    "TIFF of 1 bit": (tiff(2, (1,), 1, b"\x40"), [BLACK, WHITE]),
    "TIFF of 1 bit, 0 is white": (tiff(2, (1,), 0, b"\x40"), [WHITE, BLACK]),
    "TIFF of 4 bits": (tiff(4, (4,), 1, b"\x01\x2f"), [BLACK, [17] * 3, [34] * 3, WHITE]),
    "TIFF of 8 bits, 0 is white": (tiff(2, (8,), 0, b"\0\x40"), [WHITE, [191] * 3]),
    "TIFF of 16 bits": (tiff(4, (16,), 1, exact(*EDGES)), GREYS),
    "big-endian TIFF of 16 bits": (tiff(4, (16,), 1, half(*EDGES), big=1), GREYS),
    "TIFF of 16-bit RGB": (tiff(1, (16,) * 3, 2, exact(0x4000, 0, 0xFFFF)), [[64, 0, 255]]),
    "TIFF of CMYK": (tiff(2, (8,) * 4, 5, bytes((255, 0, 0, 0, 0, 0, 0, 255))),
                     [[0, 255, 255], BLACK]),
    "TIFF of YCbCr": (tiff(1, (8,) * 3, 6, bytes((76, 85, 255))), [[254, 0, 0]]),
    "TIFF of CIELAB": (tiff(2, (8,) * 3, 8, struct.pack("BbbBbb", 128, 0, 0, 128, 40, 20)),
                       [[118] * 3, [185, 88, 87]]),
    "TIFF of grey and alpha": (
        tiff(2, (8, 8), 1, bytes((0, 255, 0, 51)), extra_samples=2), [BLACK, [204] * 3],
    ),
    "TIFF of grey times alpha": (
        tiff(2, (8, 8), 1, bytes((100, 255, 20, 51)), extra_samples=1), [[100] * 3, [224] * 3],
    ),
    "TIFF of grey and something": (
        tiff(2, (8, 8), 1, bytes((100, 0, 20, 51)), extra_samples=0), [[100] * 3, [20] * 3],
    ),
    "TIFF of RGBA": (tiff(1, (8,) * 4, 2, bytes((0, 0, 255, 51)), extra_samples=2),
                     [[204, 204, 255]]),
    "TIFF of RGB times alpha": (tiff(1, (8,) * 4, 2, bytes((0, 0, 51, 51)), extra_samples=1),
                                [[204, 204, 255]]),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_pixels_are_those_that_were_worked_out_by_hand(name: str) -> None:
    data, wanted = BY_HAND[name]
    assert may_be_picture(data[:START_BYTES])
    found = np.asarray(decode_image(data))[0].astype(int)
    assert np.abs(found - wanted).max() <= ("CIELAB" in name), found
    image = upright(data)
    assert image.mode in ("RGB", "RGBA")
    paper = Image.new("RGBA", image.size, "white")
    paper.alpha_composite(image.convert("RGBA"))
    assert (np.asarray(paper.convert("RGB"))[0] == found).all()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (tiff(1, (32,), 1, bytes(4)), "whole numbers of 32 bits"),
        (tiff(1, (32,), 1, bytes(4), sample_format=2), "numbers with a sign"),
        (tiff(1, (16,), 1, bytes(2), sample_format=2), "numbers with a sign"),
        (tiff(1, (8,), 1, bytes(1), sample_format=2), "numbers with a sign"),
        (tiff(1, (32,), 1, bytes(4), sample_format=3), "floats"),
        (tiff(1, (16,), 0, bytes(2)), "16 bits of which 0 is white"),
        (tiff(2, (12,), 1, bytes(3)), r"\(12,\) bits"),
        (png(1, 1, 16, 2, bytes(6), (CLEAR, bytes(6))), "16 bits a colour with a transparent"),
    ],
)  # fmt: skip
def test_pixels_whose_black_and_white_are_not_known_are_refused(data: bytes, kind: str) -> None:
    for read in (decode_image, upright):
        with pytest.raises(InputError, match=f"{kind}.*; save it"):
            read(data)


LONG = bytes(range(256)) * 5000


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize(
    "chunk",
    [
        (b"tEXt", b"k\0" + LONG.replace(b"\0", b"x")),
        (b"zTXt", b"k\0\0" + zlib.compress(LONG)),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + LONG),
        (b"iTXt", b"k\0\1\0en\0k\0" + zlib.compress(LONG)),
        (b"iCCP", b"profile\0\0" + zlib.compress(LONG)),
    ],
)
def test_a_png_with_a_long_text_or_profile_is_a_picture(
    chunk: tuple[bytes, bytes], behind: bool
) -> None:
    """Pillow alone refuses what is above 1 MiB, and texts of more than 64 MiB together."""
    turn = Image.Exif()
    turn[0x0112] = 3
    exif = (b"eXIf", turn.tobytes().removeprefix(b"Exif\0\0"))
    pixels = bytes(range(6))
    assert len(LONG) > 1 << 20
    for many in (1, 80 if chunk[0] in (b"iTXt", b"tEXt") else 2):
        data = png(2, 1, 8, 2, pixels, exif, *many * [chunk])
        if behind:
            start, end = data.index(chunk[0]) - 4, data.index(b"IDAT") - 4
            data = data[:start] + data[end:-12] + data[start:end] + data[-12:]
        assert np.asarray(decode_image(data))[0].tolist() == [[3, 4, 5], [0, 1, 2]]


def test_what_a_picture_may_begin_with() -> None:
    for coded in FORMATS:
        assert may_be_picture(picture(0, coded=coded)[:START_BYTES]), coded
    for start in (b"", b"\0" * 12, b"<svg", b"RIFF\0\0\0\0WAVE", b"%!PS", b"GIF", b"\x89PNG"):
        assert not may_be_picture(start)


def test_files_that_are_no_pictures_cost_no_memory(tmp_path: Path) -> None:
    """Files with a hole: of zeros, and larger than any picture."""
    starts = {"zeros": b"", "png": b"\x89PNG\r\n\x1a\n", "tiff": b"II*\0", "text": b"hello"}
    sizes = {"zeros": 1 << 28, "png": 1 << 30, "tiff": 1 << 30, "text": 1 << 28}
    for name, start in starts.items():
        with open(tmp_path / f"{name}.png", "wb") as file:
            file.write(start)
            file.truncate(sizes[name])
    member = tarfile.TarInfo("inside.png")
    member.size = 1 << 28
    with open(tmp_path / "t.tar", "wb") as file:
        file.write(member.tobuf())
        file.truncate(member.size + 2048)
    names = [*(f"{tmp_path}/{name}.png" for name in starts), f"{tmp_path}/t.tar::inside.png"]
    tracemalloc.start()
    try:
        good, bad = inspect(names, MediaReader())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not good and peak < 8 << 20
    assert sorted(set(bad.values())) == [
        "undecodable: not a picture of a known format", "unreadable (Too large for a picture)",
    ]  # fmt: skip
    assert bad[names[1]].endswith("for a picture)") and bad[names[4]].endswith("known format")


def test_a_file_as_large_as_a_picture_may_be_is_read(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png", 1)
    os.truncate(path, MAX_BYTES // 64)  # a hole behind its end
    assert len(MediaReader().read(str(path))) == MAX_BYTES // 64


def test_too_many_pixels_are_refused_before_they_are_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mmts.picture.MAX_PIXELS", 99)
    buffer = io.BytesIO()
    Image.new("RGB", (10, 10)).save(buffer, "PNG")
    with pytest.raises(InputError, match="10 x 10 pixels; a picture has 99 at most"):
        decode_image(buffer.getvalue())
