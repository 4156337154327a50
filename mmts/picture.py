"""Bytes of a picture -> pixels: whole, or its centre square."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mmts import jpeg
from mmts.errors import InputError, first_line

Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # none that starts another program
MAX_PIXELS = 80_000_000  # beyond any photograph: a decompression bomb
ORIENTATION = 0x0112
BITS, PHOTOMETRIC, SAMPLES, SIGNED = 258, 262, 339, 2
"""Tags of a TIFF, and what the last one says of numbers with a sign."""
UNKNOWN = {"I": "whole numbers of 32 bits", "F": "floats"}
"""Modes of Pillow of which black and white are not known."""
RULES = 2
"""Version of the rules by which a file becomes pixels. Features are kept under it: count up when
the pixels of any file change."""
MAX_BYTES = 1 << 28
"""Of a file, at most: room for MAX_PIXELS of three bytes."""
STARTS = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP|GIF8[79]a|BM|II[*+]\0|MM\0[*+]|II\0\*|MM\*\0",
    re.DOTALL,
)
"""First bytes of files of FORMATS."""
START_BYTES = 12
PNG, TEXTS = b"\x89PNG\r\n\x1a\n", (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
"""How a PNG begins, and its chunks of text and of colour profiles."""
TEXT_BYTES, ALL_TEXT_BYTES = 1 << 20, 1 << 24
"""Of one of them, unpacked, and of all in a file: no more is given to Pillow, which takes as much
of the first and four times as much of the second, and refuses pictures with more."""
SCANS = 60
"""Of a JPEG, at most; encoders write about ten. Each costs a pass over all pixels."""
SCAN, END = b"\xff\xda", b"\xff\xd9"
PLAIN_FRAMES = (b"\xff\xc0", b"\xff\xc1", b"\xff\xc9")
"""What begins the description of a JPEG that is not progressive."""
MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
"""What begins a segment of a JPEG; in the coded pixels there is none."""
GAP = 2
"""Times the wanted size that a JPEG has at least when it is decoded smaller before a resize, as
Pillow advises for its reducing_gap."""


class Picture:
    """A picture file that is not decoded yet.

    Attributes:
        size: width and height, upright.
        format: one of FORMATS, or MPO: a JPEG with further pictures.
    """

    def __init__(self, data: bytes) -> None:
        """Raises InputError where the bytes are no picture or hold an absurd number of pixels.

        A PNG is decoded here, and refused where it is damaged: its EXIF may stand at its end.
        """
        self._data, self._opened = data, None
        plain = jpeg.plain_size(data)
        if plain is not None:
            _check_scans(data)
        self._plain = plain is not None and plain[0] * plain[1] <= MAX_PIXELS
        if plain is not None and self._plain:
            self.size, self.format = plain, "JPEG"
        else:
            self._opened = open_picture(data)
            self.size, self.format = _upright_size(self._opened), self._opened.format or ""

    def pixels(self, out: NDArray[np.uint8] | None = None, scale: int = 1) -> Pixels | None:
        """[height, width, 3] RGB of a plain JPEG, see `mmts.jpeg`; None of anything else."""
        return jpeg.decode(self._data, self.size, scale, out) if self._plain else None

    def decode(self, scale: int = 1) -> Image.Image:
        """The picture as RGB, upright by its EXIF orientation, transparent parts on white.

        Args:
            scale: a JPEG may be decoded with 2, 4 or 8 times fewer pixels a side (rounded up), as
                `scale_for` says; other formats keep their size.

        Raises:
            InputError: the file is cut short or damaged.
        """
        found = self.pixels(scale=scale)
        if found is not None:
            return Image.fromarray(found)
        image, self._opened = self._opened or open_picture(self._data), None
        return _decoded(image, scale)


def decode_image(data: bytes) -> Image.Image:
    """The picture as RGB, upright by its EXIF orientation, transparent parts on white.

    Raises:
        InputError: the bytes are no picture, are cut short, or hold an absurd number of pixels.
    """
    return Picture(data).decode()


def scale_for(width: float, height: float, size: int) -> int:
    """How much smaller a JPEG may be decoded, a part of which is resized to `size` a side.

    Args:
        width, height: the part, in pixels of the whole picture.
        size: what it becomes.

    Returns:
        2, 4 or 8 where GAP times `size` remain, else 1.
    """
    smaller = (s for s in jpeg.SCALES if min(width, height) >= GAP * size * s)
    return next(smaller, 1)


@contextmanager
def in_our_words() -> Iterator[None]:
    """What Pillow raises of bad pictures -> InputError."""
    try:
        yield
    except UnidentifiedImageError:  # its own words hold an address in memory
        raise InputError("not a picture of a known format") from None
    except Image.DecompressionBombError as error:
        raise InputError(f"too many pixels ({error})") from None
    except (InputError, MemoryError):  # too little memory is not the picture's fault
        raise
    except Exception as error:  # its readers raise anything of damaged files
        raise InputError(f"not a readable picture ({first_line(error)})") from None


def open_picture(data: bytes, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """The picture as Pillow has it, not decoded yet; InputError as of `Picture`."""
    with in_our_words():
        _check_scans(data)
        image = Image.open(io.BytesIO(_without_long_texts(data)), formats=formats)
        if not 0 < image.width * image.height <= MAX_PIXELS:
            raise InputError(
                f"{image.width} x {image.height} pixels; a picture has {MAX_PIXELS:,} at most"
            )
        _check_scale(image)
        _mend_transparency(image, data)
        return image


def may_be_picture(start: bytes) -> bool:
    """Return whether a file with these first `START_BYTES` bytes may be of one of FORMATS."""
    return STARTS.match(start) is not None


def _without_long_texts(data: bytes) -> bytes:
    """Return a PNG without the texts and colour profiles for which Pillow would refuse it.

    A file without such chunks, or of another format, is returned as it is.
    """
    if not data.startswith(PNG):
        return data
    parts, start, at, total = [], 0, len(PNG), 0
    while at + 8 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        kind = data[at + 4 : at + 8]
        if kind in TEXTS:
            size = 0 if total > ALL_TEXT_BYTES else _text_bytes(kind, data[at + 8 : end - 4])
            total += size
            if total > ALL_TEXT_BYTES or size > TEXT_BYTES:
                parts.append(data[start:at])
                start = end
        at = end
    return b"".join([*parts, data[start:]]) if parts else data


def _text_bytes(kind: bytes, content: bytes) -> int:
    """Return how large a PNG's text or profile is when it is unpacked.

    Where it is compressed no more than `TEXT_BYTES` are unpacked, and one more is returned where
    that is not all.
    """
    _, _, rest = content.partition(b"\0")  # behind the keyword
    if kind == b"iTXt":
        packed = rest[2:].split(b"\0", 2)[-1] if rest.startswith(b"\1") else b""
    else:
        packed = b"" if kind == b"tEXt" else rest[1:]
    unpacking = zlib.decompressobj()
    try:
        text = unpacking.decompress(packed, TEXT_BYTES)
    except zlib.error:  # Pillow takes damaged texts for empty ones
        return len(content)
    return max(len(content), len(text)) if not unpacking.unconsumed_tail else TEXT_BYTES + 1


def _check_scale(image: Image.Image) -> None:
    """InputError where it is not known which values of the pixels are black and white."""
    kind = UNKNOWN.get(image.mode)
    if image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        if any(sample == SIGNED for sample in tags.get(SAMPLES) or ()):
            kind = "numbers with a sign"
        elif image.mode.startswith("I;16") and tags.get(PHOTOMETRIC) == 0:
            kind = "16 bits of which 0 is white"
        elif image.mode.startswith("I;16") and tags.get(BITS) != (16,):
            kind = f"{tags.get(BITS)} bits"
    if kind is not None:
        raise InputError(f"its pixels are {kind}; save it as a picture of 8 bits")


def _mend_transparency(image: Image.Image, data: bytes) -> None:
    """Bring the transparent colour of a PNG to the scale on which Pillow gives the pixels.

    Raises:
        InputError: The pixels have lost the bits that tell which of them are transparent.
    """
    clear = image.info.get("transparency")
    if image.format != "PNG" or image.mode not in ("L", "RGB") or clear is None:
        return
    bits = data[24]  # of the header, which is the first chunk
    if bits == 16:
        raise InputError(
            "a PNG of 16 bits a colour with a transparent colour; save it with an alpha channel or "
            "with 8 bits"
        )
    most = (1 << bits) - 1
    if image.mode == "L":
        image.info["transparency"] = (clear & most) * 255 // most
    else:
        image.info["transparency"] = tuple(value & most for value in clear)


def _check_scans(data: bytes) -> None:
    """InputError where a JPEG would be decoded over and over, for minutes."""
    if not data.startswith(jpeg.START):
        return
    at, scans, colours = 2, 0, b""
    while (found := MARKER.search(data, at)) is not None and found[0] != END:
        at, kind = found.end(), found[0]
        if kind in PLAIN_FRAMES:
            colours = data[at + 7 : at + 8]
        scans += kind == SCAN
        if kind == SCAN and data[at + 2 : at + 3] == colours:  # all at once: the only scan
            return
        at += int.from_bytes(data[at : at + 2])
    if scans > SCANS:
        raise InputError(f"a JPEG of {scans:,} scans; a picture has {SCANS} at most")


def upright(data: bytes, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """Return the picture as RGB or RGBA, upright by its EXIF; InputError as `Picture`."""
    image = open_picture(data, formats)
    with in_our_words():
        image.load()
        return _eight_bits(_upright(image))


def _decoded(image: Image.Image, scale: int) -> Image.Image:
    with in_our_words():
        if scale > 1:
            image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))
        image.load()
        return _on_white(_upright(image))


def _upright_size(image: Image.Image) -> tuple[int, int]:
    if image.format == "PNG":  # getexif would decode it, and what is wrong with it would be lost
        with in_our_words():
            image.load()
    try:
        turned = image.getexif().get(ORIENTATION) in (5, 6, 7, 8)
    except Exception:  # as in _upright
        turned = False
    return (image.height, image.width) if turned else image.size


def _upright(image: Image.Image) -> Image.Image:
    """Turned by its EXIF orientation; as it is where the EXIF block is damaged."""
    try:
        return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # whatever Pillow's EXIF reader raises on broken bytes
        return image


def _on_white(image: Image.Image) -> Image.Image:
    image = _eight_bits(image)
    if image.mode == "RGB":
        return image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return a picture of any mode as RGB, or as RGBA where it has transparent parts.

    Of 16 bits the upper 8 are taken, as Pillow does with colours.
    """
    if image.mode.startswith("I;16"):
        return _grey(image)
    if image.mode == "La":
        image = image.convert("LA")
    clear = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    return image.convert("RGBA" if clear else "RGB")


