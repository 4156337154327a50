"""A decoded frame -> JPEG: upright, with square pixels, resized to a short side."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mmts.errors import InputError
from mmts.video.decoder import VideoDecoder
from mmts.video.probe import quarter_turns, upright_size

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


class FrameEncoder:
    """Encodes the frames of one video, all to the size that follows from the first one.

    Raises:
        InputError: short_side or quality out of range.
    """

    def __init__(self, short_side: int, quality: int) -> None:
        if short_side < 2:
            raise InputError(f"short_side is {short_side}; it must be at least 2")
        if not 1 <= quality <= 95:
            raise InputError(f"quality is {quality}; it must be from 1 to 95")
        self.short_side, self.quality = short_side, quality
        self._size: tuple[int, int] | None = None

    def __call__(self, frame: VideoFrame, decoder: VideoDecoder) -> bytes:
        """The bytes of the JPEG."""
        turns = quarter_turns(frame, str(decoder.path))
        if self._size is None:
            shown = upright_size(frame, decoder.stream, str(decoder.path))
            self._size = shrunk(*shown, self.short_side)
        width, height = self._size if turns % 2 == 0 else self._size[::-1]
        rgb = frame.reformat(width, height, "rgb24", interpolation="BICUBIC", threads=1)
        upright = np.ascontiguousarray(np.rot90(rgb.to_ndarray(), turns))
        buffer = io.BytesIO()
        Image.fromarray(upright).save(buffer, "JPEG", quality=self.quality, subsampling="4:2:0")
        return buffer.getvalue()


def shrunk(width: int, height: int, short_side: int) -> tuple[int, int]:
    """The size with this short side, never larger than it was, both sides even."""
    scale = min(1.0, short_side / min(width, height))
    return max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))
