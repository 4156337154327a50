"""Heat maps of shift range and alpha: the paper's numbers and the measured ones (Table 8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mmts.reporting.cells import Dataset
from mmts.reporting.ranges import Ranges, Shifts, shown, unsound, written
from mmts.reporting.style import INK, MUTED, Figure, canvas, headline, ink_on, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Numbers = Mapping[tuple[Shifts, float], float | None]
EMPTY = "#f4f5f7"


def ranges_figure(dataset: Dataset, ranges: Ranges) -> list[Figure]:
    """Published beside measured numbers; nothing where fewer than two are measured."""
    places = [(shifts, alpha) for shifts in ranges.shifts for alpha in ranges.alphas]
    published = {place: ranges.published(*place).mean for place in places}
    measured: Numbers = {
        place: ranges.measured[place].mean if place in ranges.measured else None for place in places
    }
    if sum(value is not None for value in measured.values()) < 2:
        return []
    label, panels = ranges.paper.label, {"Published": published, "Measured": measured}
    with canvas(1.5 + 0.5 * len(ranges.shifts)) as figure:
        grid = figure.subplots(1, 2, squeeze=False, sharey=True)[0]
        for axes, (title, numbers) in zip(grid, panels.items(), strict=True):
            _draw(axes, ranges, numbers)
            axes.set(title=title, xlabel="alpha")
        grid[0].set_ylabel("shifts")
        headline(figure, f"{dataset.name}: {label} by shift range and alpha")
        data = png(figure)
    caption = (
        f"{label} by shift range and alpha (Table {ranges.paper.number}): darker is higher, each "
        "panel on a scale of its own. –: no result. τ ≤ 0: no training can have it."
    )
    alt = ". ".join(f"{title}: {_alt(numbers)}" for title, numbers in panels.items())
    return [Figure("ranges", caption, f"Heat maps of {label}. {alt}.", data)]


def _draw(axes: Axes, ranges: Ranges, numbers: Numbers) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    there = [value for value in numbers.values() if value is not None]
    scale = Normalize(min(there), max(there))
    for (shifts, alpha), value in numbers.items():
        x, y = ranges.alphas.index(alpha), ranges.shifts.index(shifts)
        if value is None:
            axes.bar(x, 0.96, 0.96, y - 0.48, color=EMPTY)
            axes.text(x, y, _cell(shifts, alpha), ha="center", va="center", color=MUTED)
            continue
        colour = colormaps["Blues"](0.1 + 0.75 * float(scale(value)))
        axes.bar(x, 0.96, 0.96, y - 0.48, color=colour)
        axes.text(x, y, f"{value:.1f}", ha="center", va="center", color=ink_on(colour))
    axes.set_xticks(range(len(ranges.alphas)), [written(alpha) for alpha in ranges.alphas])
    axes.set_yticks(range(len(ranges.shifts)), [shown(shifts) for shifts in ranges.shifts])
    axes.set_ylim(len(ranges.shifts) - 0.5, -0.5)
    axes.set_xlim(-0.5, len(ranges.alphas) - 0.5)
    axes.tick_params(length=0, labelleft=True, labelcolor=INK)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _cell(shifts: Shifts, alpha: float) -> str:
    """What stands where there is no number."""
    return "τ ≤ 0" if unsound(shifts, alpha) else "–"


def _alt(numbers: Numbers) -> str:
    rows: dict[str, list[str]] = {}
    for (shifts, alpha), value in numbers.items():
        none = "none" if _cell(shifts, alpha) == "–" else "unsound"
        told = none if value is None else f"{value:.1f}"
        rows.setdefault(shown(shifts), []).append(f"{told} at alpha {written(alpha)}")
    return "; ".join(f"shifts {shifts} {', '.join(told)}" for shifts, told in rows.items())
