"""What the figures of the study share: treatments and their colours, panels, legend, end."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING, Any

from mmts.kinds.objective import label
from mmts.reporting.study.results import StudyResults, Tested
from mmts.reporting.style import INK, MUTED, Figure, headline, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

FAMILIES = {name: label(name) for name in ("info_nce", "max_margin")}
"""Objectives that have all treatments, and what people call them."""
COLOURS = {"fixed": "#6e7781", "TS": "#0072b2", "ICS": "#e69f00", "MM-TS": "#009e73"}
MARKERS = {"fixed": "o", "TS": "^", "ICS": "s", "MM-TS": "D"}
_ENDINGS = {"": "fixed", "_ts": "TS", "_ics": "ICS", "_mmts": "MM-TS"}


def treatment(name: str) -> str | None:
    """`fixed`, `TS`, `ICS` or `MM-TS`; None for a method that is none of these."""
    found = (_ENDINGS.get(name.removeprefix(f)) for f in FAMILIES if name.startswith(f))
    return next(found, None)


def family(name: str) -> str | None:
    """The objective of a method that has a treatment."""
    return next((f for f in FAMILIES if name.startswith(f)), None) if treatment(name) else None


def mean_rsum(study: StudyResults, tested: Tested, seeds: Sequence[int] | None = None) -> float:
    """Mean test rsum over the seeds; over these alone where some are given."""
    values = zip(tested.seeds, study.values(tested, "rsum"), strict=True)
    return mean(value for seed, value in values if seeds is None or seed in seeds)


def tested_in(study: StudyResults, ablation: str) -> list[Tested]:
    """What was tested in an ablation, without unsound settings."""
    return [tested for tested in study.ablations.get(ablation, ()) if tested.records]


def aside(steps: int, ends: tuple[float, float]) -> float:
    """What a place on a log axis is multiplied by, so that marks stand side by side."""
    return float((ends[1] / ends[0]) ** (0.012 * steps))


def panels(
    figure: Canvas, studies: Sequence[StudyResults], rows: Sequence[str], **shared: Any
) -> dict[tuple[str, str], Axes]:
    """By row and dataset, a panel; a column a dataset. Titles name both."""
    grid = figure.subplots(len(rows), len(studies), squeeze=False, **shared)
    found = {}
    for row, line in zip(rows, grid, strict=True):
        for study, axes in zip(studies, line, strict=True):
            axes.set_title(f"{study.dataset}\n{row}".rstrip())
            axes.tick_params(length=0)
            found[row, study.dataset] = axes
    return found


def blank(axes: Axes) -> None:
    """Leaves a panel that has nothing to show."""
    axes.set_axis_off()
    axes.text(0.0, 0.9, "not run", transform=axes.transAxes, color=MUTED)


def mark_legend(
    figure: Canvas, kinds: Sequence[str], more: Sequence[Any] = (), *, filled: bool = True
) -> None:
    """One legend for all panels, below them: the marks of treatments, then other handles."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=COLOURS[k], marker=MARKERS[k], markersize=6, label=k,
               linewidth=1.6 if k == "fixed" else 0, fillstyle="full" if filled else "none")
        for k in kinds
    ]  # fmt: skip
    figure.legend(
        handles=[*handles, *more], ncols=len(handles) + len(more), loc="outside lower left",
        columnspacing=1.6, labelcolor=INK,
    )  # fmt: skip


def finished(figure: Canvas, name: str, title: str, caption: str, alt: str) -> Figure:
    """The figure with its title, as a picture."""
    headline(figure, title)
    return Figure(f"study-{name}", caption, alt, png(figure))
