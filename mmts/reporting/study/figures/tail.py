"""The long-tail sweep: what schedules gain as the training split grows more imbalanced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmts.reporting.intervals import Interval
from mmts.reporting.study.figures.forest import told
from mmts.reporting.study.figures.look import (
    COLOURS,
    MARKERS,
    aside,
    finished,
    mark_legend,
    panels,
    tested_in,
    treatment,
)
from mmts.reporting.study.results import StudyResults
from mmts.reporting.style import INK, Figure, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STEPS = {"TS": -2, "ICS": 0, "MM-TS": 2}
PARTS = {"all queries": None, "tail queries": "tail"}
Gains = dict[str, dict[float, Interval]]
"""By treatment and imbalance."""


def tail_figure(studies: Sequence[StudyResults]) -> Figure | None:
    """Gain over the fixed row by imbalance; all queries above, those of the tail below."""
    found = {(row, s.dataset): _gains(s, part) for row, part in PARTS.items() for s in studies}
    studies = [s for s in studies if any(found[row, s.dataset] for row in PARTS)]
    if not studies:
        return None
    kinds = [k for k in COLOURS if any(k in gains for gains in found.values())]
    with canvas(5.9) as figure:
        grid = panels(figure, studies, list(PARTS))
        for place, axes in grid.items():
            _draw(axes, found[place])
            axes.set_xlabel("imbalance")
            if place[1] == studies[0].dataset:
                axes.set_ylabel("rsum minus fixed")
        mark_legend(figure, kinds)
        caption = (
            "Training splits of one size, drawn so that the largest class is 1 to many times as "
            "large as the smallest. Gain in test rsum over the fixed row trained on the same "
            "split, each with its chosen setting; whiskers are 95 % intervals over media items "
            "and seeds. Tail: queries of the classes "
            "that are tail at the largest imbalance."
        )
        alt = "Gain in rsum over the fixed row by imbalance. " + " ".join(
            f"{dataset}, {row}: {_alt(found[row, dataset])}." for row, dataset in grid
        )
        title = "Gain over fixed as the training split gets a longer tail"
        return finished(figure, "tail", title, caption, alt)


def _gains(study: StudyResults, part: str | None) -> Gains:
    tested = tested_in(study, "imbalance")
    fixed = {(t.entry.name, t.entry.varied["imbalance"]): t for t in tested}
    found: Gains = {}
    for one in tested:
        name, imbalance = one.entry.name, one.entry.varied["imbalance"]
        kind, baseline = treatment(name), fixed.get((study.baseline_of(name), imbalance))
        if kind in (None, "fixed") or baseline is None:
            continue
        found.setdefault(str(kind), {})[imbalance] = study.difference(one, baseline, part)
    return found


def _draw(axes: Axes, gains: Gains) -> None:
    ratios = sorted({ratio for of in gains.values() for ratio in of})
    ends = (ratios[0], ratios[-1]) if len(ratios) > 1 else (ratios[0] / 3, ratios[0] * 3)
    room = (ends[1] / ends[0]) ** 0.08
    for kind, of in gains.items():
        x, found = [ratio * aside(_STEPS[kind], ends) for ratio in of], list(of.values())
        errors = [[i.value - i.low for i in found], [i.high - i.value for i in found]]
        axes.errorbar(
            x, [i.value for i in found], yerr=errors, color=COLOURS[kind], marker=MARKERS[kind],
            markersize=5.5, linewidth=1.4, elinewidth=1.2,
        )  # fmt: skip
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -1.0), max(high, 1.0))
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
    axes.minorticks_off()
    axes.set_xlim(ends[0] / room, ends[1] * room)


def _alt(gains: Gains) -> str:
    return "; ".join(
        f"{kind} " + ", ".join(f"{told(i)} at {ratio:g}" for ratio, i in of.items())
        for kind, of in gains.items()
    )
