"""How far each tuned method is from the best tuned fixed temperature or margin."""

from __future__ import annotations

from collections.abc import Sequence

from mmts.reporting.study.figures.forest import BEYOND, ROW, Mark, forest, label_rows, told
from mmts.reporting.study.figures.look import COLOURS, finished, mean_rsum, panels, treatment
from mmts.reporting.study.results import StudyResults
from mmts.reporting.style import INK, Figure, canvas


def differences_figure(studies: Sequence[StudyResults]) -> Figure:
    """A row a method, in the order of the study; a panel a dataset."""
    names = list(dict.fromkeys(name for study in studies for name in study.chosen))
    marks = {study.dataset: _marks(study, names) for study in studies}
    mmts = [treatment(name) == "MM-TS" for name in names]
    with canvas(1.25 + ROW * len(names)) as figure:
        grid = panels(figure, studies, [""], sharey=True)
        beyond = []
        for (_, dataset), axes in grid.items():
            beyond.append(forest(axes, marks[dataset], mmts, narrow=len(studies) > 2))
            axes.set_xlabel("rsum minus the baseline's")
        label_rows(grid["", studies[0].dataset], names, mmts)
        caption = (
            "Test rsum of each method with its chosen setting, minus that of the best fixed "
            "baseline (the diamond; picked on the validation split), in percent points, with 95 % "
            "intervals over media items and seeds. MM-TS is shaded."
            + (BEYOND if any(beyond) else "")
        )
        alt = "Differences in rsum with 95 % intervals. " + " ".join(
            _alt(study, dict(zip(names, marks[study.dataset], strict=True))) for study in studies
        )
        title = "Differences to the best fixed baseline"
        return finished(figure, "differences", title, caption, alt)


def _marks(study: StudyResults, names: Sequence[str]) -> list[Mark | None]:
    baseline = study.chosen[study.best_fixed]
    marks: list[Mark | None] = []
    for name in names:
        colour = COLOURS.get(treatment(name) or "", INK)
        if name == study.best_fixed:
            words = f"rsum {mean_rsum(study, baseline):.1f}"
            marks.append(Mark(None, words, at_zero=True, colour=colour))
        elif name in study.chosen:
            found = study.difference(study.chosen[name], baseline)
            marks.append(Mark(found, colour=colour))
        else:
            marks.append(None)
    return marks


def _alt(study: StudyResults, marks: dict[str, Mark | None]) -> str:
    rows = [f"{name} {told(m.interval)}" for name, m in marks.items() if m and m.interval]
    at = marks[study.best_fixed]
    return f"{study.dataset}, baseline {study.best_fixed} with {at.words if at else ''}: " + (
        "; ".join(rows) + "."
    )
