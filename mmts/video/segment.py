"""A segment of a video in one byte string, each frame of which can be read alone.

JPEG files one after another, then their sizes and their CRC-32 (uint32, little endian), then the
number of frames (uint32) and 8 bytes that mark the format. Players of raw MJPEG play it. JPEG
because Pillow alone reads it, it decodes faster than H.264 with key frames only
(`python -m benchmarks.video`), and the H.264 encoder in PyAV's wheels is under the GPL. Its price
is more bytes for the same quality.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from mmap import mmap
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmts.errors import InputError
from mmts.picture import in_our_words, open_picture

MARK = b"mmtsseg2"
REMEDY = "cut it again (`dvc repro -sf pack`)"
TAIL = struct.Struct("<I8s")


def write_segment(jpegs: Sequence[bytes]) -> bytes:
    """One byte string of JPEG files, at least one, all of one size in pixels."""
    if not jpegs:
        raise InputError("a segment has no frames; it needs one at least")
    table = np.array([[len(jpeg) for jpeg in jpegs], [crc32(jpeg) for jpeg in jpegs]], dtype="<u4")
    return b"".join([*jpegs, table.tobytes(), TAIL.pack(len(jpegs), MARK)])


def frame_count(tail: bytes) -> int:
    """Return the number of frames of a segment, given its last `TAIL.size` bytes."""
    count, mark = TAIL.unpack(tail)
    if mark != MARK:
        raise InputError(f"a video segment ends with {mark!r}, not {MARK!r}; {REMEDY}")
    return int(count)


class SegmentReader:
    """Random access to the frames of a segment; only the bytes of the asked frames are touched.

    Args:
        data: the segment, or a part of a memory-mapped file.
        name: of the segment, for errors.

    Raises:
        InputError: the bytes are no segment, or cut short.
    """

    def __init__(self, data: bytes | memoryview | mmap, name: str = "a video segment") -> None:
        self._name = name
        self._data = memoryview(data)
        end = len(self._data) - TAIL.size
        count, mark = TAIL.unpack(self._data[end:]) if end >= 0 else (0, b"")
        first = end - 8 * count
        if mark != MARK or count == 0 or first < 0:
            raise InputError(f"{name} is no video segment, or one cut short; {REMEDY}")
        sizes, sums = np.frombuffer(self._data[first:end], dtype="<u4").reshape(2, -1)
        self._sums = sums.tolist()
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).tolist()
        if self._starts[-1] != first:
            raise InputError(
                f"{name} has {first:,} bytes of frames, not {self._starts[-1]:,}; {REMEDY}"
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
                raise InputError(f"frames of {image.size} and {(width, height)} in {self._name}")
            place[...] = np.asarray(image)
        return found

    def jpeg(self, index: int) -> bytes:
        """The bytes of one frame."""
        if not 0 <= index < len(self):
            raise InputError(f"frame {index} of {self._name}, that has 0 to {len(self) - 1}")
        data = bytes(self._data[self._starts[index] : self._starts[index + 1]])
        if crc32(data) != self._sums[index]:
            raise InputError(f"frame {index} of {self._name} is damaged; {REMEDY}")
        return data

    def _open(self, index: int) -> Image.Image:
        try:
            return open_picture(self.jpeg(index), ("JPEG",))
        except InputError as error:
            raise InputError(f"frame {index} of {self._name} is no JPEG ({error})") from None

    def _decode(self, index: int) -> Image.Image:
        image = self._open(index)
        try:
            with in_our_words():
                image.load()
                return image if image.mode == "RGB" else image.convert("RGB")
        except InputError as error:
            raise InputError(f"frame {index} of {self._name} is damaged ({error})") from None
