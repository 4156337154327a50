"""The paper's robustness table (Table 8, arXiv 2603.08202): shift range x alpha."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmts.reporting.study.figures.look import finished, mean_rsum, panels, tested_in
from mmts.reporting.study.results import StudyResults, Tested
from mmts.reporting.style import MUTED, Figure, canvas, ink_on
from mmts.reporting.words import signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

Cells = dict[tuple[str, str], float | None]
"""By shift range and alpha, the mean rsum; None where tau would reach 0."""


def ranges_figure(studies: Sequence[StudyResults]) -> Figure | None:
    """A heat map a dataset; colours are differences to the tuned fixed row, with the same seeds."""
    studies = [s for s in studies if tested_in(s, "ranges")]
    if not studies:
        return None
    found = {s.dataset: _cells(s, s.ablations["ranges"]) for s in studies}
    fixed = {s.dataset: _fixed(s) for s in studies}
    most = max(
        abs(value - fixed[dataset][1])
        for dataset, cells in found.items()
        for value in cells.values()
        if value is not None
    )
    rows = max(len({shifts for shifts, _ in cells}) for cells in found.values())
    with canvas(1.5 + 0.55 * rows) as figure:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        colours = ScalarMappable(Normalize(-most or -1.0, most or 1.0), "RdBu")
        grid = panels(figure, studies, [""])
        for study in studies:
            axes = grid["", study.dataset]
            _draw(axes, found[study.dataset], fixed[study.dataset][1], colours)
            axes.set_xlabel("alpha")
        grid["", studies[0].dataset].set_ylabel("shifts")
        bar = figure.colorbar(colours, ax=list(grid.values()), pad=0.02, aspect=12)
        bar.outline.set_visible(False)
        bar.set_label("rsum minus the fixed row's")
        told = ", ".join(f"{name} {value:.1f} on {d}" for d, (name, value) in fixed.items())
        name = studies[0].ablations["ranges"][0].entry.name
        caption = (
            f"Test rsum of {name} by shift range and alpha, mean over seeds; below it the "
            f"difference to the tuned fixed row with the same seeds ({told}): blue is above it, "
            "red below. –: tau would reach 0."
        )
        alt = f"Heat maps of the rsum of {name}; the tuned fixed rows: {told}. " + " ".join(
            f"{dataset}: {_alt(cells)}." for dataset, cells in found.items()
        )
        return finished(figure, "ranges", "Shift range and alpha", caption, alt)


def _cells(study: StudyResults, tested: Sequence[Tested]) -> Cells:
    found: Cells = {}
    for one in tested:
        low, high = one.entry.varied["shifts"]
        place = f"{low:g}–{high:g}", f"{one.entry.varied['alpha']:g}"
        found[place] = mean_rsum(study, one) if one.records else None
    return found


def _fixed(study: StudyResults) -> tuple[str, float]:
    """The chosen fixed row of the same objective, with the seeds of the table."""
    first = tested_in(study, "ranges")[0]
    name = study.baseline_of(first.entry.name)
    return name, mean_rsum(study, study.chosen[name], first.seeds)


def _draw(axes: Axes, cells: Cells, fixed: float, colours: ScalarMappable) -> None:
    shifts, alphas = (list(dict.fromkeys(place[i] for place in cells)) for i in (0, 1))
    for (shift, alpha), value in cells.items():
        x, y = alphas.index(alpha), shifts.index(shift)
        if value is None:
            axes.bar(x, 0.96, 0.96, y - 0.48, color="#f4f5f7")
            axes.text(x, y, "–", ha="center", va="center", color=MUTED)
            continue
        colour = colours.to_rgba(np.array([value - fixed]))[0]
        axes.bar(x, 0.96, 0.96, y - 0.48, color=colour)
        ink = ink_on(colour)
        axes.text(x, y, f"{value:.1f}", ha="center", va="bottom", color=ink)
        axes.text(
            x, y + 0.06, signed(value - fixed), ha="center", va="top", color=ink, fontsize=8
        )  # fmt: skip
    axes.set_xticks(range(len(alphas)), alphas)
    axes.set_yticks(range(len(shifts)), shifts)
    axes.set_ylim(len(shifts) - 0.5, -0.5)
    axes.set_xlim(-0.5, len(alphas) - 0.5)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _alt(cells: Cells) -> str:
    rows: dict[str, list[str]] = {}
    for (shifts, alpha), value in cells.items():
        rows.setdefault(shifts, []).append(
            f"{'unsound' if value is None else format(value, '.1f')} at alpha {alpha}"
        )
    return "; ".join(f"shifts {shifts} {', '.join(told)}" for shifts, told in rows.items())
