"""What was tried of each method, and how well it did in validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmts.kinds.objective import quantity
from mmts.reporting.study.figures.look import (
    COLOURS,
    FAMILIES,
    MARKERS,
    aside,
    blank,
    family,
    finished,
    mark_legend,
    panels,
    treatment,
)
from mmts.reporting.study.results import StudyResults
from mmts.reporting.style import INK, Figure, canvas
from mmts.reporting.tables import KNOBS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STEPS = {"fixed": 0, "TS": -1, "ICS": 0, "MM-TS": 1}
Points = list[tuple[float, float, bool]]
"""Centre, validation rsum, whether chosen; sorted."""


def trials_figure(studies: Sequence[StudyResults]) -> Figure | None:
    """Validation rsum of every trial against its centre; a row an objective, a column a dataset."""
    found = {(of, study.dataset): _points(study, of) for of in FAMILIES for study in studies}
    rows = [of for of in FAMILIES if any(found[of, study.dataset] for study in studies)]
    if not rows:
        return None
    from matplotlib.lines import Line2D

    with canvas(0.9 + 3.2 * len(rows)) as figure:
        grid = panels(figure, studies, [FAMILIES[of] for of in rows])
        for of in rows:
            for study in studies:
                axes = grid[FAMILIES[of], study.dataset]
                if found[of, study.dataset]:
                    _draw(axes, found[of, study.dataset])
                    axes.set_xlabel(KNOBS[quantity(of)])
                else:
                    blank(axes)
            grid[FAMILIES[of], studies[0].dataset].set_ylabel("validation rsum")
        best = Line2D([], [], color=INK, linewidth=0.9, linestyle=(0, (4, 3)), label="best fixed")
        chosen = Line2D([], [], color=INK, marker="o", linewidth=0, label="filled: chosen")
        mark_legend(figure, list(COLOURS), [best, chosen], filled=False)
        caption = (
            "Every trial by the centre of its temperatures or margins; those of a method at one "
            "centre differ in alpha and in the width of the shifts. TS and MM-TS stand a little "
            "aside. Filled: the chosen setting of each method. No test item was used."
        )
        alt = "Validation rsum of the trials. " + " ".join(
            f"{study.dataset}, {FAMILIES[of]}: {_alt(found[of, study.dataset])}."
            for of in rows
            for study in studies
            if found[of, study.dataset]
        )
        title = "Validation rsum of every trial"
        return finished(figure, "trials", title, caption, alt)


def _points(study: StudyResults, of: str) -> dict[str, Points]:
    """By treatment, the trials of a family that have a centre."""
    found = {}
    for name, trials in study.trials.items():
        kind = treatment(name)
        if kind is None or family(name) != of:
            continue
        chosen = study.chosen[name].entry.changes if name in study.chosen else None
        points = [
            (float(entry.changes["centre"]), value, entry.changes == chosen)
            for entry, value in trials
            if "centre" in entry.changes
        ]
        if points:
            found[kind] = sorted(points)
    return found


def _draw(axes: Axes, found: dict[str, Points]) -> None:
    centres = [x for points in found.values() for x, _, _ in points]
    for kind, points in found.items():
        apart = aside(_STEPS[kind], (min(centres), max(centres)))
        x, y = [x * apart for x, _, _ in points], [y for _, y, _ in points]
        axes.plot(
            x, y, color=COLOURS[kind], marker=MARKERS[kind], markersize=7, markeredgewidth=1.6,
            markerfacecolor="none", linewidth=1.6 if kind == "fixed" else 0,
        )  # fmt: skip
        for px, py, (_, _, chosen) in zip(x, y, points, strict=True):
            if chosen:
                axes.plot(
                    [px], [py], MARKERS[kind], color=COLOURS[kind], markersize=8,
                    markeredgecolor=INK, zorder=4 if kind == "fixed" else 3,
                )  # fmt: skip
    if "fixed" in found:
        best = max(y for _, y, _ in found["fixed"])
        axes.axhline(best, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    _log_ticks(axes, centres)
    axes.margins(y=0.1)


def _log_ticks(axes: Axes, centres: Sequence[float]) -> None:
    """A log axis with 1, 2 and 5 of each power of ten, as far as they lie in the range."""
    axes.set_xscale("log")
    low, high = min(centres) / 1.25, max(centres) * 1.25
    ticks = [m * 10.0**p for p in range(-6, 7) for m in (1, 2, 5)]
    shown = [tick for tick in ticks if low <= tick <= high]
    axes.set_xticks(shown, [f"{tick:g}" for tick in shown])
    axes.minorticks_off()
    axes.set_xlim(low, high)


def _alt(found: dict[str, Points]) -> str:
    told = []
    for kind, points in found.items():
        centre, value = max(((x, y) for x, y, _ in points), key=lambda point: point[1])
        told.append(
            f"{kind} from {min(y for _, y, _ in points):.1f} to {value:.1f}, the best at centre "
            f"{centre:g}"
        )
    return "; ".join(told)
