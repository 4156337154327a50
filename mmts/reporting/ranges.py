"""The paper's table of shift ranges and alphas: its numbers, and what was measured here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mmts.reporting.cells import Dataset
from mmts.reporting.comparison import PaperRow, PaperTable, methods_of, tests_of
from mmts.reporting.paper import PublishedRanges
from mmts.reporting.published import EXPERIMENTS
from mmts.reporting.tables import Entry, entry

Shifts = tuple[float, float]
NONE = Entry(None, None)
UNSOUND = "¹"


@dataclass(frozen=True)
class Ranges:
    """A table of the paper by shift range and alpha, and the methods of the grid that are in it.

    `measured` and `methods` are by shifts and alpha.
    """

    paper: PublishedRanges
    measured: Mapping[tuple[Shifts, float], Entry]
    methods: Mapping[tuple[Shifts, float], str]

    @property
    def shifts(self) -> list[Shifts]:
        """The paper's shift ranges and those of the grid."""
        return sorted({*self.paper.rows, *(shifts for shifts, _ in self.methods)})

    @property
    def alphas(self) -> list[float]:
        """The paper's alphas and those of the grid."""
        return sorted({*self.paper.alphas, *(alpha for _, alpha in self.methods)})

    def published(self, shifts: Shifts, alpha: float) -> Entry:
        """The paper's number; a dash where it has none."""
        if shifts not in self.paper.rows or alpha not in self.paper.alphas:
            return NONE
        return Entry(self.paper.rows[shifts][self.paper.alphas.index(alpha)], None)


def unsound(shifts: Shifts, alpha: float) -> bool:
    """Whether the lowest tau would be 0 or less."""
    return shifts[0] - alpha / 2 <= 1e-9


def shown(shifts: Shifts) -> str:
    """A shift range in words, such as 0.06–0.10."""
    return "–".join(map(written, shifts))


def written(number: float) -> str:
    """A number with two decimals, or as many more as it has."""
    return max(f"{number:.2f}", f"{number:g}", key=len)


def ranges_of(dataset: Dataset) -> Ranges | None:
    """The shift ranges and alphas of the experiment on the dataset's sources, if it has some."""
    for experiment in EXPERIMENTS:
        paper = experiment.ranges
        tests = {} if paper is None else tests_of(dataset, experiment)
        if paper is None or paper.kind not in tests:
            continue
        methods: dict[tuple[Shifts, float], str] = {}
        for method in methods_of(dataset, paper.recipe, experiment.streams):
            run = dataset.of(method)[0].run
            low, high, alpha = (round(run[k], 6) for k in ("shift_min", "shift_max", "alpha"))
            methods.setdefault(((low, high), alpha), method)
        measured = {
            place: entry(dataset.percents(method, tests[paper.kind], paper.key))
            for place, method in methods.items()
        }
        return Ranges(paper, measured, methods)
    return None


def ranges_table(ranges: Ranges) -> PaperTable:
    """The table, with a measured row below each published one."""
    paper, alphas, rows = ranges.paper, ranges.alphas, []
    marked = False
    for shifts in ranges.shifts:
        label = f"shifts {shown(shifts)}"
        if shifts in paper.rows:
            numbers = tuple(ranges.published(shifts, alpha) for alpha in alphas)
            rows.append(PaperRow(label, "", "published", "", numbers, ("",) * len(alphas)))
        entries = tuple(ranges.measured.get((shifts, alpha), NONE) for alpha in alphas)
        methods = [ranges.methods[shifts, a] for a in alphas if (shifts, a) in ranges.methods]
        marks = tuple(UNSOUND if unsound(shifts, alpha) else "" for alpha in alphas)
        marked = marked or any(marks)
        method = methods[0] if len(methods) == 1 else f"{len(methods)} methods" if methods else ""
        rows.append(PaperRow(label, "", "measured", method, entries, marks))
    groups = ((f"{paper.label} at alpha", tuple(map(written, alphas))),)
    title = f"Table {paper.number} of the paper: {paper.title}"
    told = "¹ The lowest tau, shift_min − alpha/2, would be 0 or less: no training can have it."
    measured = (
        "Measured: the methods of the grid with VAST's losses, TS and ICS, with these numbers; – "
        "where it has none."
    )
    return PaperTable(
        title, groups, False, tuple(rows), (*([told] if marked else []), measured, *paper.notes)
    )
