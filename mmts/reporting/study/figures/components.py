"""The paper's component table (Table 4, arXiv 2603.08202): all treatments at one centre."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING

from mmts.kinds.objective import quantity
from mmts.reporting.study.figures.look import (
    COLOURS,
    FAMILIES,
    MARKERS,
    blank,
    family,
    finished,
    mean_rsum,
    panels,
    tested_in,
    treatment,
)
from mmts.reporting.study.results import StudyResults, Tested
from mmts.reporting.style import INK, Figure, canvas
from mmts.reporting.tables import KNOBS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ByTreatment = dict[str, Tested]


def components_figure(studies: Sequence[StudyResults]) -> Figure | None:
    """Rsum of each seed and their mean; a row an objective, a column a dataset."""
    found = {(of, s.dataset): _of(s, of) for of in FAMILIES for s in studies}
    rows = [of for of in FAMILIES if any(found[of, s.dataset] for s in studies)]
    if not rows:
        return None
    studies = [s for s in studies if any(found[of, s.dataset] for of in rows)]
    with canvas(0.7 + 2.75 * len(rows)) as figure:
        grid = panels(figure, studies, [FAMILIES[of] for of in rows])
        for of in rows:
            for study in studies:
                axes = grid[FAMILIES[of], study.dataset]
                if found[of, study.dataset]:
                    _draw(axes, study, found[of, study.dataset])
                else:
                    blank(axes)
            grid[FAMILIES[of], studies[0].dataset].set_ylabel("rsum")
        caption = (
            "Test rsum at one centre for all four, without tuning: small dots are seeds, joined "
            "where it is one seed; large ones their means. Dashed: the tuned fixed row with the "
            "same seeds."
        )
        alt = "Rsum by treatment at one centre, means over seeds. " + " ".join(
            f"{study.dataset}, {_with_centre(FAMILIES[of], found[of, study.dataset])}: "
            f"{_alt(study, found[of, study.dataset])}."
            for of in rows
            for study in studies
            if found[of, study.dataset]
        )
        return finished(figure, "components", "The components at one centre", caption, alt)


def _of(study: StudyResults, of: str) -> ByTreatment:
    return {
        kind: one
        for one in tested_in(study, "components")
        if (kind := treatment(one.entry.name)) and family(one.entry.name) == of
    }


def _draw(axes: Axes, study: StudyResults, found: ByTreatment) -> None:
    values = [study.values(tested, "rsum") for tested in found.values()]
    places = range(len(found))
    if len({len(of) for of in values}) == 1:
        axes.plot(places, values, color="#c9ced4", linewidth=0.9, zorder=1)
    for x, (kind, of) in enumerate(zip(found, values, strict=True)):
        axes.plot([x] * len(of), of, "o", color=COLOURS[kind], markersize=3.5, alpha=0.65)
        axes.plot([x], [mean(of)], MARKERS[kind], color=COLOURS[kind], markersize=8)
        axes.text(x + 0.16, mean(of), f"{mean(of):.1f}", va="center", fontsize=8.5, zorder=4,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2})  # fmt: skip
    axes.axhline(_tuned(study, found), color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_title(_with_centre(axes.get_title(loc="left"), found))
    axes.set_xticks(places, list(found))
    axes.set_xlim(-0.5, len(found) - 0.3)
    axes.margins(y=0.1)
    axes.locator_params(axis="y", integer=True)


def _tuned(study: StudyResults, found: ByTreatment) -> float:
    first = next(iter(found.values()))
    return mean_rsum(study, study.chosen[study.baseline_of(first.entry.name)], first.seeds)


def _with_centre(title: str, found: ByTreatment) -> str:
    """The title with the centre, which all have."""
    method = next(iter(found.values())).records[0]["method"]
    centre = (method["shift_min"] + method["shift_max"]) / 2
    return f"{title}, {KNOBS[quantity(method['objective']['kind'])]} {centre:g}"


def _alt(study: StudyResults, found: ByTreatment) -> str:
    told = ", ".join(f"{kind} {mean_rsum(study, tested):.1f}" for kind, tested in found.items())
    return f"{told}; tuned fixed {_tuned(study, found):.1f}"
