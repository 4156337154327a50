"""Cut segments out of a video, accurate to the frame, all of them in one pass over it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mmts.errors import InputError
from mmts.video.decoder import EPSILON, VideoDecoder
from mmts.video.encode import FrameEncoder
from mmts.video.parts import Part, parts
from mmts.video.segment import write_segment
from mmts.video.spans import Span, merged, refused

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

Cut = tuple[int, bytes | InputError]


def cut(
    path: Path | str,
    start: float,
    stop: float,
    *,
    short_side: int,
    quality: int = 85,
    frame_rate: float | None = None,
) -> bytes:
    """The frames with start <= t < stop, in seconds, as a segment for `SegmentReader`.

    Args:
        path, short_side, quality, frame_rate: as in `cut_many`.

    Raises:
        InputError: what `cut_many` raises, or leaves in the place of a segment.
    """
    spans = [(start, stop)]
    ((_, found),) = cut_many(
        path, spans, short_side=short_side, quality=quality, frame_rate=frame_rate
    )
    if isinstance(found, InputError):
        raise found
    return found


def cut_many(
    path: Path | str,
    spans: Sequence[tuple[float, float]],
    *,
    short_side: int,
    quality: int = 85,
    frame_rate: float | None = None,
) -> Iterator[Cut]:
    """Each span's frames with start <= t < stop, decoded once also where spans overlap.

    Time is presentation time in seconds; 0 is the first frame, also of a file that counts from
    elsewhere. Frames are turned upright.

    Args:
        path: a video file, or a folder of chunks named by their start (`0.MP4`, `15.MP4`, ...).
        spans: start and stop of each segment, in any order; a stop of infinity is the video's end.
        short_side: of the stored frames, in pixels; smaller videos keep their size. Both sides are
            even and the aspect stays.
        quality: of JPEG.
        frame_rate: keep about so many frames a second at most; None keeps all.

    Yields:
        The number of a span and its segment, or the error that is left in its place: a stop before
        its start, past the end of the video by more than a frame, a chunk that is missing, damage.
        In the order in which they are complete.

    Raises:
        InputError: a setting is out of range, or a folder holds no chunks.
    """
    if frame_rate is not None and not 0 < frame_rate < math.inf:
        raise InputError(f"frame_rate is {frame_rate}; it must be above 0")
    files = parts(path)
    pass_over = _Pass(Path(path), FrameEncoder(short_side, quality), frame_rate)
    for number, (start, stop) in enumerate(spans):
        problem = refused(path, start, stop, files[0].start)
        if problem is None:
            pass_over.waiting.append(Span(number, float(start), float(stop)))
        else:
            yield number, problem
    pass_over.waiting = deque(sorted(pass_over.waiting, key=lambda span: span.start))
    for part in files:
        yield from pass_over.part(part)


@dataclass(eq=False)
class _Pass:
    """One pass over a video: spans that wait for their start, and those that collect frames."""

    path: Path
    encode: FrameEncoder
    frame_rate: float | None
    waiting: deque[Span] = field(default_factory=deque)
    active: list[Span] = field(default_factory=list)

    def part(self, part: Part) -> Iterator[Cut]:
        """Take what the spans want from one file."""
        if not self._here(part):
            return
        try:
            with VideoDecoder(part.path) as decoder:
                yield from self._past_the_header(part, decoder)
                for low, high in merged(self._here(part), part):
                    for time, frame in decoder.between(low, high):
                        now = min(part.start + time, part.limit)
                        yield from self._frame(now, frame, decoder)
                yield from self._end_of(part, decoder)
        except InputError as error:
            for span in self._here(part):
                yield self._done(span, error)

    def _here(self, part: Part) -> list[Span]:
        """The spans that are not complete and start before the end of this file's share."""
        everything = [*self.active, *self.waiting]
        return [span for span in everything if span.start < part.limit - EPSILON]

    def _frame(self, now: float, frame: VideoFrame | None, decoder: VideoDecoder) -> Iterator[Cut]:
        """End the spans that are before `now`; give the frame to those that it is in."""
        while self.waiting and self.waiting[0].start <= now + EPSILON:
            self.active.append(self.waiting.popleft())
        for span in [span for span in self.active if span.stop <= now + EPSILON]:
            yield self._done(span)
        if frame is None:
            return
        jpeg: bytes | None = None
        for span in self.active:
            if span.wants(now, self.frame_rate):
                jpeg = jpeg or self.encode(frame, decoder)
                span.jpegs.append(jpeg)

    def _done(self, span: Span, error: InputError | None = None) -> Cut:
        if span in self.active:
            self.active.remove(span)
        else:
            self.waiting.remove(span)
        if error is None and not span.jpegs:
            error = InputError(
                f"{self.path} has no frame from {span.start:.3f} s to {span.stop:.3f} s; widen it"
            )
        return span.number, error or write_segment(span.jpegs)

    def _past_the_header(self, part: Part, decoder: VideoDecoder) -> Iterator[Cut]:
        """Refuse spans that the header rules out by far, before their frames are decoded."""
        if decoder.duration is None or part.limit < math.inf:
            return
        end = part.start + decoder.duration
        for span in self._here(part):
            if end + 1 / decoder.rate + 1 < span.stop < math.inf:
                yield self._done(span, self._past(span, end))

    def _end_of(self, part: Part, decoder: VideoDecoder) -> Iterator[Cut]:
        """What the end of a file means for the spans that are not complete."""
        end = math.inf if decoder.end is None else part.start + decoder.end
        for span in self._here(part):
            stop = min(span.stop, part.limit)
            if stop == math.inf:  # to the end: what the header promises
                stop = part.start + decoder.duration - 1 if decoder.duration else end
            if end + 1 / decoder.rate + EPSILON < stop:
                yield self._done(span, self._lacks(span, part, end, decoder))
            elif span.stop <= part.limit + EPSILON:
                yield self._done(span)

    def _lacks(self, span: Span, part: Part, end: float, decoder: VideoDecoder) -> InputError:
        if decoder.duration is not None and part.start + decoder.duration > end + 1:
            return InputError(
                f"{part.path} is cut short: it ends at {end - part.start:.3f} s, its header says "
                f"{decoder.duration:.3f} s; copy it again"
            )
        if part.limit < math.inf:
            return InputError(
                f"{self.path} has nothing from {end:.3f} s to {part.limit:g} s, which the segment "
                f"from {span.start:.3f} s to {span.stop:.3f} s needs; is a chunk missing?"
            )
        return self._past(span, end)

    def _past(self, span: Span, end: float) -> InputError:
        late = f"start {span.start:.3f}" if span.start >= end else f"stop {span.stop:.3f}"
        return InputError(f"{self.path}: {late} s is past the end of the video at {end:.3f} s")
