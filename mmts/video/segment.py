"""A segment of a video in one byte string, each frame of which can be read alone.

JPEG files one after another, then their sizes (uint32, little endian), then the number of frames
(uint32) and 8 bytes that mark the format. Players of raw MJPEG play it. JPEG because Pillow alone
reads it, it decodes faster than H.264 with key frames only (`python -m benchmarks.video`), and the
H.264 encoder in PyAV's wheels is under the GPL. Its price is more bytes for the same quality.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from mmap import mmap

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmts.errors import InputError

MARK = b"mmtsseg1"
TAIL = struct.Struct("<I8s")


def write_segment(jpegs: Sequence[bytes]) -> bytes:
    """One byte string of JPEG files, at least one, all of one size in pixels."""
    if not jpegs:
        raise InputError("a segment has no frames; it needs one at least")
    sizes = np.array([len(jpeg) for jpeg in jpegs], dtype="<u4")
    return b"".join([*jpegs, sizes.tobytes(), TAIL.pack(len(jpegs), MARK)])


class SegmentReader:
    """Random access to the frames of a segment; only the bytes of the asked frames are touched.

    Args:
        data: the segment, or a part of a memory-mapped file.

    Raises:
        InputError: the bytes are no segment, or cut short.
    """

    def __init__(self, data: bytes | memoryview | mmap) -> None:
        self._data = memoryview(data)
        end = len(self._data) - TAIL.size
        count, mark = TAIL.unpack(self._data[end:]) if end >= 0 else (0, b"")
        first = end - 4 * count
        if mark != MARK or count == 0 or first < 0:
            raise InputError("not a video segment, or one cut short; cut it again")
        sizes = np.frombuffer(self._data[first:end], dtype="<u4")
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).tolist()
        if self._starts[-1] != first:
            raise InputError(
                f"a video segment of {first:,} bytes should have {self._starts[-1]:,}; cut it again"
            )

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._starts) - 1

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the first frame, read from its header."""
        return self._open(0).size

    def images(self, indices: Sequence[int] | NDArray[np.int64]) -> Iterator[Image.Image]:
        """The frames of these numbers as RGB pictures; a number that repeats is decoded once."""
        before, image = -1, None
        for index in indices:
            if image is None or index != before:
                before, image = int(index), self._decode(int(index))
            yield image

    def frames(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """[T, H, W, 3] uint8: the frames of these numbers, T of them."""
        width, height = self.size
        found = np.empty((len(indices), height, width, 3), dtype=np.uint8)
        for place, image in zip(found, self.images(indices), strict=True):
            if image.size != (width, height):
                raise InputError(f"frames of {image.size} and {(width, height)} in one segment")
            place[...] = np.asarray(image)
        return found

    def jpeg(self, index: int) -> bytes:
        """The bytes of one frame."""
        if not 0 <= index < len(self):
            raise InputError(f"frame {index} of a segment that has 0 to {len(self) - 1}")
        return bytes(self._data[self._starts[index] : self._starts[index + 1]])

    def _open(self, index: int) -> Image.Image:
        try:
            return Image.open(io.BytesIO(self.jpeg(index)), formats=["JPEG"])
        except OSError as error:
            raise InputError(f"frame {index} of a segment is no JPEG ({error})") from None

    def _decode(self, index: int) -> Image.Image:
        image = self._open(index)
        try:
            image.load()
        except OSError as error:
            raise InputError(f"frame {index} of a segment is damaged ({error})") from None
        return image if image.mode == "RGB" else image.convert("RGB")
