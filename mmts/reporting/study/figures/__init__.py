"""The figures of the study."""

from __future__ import annotations

from collections.abc import Sequence

from mmts.reporting.study.figures.ablations import ablations_figure
from mmts.reporting.study.figures.components import components_figure
from mmts.reporting.study.figures.differences import differences_figure
from mmts.reporting.study.figures.ranges import ranges_figure
from mmts.reporting.study.figures.tail import tail_figure
from mmts.reporting.study.figures.trials import trials_figure
from mmts.reporting.study.results import StudyResults
from mmts.reporting.style import Figure

_DRAWN = (
    differences_figure, trials_figure, ranges_figure, components_figure, tail_figure,
    ablations_figure,
)  # fmt: skip


def study_figures(studies: Sequence[StudyResults]) -> list[Figure]:
    """All figures that the studies have numbers for."""
    found = (draw(studies) for draw in _DRAWN) if studies else ()
    return [figure for figure in found if figure is not None]
