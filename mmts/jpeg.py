"""Plain JPEGs by libjpeg-turbo through simplejpeg, without what Pillow does around it.

Plain is an upright one in grey or YCbCr; these give the bytes that Pillow gives, at any scale.
Everything else, and everything damaged, is left to Pillow: so nothing depends on whether
simplejpeg (the extra `fast`) is installed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

PLAIN = ("Gray", "YCbCr")
SCALES = (8, 4, 2)
START, MARKER, APP1, APP2, START_OF_SCAN = b"\xff\xd8\xff", 0xFF, 0xE1, 0xE2, 0xDA


def plain_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG that `decode` takes; None of anything else."""
    if simplejpeg is None or not data.startswith(START) or _special(data):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    return (width, height) if colours in PLAIN else None


def _special(data: bytes) -> bool:
    """Whether it may have to be turned (by EXIF or XMP, in APP1) or is one of several (MPO)."""
    at, end = 2, len(data) - 3
    while at < end and data[at] == MARKER:
        kind = data[at + 1]
        if kind == START_OF_SCAN:
            return False
        if kind == APP1 or (kind == APP2 and data[at + 4 : at + 8] == b"MPF\0"):
            return True
        at += 1 if kind == MARKER else 2 + (data[at + 2] << 8 | data[at + 3])
    return True  # not where a JPEG has its segments


def decode(
    data: bytes, size: tuple[int, int], scale: int = 1, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8] | None:
    """The pixels, [height, width, 3] RGB; None where the file is damaged.

    Args:
        data: a file that `plain_size` knows.
        size: what `plain_size` says.
        scale: 1, or of SCALES: that many times fewer pixels a side, rounded up, by a smaller
            inverse cosine transform.
        out: contiguous memory to decode into, of just the shape that is returned.
    """
    width, height = (-(-side // scale) for side in size)
    smaller = {"min_width": width, "min_height": height, "min_factor": scale} if scale > 1 else {}
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB", buffer=out, **smaller)
    except ValueError:
        return None
    return pixels if pixels.shape == (height, width, 3) else None
