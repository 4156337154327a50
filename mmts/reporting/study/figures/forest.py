"""A forest plot: differences with their intervals, a row each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from mmts.reporting.intervals import Interval
from mmts.reporting.style import INK, MUTED
from mmts.reporting.words import bounds, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW = 0.25  # inches
BEYOND = " Arrowheads: the interval goes beyond the axis."
BAND = "#e2f3ec"
_REACH = 4.0  # the axis goes so many times as far as the median row


@dataclass(frozen=True)
class Mark:
    """What a row shows in a panel: a difference, or words alone, at zero where it is one."""

    interval: Interval | None
    words: str = ""
    at_zero: bool = False
    colour: str = INK


def told(interval: Interval) -> str:
    """A difference and its bounds: `+1.2 (−0.3 to +2.7)`."""
    return f"{signed(interval.value)} ({bounds(interval)})"


def forest(
    axes: Axes, marks: Sequence[Mark | None], banded: Sequence[bool], *, narrow: bool
) -> bool:
    """Draws row i at height i, downwards, and on the right its value and, if not narrow, bounds.

    Returns:
        Whether a row goes beyond the axis; an arrowhead marks its end there.
    """
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")
    axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
    left, right = _window([m.interval for m in marks if m and m.interval])
    beyond = False
    for y, (mark, band) in enumerate(zip(marks, banded, strict=True)):
        if band:
            axes.axhspan(y - 0.5, y + 0.5, color=BAND, linewidth=0, zorder=0)
        if mark is None:
            continue
        if mark.interval:
            beyond |= _interval(axes, y, mark.interval, mark.colour, left, right)
        elif mark.at_zero:
            axes.plot([0], [y], "D", color="white", markeredgecolor=mark.colour, markersize=6)
        words = mark.words
        if mark.interval:
            words = signed(mark.interval.value) if narrow else told(mark.interval)
        axes.text(
            1.02, y, words, transform=axes.get_yaxis_transform(), va="center", fontsize=8,
            color=INK if mark.interval and mark.interval.clear else MUTED,
        )  # fmt: skip
    axes.set_xlim(left, right)
    axes.set_ylim(len(marks) - 0.5, -0.5)
    axes.spines["left"].set_visible(False)
    return beyond


def label_rows(axes: Axes, labels: Sequence[str], bold: Sequence[bool]) -> None:
    """Names the rows on the left."""
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", pad=8)
    for label, is_bold in zip(axes.get_yticklabels(), bold, strict=True):
        label.set_color(INK)
        label.set_fontweight("bold" if is_bold else "normal")


def _interval(
    axes: Axes, y: int, interval: Interval, colour: str, left: float, right: float
) -> bool:
    """A dot on its interval; an arrowhead at the end of the axis where the interval goes on."""
    axes.plot([interval.low, interval.high], [y, y], color=colour, linewidth=1.8,
              solid_capstyle="butt")  # fmt: skip
    axes.plot([interval.value], [y], "o", color=colour, markersize=5.5)
    for end, sign, cut in ((left, "<", interval.low < left), (right, ">", interval.high > right)):
        if cut:
            axes.plot([end], [y], sign, color=colour, markersize=6, clip_on=False)
    return interval.low < left or interval.high > right


def _window(intervals: Sequence[Interval]) -> tuple[float, float]:
    """The ends of the axis: all intervals and zero, but not much beyond what most rows need."""
    reaches = [reach for i in intervals if (reach := max(abs(i.low), abs(i.high)))]
    if not reaches:
        return -1.0, 1.0
    most = _REACH * median(reaches)
    left = max(min(0.0, *(i.low for i in intervals)), -most)
    right = min(max(0.0, *(i.high for i in intervals)), most)
    room = 0.06 * (right - left)
    return left - room, right + room