def _grey(image: Image.Image) -> Image.Image:
    """Return a grey picture of 16 bits as RGB, or as RGBA where it has a transparent grey."""
    values = np.asarray(image)
    whole = Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    clear = image.info.get("transparency")
    if clear is not None:
        whole.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return whole


def square(image: Image.Image, size: int) -> Pixels:
    """The centre square of the picture, [size, size, 3] uint8: short side to `size`, then crop."""
    box = _centre(*image.size)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box), dtype=np.uint8)


def read_square(data: bytes, size: int, out: Pixels | None = None) -> Pixels:
    """`square(decode_image(data), size)` in less time, with large JPEGs decoded smaller.

    Those, with 2 * GAP times `size` on the short side or more, differ by less than a level of 255
    on the average (tests/test_picture.py); all others are equal.

    Args:
        data: the file.
        size: pixels a side.
        out: where to write the result; a contiguous [size, size, 3].
    """
    picture = Picture(data)
    if out is None:
        out = np.empty((size, size, 3), np.uint8)
    if picture.size == (size, size) and picture.pixels(out) is not None:
        return out
    side = min(picture.size)
    scale = scale_for(side, side, size)
    image = picture.decode(scale)
    box = in_scale(_centre(*picture.size), picture.size, image.size, scale)
    out[:] = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))
    return out


def _centre(width: int, height: int) -> Box:
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def in_scale(box: Box, whole: tuple[int, int], decoded: tuple[int, int], scale: int) -> Box:
    """A box of the whole picture in the one that `Picture.decode(scale)` gave."""
    if decoded == whole:
        return box
    left, top, right, bottom = (edge / scale for edge in box)
    return left, top, right, bottom
