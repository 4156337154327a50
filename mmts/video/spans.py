"""Spans of time that are cut out of a video."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmts.errors import InputError
from mmts.video.decoder import EPSILON
from mmts.video.parts import Part


@dataclass(eq=False)
class Span:
    """A segment in the making."""

    number: int
    start: float
    stop: float
    jpegs: list[bytes] = field(default_factory=list)
    slot: int = -1

    def wants(self, time: float, frame_rate: float | None) -> bool:
        """Whether the frame belongs to the segment; of those in 1 / frame_rate, the first does."""
        if frame_rate is None:
            return True
        slot = math.floor((time - self.start) * frame_rate + EPSILON)
        new, self.slot = slot > self.slot, slot
        return new


def refused(path: Path | str, start: float, stop: float, first: float) -> InputError | None:
    """What is wrong with a span of a video whose first second is `first`; None for nothing."""
    if not 0 <= start < stop:
        return InputError(
            f"{path}: start {start} s, stop {stop} s; a start is at least 0, a stop after it"
        )
    if start < first:
        return InputError(f"{path}: start {start} s is before the first chunk at {first:g} s")
    return None


def merged(spans: Sequence[Span], part: Part) -> list[tuple[float, float]]:
    """Intervals of the file that spans cover, overlapping ones joined, in its own time."""
    found: list[tuple[float, float]] = []
    for span in sorted(spans, key=lambda span: span.start):
        low = max(span.start, part.start) - part.start
        high = min(span.stop, part.limit) - part.start
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found
