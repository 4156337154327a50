import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmts.errors import InputError
from mmts.media import MediaFacts, MediaReader, decode_image, inspect, inspect_videos, square
from tests.making import picture, write_picture


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


def test_too_many_pixels_are_refused_before_they_are_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mmts.picture.MAX_PIXELS", 99)
    buffer = io.BytesIO()
    Image.new("RGB", (10, 10)).save(buffer, "PNG")
    with pytest.raises(InputError, match="10 x 10 pixels; a picture has 99 at most"):
        decode_image(buffer.getvalue())
