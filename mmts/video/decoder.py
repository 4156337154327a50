"""The frames of one video file by presentation time, forward only, seeking over long gaps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from mmts.errors import InputError
from mmts.video.probe import frame_rate, open_video, reason, seconds

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

EPSILON = 1e-6
"""Times are equal when they differ by less: a table's decimals are not a frame's fraction."""

LONG_GAP = 10.0
"""Seconds worth a seek in a file that has no index of its key frames."""


class VideoDecoder:
    """Frames with their times; time 0 is the presentation time of the first frame.

    Attributes:
        duration: seconds as the header has them, or None.
        rate: frames a second, on average.
        end: where the last frame ends, once the end of the file was met; None before.
        decoded: frames that were decoded so far.

    Raises:
        InputError: as `mmts.video.probe.open_video`; later, a damaged frame among those asked for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.container, self.stream = open_video(path)
        self.duration, self.rate = (
            seconds(self.container, self.stream),
            frame_rate(self.stream),
        )
        self.end: float | None = None
        self.decoded = 0
        assert self.stream.time_base is not None
        self._unit = self.stream.time_base
        self._first = self.stream.start_time or 0
        self._fed: int | None = None  # dts of the packet that was decoded last
        self._last = -1.0  # time of the frame that was handed out last
        self._ahead: tuple[float, VideoFrame] | None = None
        self._frames = self._decode()

    def __enter__(self) -> VideoDecoder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.container.close()

    def between(self, start: float, stop: float) -> Iterator[tuple[float, VideoFrame | None]]:
        """Each frame with start <= t < stop, then the time of the one after them and None.

        `start` never goes back from one call to the next. Nothing comes after the last frame of
        the file; `end` is set then.
        """
        if self._ahead is None or self._ahead[0] < start - EPSILON:
            self._jump(start)
        while True:
            item = self._ahead or next(self._frames, None)
            self._ahead = None
            if item is None:
                return
            time, frame = item
            if time <= self._last or time < start - EPSILON:
                continue
            if time >= stop - EPSILON:
                self._ahead = item
                yield time, None
                return
            if frame.is_corrupt:
                raise self._damage(f"a damaged frame at {time:.3f} s")
            self._last = time
            yield item

    def _decode(self) -> Iterator[tuple[float, VideoFrame]]:
        """What comes from here on, with its time."""
        import av

        time = length = 0.0
        try:
            for packet in self.container.demux(self.stream):
                self._fed = packet.dts if packet.dts is not None else self._fed
                for frame in packet.decode():
                    ticks = frame.pts if frame.pts is not None else frame.dts
                    if ticks is None:
                        raise InputError(f"{self.path}: a frame has no time; remux it as mp4")
                    self.decoded += 1
                    time = float((ticks - self._first) * self._unit)
                    length = float(frame.duration * self._unit) or 1 / self.rate
                    yield time, frame
        except av.FFmpegError as error:
            raise self._damage(f"no frames after {time:.3f} s ({reason(error)})") from None
        self.end = time + length

    def _jump(self, start: float) -> None:
        """Go to the last key frame that is not after `start`, where that skips something."""
        if not self._skips(start):
            return
        back = 0.0
        while start - back > 0:
            self._seek(start - back)
            frames = self._decode()
            key = next((item for item in frames if item[1].key_frame), None)
            if key is not None and key[0] <= start + EPSILON:
                self._frames = chain([key], frames)
                return
            back = max(1.0, 2 * back)
        self._seek(0.0)
        self._frames = self._decode()

    def _skips(self, start: float) -> bool:
        index = self.stream.index_entries
        if not len(index) >= self.stream.frames > 0:  # no whole index: a seek may lead back
            return start - max(self._last, 0.0) > LONG_GAP
        found = index.search_timestamp(self._ticks(start))
        fed = index[0].timestamp if self._fed is None else self._fed
        return found >= 0 and index[found].timestamp > fed

    def _seek(self, time: float) -> None:
        import av

        self.end = None
        try:
            self.container.seek(self._ticks(time), stream=self.stream)
        except av.FFmpegError as error:
            raise self._damage(f"no way to {time:.3f} s ({reason(error)})") from None

    def _ticks(self, time: float) -> int:
        return round(time / self._unit) + self._first

    def _damage(self, what: str) -> InputError:
        return InputError(f"{self.path} is damaged: {what}; copy it again or leave it out")
