"""What happens to the chosen MM-TS when one thing is changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmts.reporting.study.figures.forest import BEYOND, ROW, Mark, forest, label_rows, told
from mmts.reporting.study.figures.look import FAMILIES, family, finished, panels, treatment
from mmts.reporting.study.results import StudyResults, Tested
from mmts.reporting.style import INK, MUTED, Figure, canvas

GROUPS = {
    "controls": "Shifts of the clusters",
    "clustering_seeds": "Seed of K-Means",
    "features": "Clusters made from",
    "k": "Number of clusters",
    "oscillations": "Oscillations",
    "mapping": "Mapping of size to shift",
}
_WORDS = {
    "random": "dealt at random", "vision": "vision features", "lsa": "LSA of the captions",
}  # fmt: skip
Row = tuple[str, str]
"""Group and label."""


def ablations_figure(studies: Sequence[StudyResults]) -> Figure | None:
    """A row a changed setting, in groups; a panel a dataset."""
    found = {s.dataset: _marks(s) for s in studies}
    studies = [s for s in studies if found[s.dataset]]
    if not studies:
        return None
    rows: list[Row | str] = []
    for group, name in GROUPS.items():
        of_group = dict.fromkeys(
            row for marks in found.values() for row in marks if row[0] == group
        )
        rows += [name, *of_group] if of_group else []
    headings = [isinstance(row, str) for row in rows]
    with canvas(1.25 + ROW * len(rows)) as figure:
        grid = panels(figure, studies, [""], sharey=True)
        beyond = []
        for study in studies:
            axes = grid["", study.dataset]
            marks = [None if isinstance(r, str) else found[study.dataset].get(r) for r in rows]
            beyond.append(forest(axes, marks, [False] * len(rows), narrow=len(studies) > 2))
            axes.set_xlabel("rsum minus the chosen MM-TS's")
        labels = [row if isinstance(row, str) else row[1] for row in rows]
        label_rows(grid["", studies[0].dataset], labels, headings)
        caption = (
            "The chosen MM-TS with one thing changed, minus itself with the same seeds: difference "
            "in test rsum, in percent points, with 95 % intervals over media items and seeds. "
            "Diamonds: the chosen setting has this already." + (BEYOND if any(beyond) else "")
        )
        alt = "Differences in rsum to the chosen MM-TS with 95 % intervals. " + " ".join(
            f"{study.dataset}: {_alt(found[study.dataset])}." for study in studies
        )
        return finished(figure, "ablations", "MM-TS with one thing changed", caption, alt)


def _marks(study: StudyResults) -> dict[Row, Mark]:
    return {
        (group, _label(tested)): _mark(study, tested)
        for group in GROUPS
        for tested in study.ablations.get(group, ())
        if treatment(tested.entry.name) == "MM-TS"
    }


def _label(tested: Tested) -> str:
    values: dict[str, Any] = tested.entry.varied
    label = ", ".join(_WORDS.get(str(value), f"{value}") for value in values.values())
    of = family(tested.entry.name)
    return f"{label} ({FAMILIES[of]})" if of == "max_margin" else label


def _mark(study: StudyResults, tested: Tested) -> Mark:
    chosen = study.chosen[tested.entry.name]
    if not tested.records:
        return Mark(None, "unsound", colour=MUTED)
    if set(tested.entry.keys) <= set(chosen.entry.keys):
        return Mark(None, "as chosen", at_zero=True)
    return Mark(study.difference(tested, chosen), colour=INK)


def _alt(marks: dict[Row, Mark]) -> str:
    return "; ".join(
        f"{GROUPS[group]}, {label} {told(m.interval) if m.interval else m.words}"
        for (group, label), m in marks.items()
    )
